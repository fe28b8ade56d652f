package batchlog

import "time"

// Config is the `batchlog` section.
type Config struct {
	Enabled bool `mapstructure:"enabled"`
	// Database is "" for a SQLite file in the data directory, sqlite:PATH, or
	// a postgres:// URL.
	Database      string        `mapstructure:"database"`
	BatchSize     int           `mapstructure:"batch_size"`
	FlushInterval time.Duration `mapstructure:"flush_interval"`
	MaxQueueSize  int           `mapstructure:"max_queue_size"`
	// Content is "full", "hashed" or "off".
	Content    string   `mapstructure:"content"`
	Embeddings bool     `mapstructure:"embeddings"`
	Redact     []string `mapstructure:"redact"`
	// MaxRecordBytes is how much of one exchange is kept.
	MaxRecordBytes int64 `mapstructure:"max_record_bytes"`
	// MaxHeldBytes is how much of the answers in progress is kept in memory for
	// their records, together.
	MaxHeldBytes   int64           `mapstructure:"max_held_bytes"`
	Migrate        bool            `mapstructure:"migrate"`
	Retention      RetentionConfig `mapstructure:"retention"`
	Spool          SpoolConfig     `mapstructure:"spool"`
	SessionHeaders []string        `mapstructure:"session_headers"`
}

// RetentionConfig bounds what the sink keeps; 0 keeps everything.
type RetentionConfig struct {
	MaxAge   time.Duration `mapstructure:"max_age"`
	MaxBytes int64         `mapstructure:"max_bytes"`
}

// SpoolConfig is the disk log between the request path and the sink.
type SpoolConfig struct {
	MaxBytes int64 `mapstructure:"max_bytes"`
	// Fsync is a duration, or "always".
	Fsync string `mapstructure:"fsync"`
}
