package stream

import "time"

// Config is the `stream` section, and what `upstreams[].stream` overrides.
type Config struct {
	// BufferSize and BufferBytes bound what waits for a slow client, in
	// events and in bytes; whichever is reached first stops the reading.
	BufferSize  int   `mapstructure:"buffer_size"`
	BufferBytes int64 `mapstructure:"buffer_bytes"`
	// WarningThreshold and ThrottleThreshold are shares of the buffer.
	WarningThreshold  float64 `mapstructure:"warning_threshold"`
	ThrottleThreshold float64 `mapstructure:"throttle_threshold"`
	// DropOnOverflow gives up whole events where the buffer would block.
	DropOnOverflow bool `mapstructure:"drop_on_overflow"`
	// ChunkDelayMS paces events, in milliseconds between two of them.
	ChunkDelayMS int `mapstructure:"chunk_delay_ms"`
	// WriteStallTimeout cuts off a client that takes nothing for so long.
	WriteStallTimeout time.Duration `mapstructure:"write_stall_timeout"`
	// HeartbeatInterval sends SSE comments while the first token is awaited;
	// 0 is off.
	HeartbeatInterval time.Duration `mapstructure:"heartbeat_interval"`
	// MaxEventBytes is the longest event that is held until its end; a longer
	// one passes in pieces.
	MaxEventBytes int64 `mapstructure:"max_event_bytes"`
	// TotalBufferBytes is the budget of all streams' buffers together.
	TotalBufferBytes int64 `mapstructure:"total_buffer_bytes"`

	Adaptive AdaptiveConfig `mapstructure:"adaptive"`
}

// AdaptiveConfig sizes each buffer by its client's pace. With Enabled,
// Config.BufferSize is ignored.
type AdaptiveConfig struct {
	Enabled bool `mapstructure:"enabled"`
	Initial int  `mapstructure:"initial"`
	Min     int  `mapstructure:"min"`
	Max     int  `mapstructure:"max"`
}
