package trace

// Config is the `telemetry` section.
type Config struct {
	// OTLPEndpoint is the collector's URL for OTLP over HTTP; empty is off. Without
	// a path, /v1/traces is added.
	OTLPEndpoint string `mapstructure:"otlp_endpoint"`
	// SampleRatio is the share of exchanges that are traced, 0 to 1, of those whose
	// client has not decided.
	SampleRatio float64 `mapstructure:"sample_ratio"`
}
