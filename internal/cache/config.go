package cache

import "time"

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
	L2           L2Config      `mapstructure:"l2"`
}

// L2Config is the second tier, shared by replicas; an empty URL is off.
type L2Config struct {
	URL     string        `mapstructure:"url"`
	Timeout time.Duration `mapstructure:"timeout"`
}
