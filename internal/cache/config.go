package cache

import (
	"time"

	"github.com/vega-proxy/vega-proxy/internal/cache/l2"
)

// Config is the `cache` section.
type Config struct {
	// Policy is "all", "deterministic" or "off".
	Policy        string `mapstructure:"policy"`
	MaxSize       int    `mapstructure:"maxsize"`
	MaxBytes      int64  `mapstructure:"max_bytes"`
	MaxEntryBytes int64  `mapstructure:"max_entry_bytes"`
	TTLSeconds    int    `mapstructure:"ttl_seconds"`
	// Shared gives one client's answers to all others, whatever their credentials.
	Shared       bool          `mapstructure:"shared"`
	Coalesce     bool          `mapstructure:"coalesce"`
	StaleIfError time.Duration `mapstructure:"stale_if_error"`
	L2           l2.Config     `mapstructure:"l2"`
}
