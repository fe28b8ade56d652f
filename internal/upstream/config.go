package upstream

import (
	"time"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// Config is one item of the `upstreams` list.
type Config struct {
	// Name is the upstream's name in headers, metrics, log and admin API.
	Name string `mapstructure:"name"`
	// URL is the base URL; a path in it is put before each request's path.
	URL string `mapstructure:"url"`
	// Models are globs of the models it serves; empty means every model.
	Models []string `mapstructure:"models"`
	// Headers are set on each request. A value may be ${ENV_NAME} or
	// file:PATH; configuration loading has resolved it.
	Headers map[string]string `mapstructure:"headers"`

	ConnectTimeout time.Duration `mapstructure:"connect_timeout"`
	// FirstByteTimeout runs until the first byte of the body.
	FirstByteTimeout time.Duration `mapstructure:"first_byte_timeout"`
	// IdleTimeout bounds the silence between two reads of the body.
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`
	// OnClientGone is "cancel" or "finish".
	OnClientGone string `mapstructure:"on_client_gone"`
	// ForwardCredentials lets a client's own credentials follow a failover here.
	ForwardCredentials bool `mapstructure:"forward_credentials"`

	// MaxInFlight bounds concurrent requests (0: no bound); up to Queue more
	// wait for a place, each for at most QueueTimeout.
	MaxInFlight  int           `mapstructure:"max_in_flight"`
	Queue        int           `mapstructure:"queue"`
	QueueTimeout time.Duration `mapstructure:"queue_timeout"`

	// Breaker holds the defaults with this upstream's overrides applied.
	Breaker resilience.BreakerConfig `mapstructure:"breaker"`
	TLS     TLSConfig                `mapstructure:"tls"`
}

// TLSConfig is how an https upstream is verified and, with a certificate, how
// the proxy proves itself to it.
type TLSConfig struct {
	CAFile             string `mapstructure:"ca_file"`
	CertFile           string `mapstructure:"cert_file"`
	KeyFile            string `mapstructure:"key_file"`
	InsecureSkipVerify bool   `mapstructure:"insecure_skip_verify"`
}
