package admin

// Config is the `admin` section.
type Config struct {
	Listen string `mapstructure:"listen"`
	// APIKey is the key; "" has one made and kept in the data directory.
	APIKey string `mapstructure:"api_key"`
	// OpenMetrics serves /metrics, /livez and /readyz without the key.
	OpenMetrics  bool     `mapstructure:"open_metrics"`
	Pprof        bool     `mapstructure:"pprof"`
	AllowedHosts []string `mapstructure:"allowed_hosts"`
}

// MetricsConfig is the `metrics` section: a listener that serves the probes
// and /metrics and nothing else; an empty address is off.
type MetricsConfig struct {
	Listen string `mapstructure:"listen"`
}
