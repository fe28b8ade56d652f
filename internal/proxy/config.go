package proxy

import "time"

// Config is what the proxy's own listener is told: the top-level keys of the
// configuration file that belong to no other part.
type Config struct {
	Listen string    `mapstructure:"listen"`
	TLS    TLSConfig `mapstructure:"tls"`
	// HTTP2 serves cleartext HTTP/2 beside HTTP/1.1.
	HTTP2 bool `mapstructure:"http2"`
	// AllowedHosts are names in Host besides localhost and loopback addresses.
	AllowedHosts []string `mapstructure:"allowed_hosts"`
	// ClientKeys, when not empty, are the keys one of which a client must show.
	ClientKeys []string     `mapstructure:"client_keys"`
	Routes     RoutesConfig `mapstructure:"routes"`
	Limits     LimitsConfig `mapstructure:"limits"`
}

// TLSConfig is the certificate of the proxy's listener; empty is cleartext.
type TLSConfig struct {
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
}

// RoutesConfig closes endpoints by path globs: `*` within a segment, `**`
// across segments. An empty Allow allows every path.
type RoutesConfig struct {
	Allow []string `mapstructure:"allow"`
	Deny  []string `mapstructure:"deny"`
}

// LimitsConfig bounds what one client can make the proxy hold.
type LimitsConfig struct {
	MaxBodyBytes      int64         `mapstructure:"max_body_bytes"`
	MaxHeaderBytes    int64         `mapstructure:"max_header_bytes"`
	ReadHeaderTimeout time.Duration `mapstructure:"read_header_timeout"`
	IdleTimeout       time.Duration `mapstructure:"idle_timeout"`
	MaxConnections    int           `mapstructure:"max_connections"`
}
