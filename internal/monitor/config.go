package monitor

import "time"

// Config is the `monitor` section.
type Config struct {
	CheckInterval   time.Duration `mapstructure:"check_interval"`
	SlowThresholdMS int           `mapstructure:"slow_threshold_ms"`
	// Thresholds overrides SlowThresholdMS by the name of a step.
	Thresholds        map[string]int       `mapstructure:"thresholds"`
	HighPendingTasks  int                  `mapstructure:"high_pending_tasks"`
	LeakCheckInterval time.Duration        `mapstructure:"leak_check_interval"`
	LeakThreshold     time.Duration        `mapstructure:"leak_threshold"`
	FlightRecorder    FlightRecorderConfig `mapstructure:"flight_recorder"`
}

// FlightRecorderConfig bounds the execution traces kept on disk.
type FlightRecorderConfig struct {
	Enabled  bool          `mapstructure:"enabled"`
	Window   time.Duration `mapstructure:"window"`
	MaxFiles int           `mapstructure:"max_files"`
}
