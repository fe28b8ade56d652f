// Package config is the whole configuration as one value: it reads defaults,
// file, environment and flags, refuses what cannot work, and tells what differs
// between two configurations. Each part owns its own Config struct; this
// package assembles them and is the only one that knows how they are written.
//
// It opens no listener, creates no file and keeps nothing between two calls of
// Load, so a failed Load leaves nothing behind.
package config

import (
	"time"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/monitor"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/trace"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// Config is the effective configuration. A value from Load has passed every
// check, has its secrets resolved and is not changed afterwards, so it may be
// read from many goroutines.
//
// The type of a field says how it is written: an int64 is a size in bytes, a
// time.Duration is written as a duration, an int is a plain number.
type Config struct {
	proxy.Config `mapstructure:",squash"`

	// DataDir holds the spool, the embedded database, the generated admin key
	// and the flight records.
	DataDir string `mapstructure:"data_dir"`
	// Balance is "first" or "least_busy".
	Balance   string                   `mapstructure:"balance"`
	Upstreams []Upstream               `mapstructure:"upstreams"`
	Breaker   resilience.BreakerConfig `mapstructure:"breaker"`
	Retry     resilience.RetryConfig   `mapstructure:"retry"`
	Cache     cache.Config             `mapstructure:"cache"`
	Stream    stream.Config            `mapstructure:"stream"`
	Batchlog  batchlog.Config          `mapstructure:"batchlog"`
	Monitor   monitor.Config           `mapstructure:"monitor"`
	Admin     admin.Config             `mapstructure:"admin"`
	Metrics   admin.MetricsConfig      `mapstructure:"metrics"`
	Log       LogConfig                `mapstructure:"log"`
	Telemetry trace.Config             `mapstructure:"telemetry"`
	Shutdown  ShutdownConfig           `mapstructure:"shutdown"`

	secretFiles []string  `mapstructure:"-"`
	pems        []pemFile `mapstructure:"-"`
}

// Upstream is one item of the upstreams list. Its Breaker and Stream are the
// top-level sections with this upstream's overrides applied.
type Upstream struct {
	upstream.Config `mapstructure:",squash"`
	Stream          stream.Config `mapstructure:"stream"`
	// SecretHeaders names, sorted and in canonical spelling, the Headers whose
	// value is a secret: read from the environment or a file, or a credential
	// by the header's name.
	SecretHeaders []string `mapstructure:"-"`
}

// LogConfig is the program's own log, written to standard error.
type LogConfig struct {
	// Level is "debug", "info", "warn" or "error".
	Level string `mapstructure:"level"`
	// Format is "json" or "text".
	Format string `mapstructure:"format"`
}

// ShutdownConfig is how the process ends.
type ShutdownConfig struct {
	// DrainDelay keeps serving while readiness already says no.
	DrainDelay time.Duration `mapstructure:"drain_delay"`
	// DrainTimeout is how long open exchanges may go on after that; 0 ends
	// them at once.
	DrainTimeout time.Duration `mapstructure:"drain_timeout"`
}
