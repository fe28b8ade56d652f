package resilience

import "time"

// BreakerConfig is the `breaker` section, and what `upstreams[].breaker` overrides.
type BreakerConfig struct {
	// Enabled false admits everything and counts outcomes all the same.
	Enabled bool `mapstructure:"enabled"`
	// FailThreshold is how many failures in a row open the breaker.
	FailThreshold int `mapstructure:"fail_threshold"`
	// BaseTimeout is the first open time; each further opening without a
	// recovery between doubles it, up to MaxTimeout, give or take 20 %.
	BaseTimeout time.Duration `mapstructure:"base_timeout"`
	MaxTimeout  time.Duration `mapstructure:"max_timeout"`
	// HalfOpenTestCount is both how many probes may be out at a time and how
	// many must succeed to close the breaker.
	HalfOpenTestCount int `mapstructure:"half_open_test_count"`
	// ProbeTimeout is how long a probe may hold its slot; one that reports
	// nothing by then counts as a failure.
	ProbeTimeout time.Duration `mapstructure:"probe_timeout"`
	// FailureStatuses are the HTTP statuses that blame the upstream.
	FailureStatuses []int `mapstructure:"failure_statuses"`
	// NeutralStatuses move no counter, even if they stand in FailureStatuses.
	NeutralStatuses []int `mapstructure:"neutral_statuses"`
}

// RetryConfig is the `retry` section.
type RetryConfig struct {
	// MaxAttempts is the number of tries in all, over all upstreams; 1 is off.
	MaxAttempts int `mapstructure:"max_attempts"`
	// BaseBackoff doubles with each try up to MaxBackoff, with full jitter.
	BaseBackoff time.Duration `mapstructure:"base_backoff"`
	MaxBackoff  time.Duration `mapstructure:"max_backoff"`
	// BudgetPercent bounds the extra load of retries: at most
	// max(10, BudgetPercent %) of the requests of the last 10 s.
	BudgetPercent int `mapstructure:"budget_percent"`
	// SameUpstream lets one upstream be asked twice for one generation.
	SameUpstream bool `mapstructure:"same_upstream"`
}
