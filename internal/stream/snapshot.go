package stream

import "time"

// Snapshot is a buffer's numbers at one moment; its JSON is the admin API's.
// Every dispatched unit counts as a chunk: an event, a comment, a line. At any
// time produced is consumed, in flight and dropped together; what is in flight at
// the end of a stream was lost with its client.
type Snapshot struct {
	State              State   `json:"state"`
	BufferSize         int     `json:"buffer_size"`
	BufferCapacity     int     `json:"buffer_capacity"`
	BufferUsagePercent float64 `json:"buffer_usage_percent"`
	ChunksProduced     int64   `json:"chunks_produced"`
	ChunksConsumed     int64   `json:"chunks_consumed"`
	ChunksInFlight     int64   `json:"chunks_in_flight"`
	ChunksDropped      int64   `json:"chunks_dropped"`
	BytesProduced      int64   `json:"bytes_produced"`
	BytesConsumed      int64   `json:"bytes_consumed"`
	OverflowCount      int64   `json:"overflow_count"`
	MaxBufferSize      int     `json:"max_buffer_size"`
	ThrottleTime       float64 `json:"throttle_time_seconds"`
	Duration           float64 `json:"duration_seconds"`
	ChunksPerSecond    float64 `json:"throughput_chunks_per_sec"`
	BytesPerSecond     float64 `json:"throughput_bytes_per_sec"`
}

// Snapshot reads the numbers. at is the end of a stream that is over, else now.
func (b *Buffer) Snapshot(at time.Time) Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &b.counts
	s := Snapshot{
		State:              b.state,
		BufferSize:         b.held(),
		BufferCapacity:     b.size,
		BufferUsagePercent: 100 * b.fill(),
		ChunksProduced:     c.produced.Load(),
		ChunksConsumed:     c.consumed.Load(),
		ChunksDropped:      c.dropped,
		BytesProduced:      c.bytesProduced.Load(),
		BytesConsumed:      c.bytesConsumed.Load(),
		OverflowCount:      c.overflows,
		MaxBufferSize:      c.most,
		ThrottleTime:       c.throttled.Seconds(),
		Duration:           at.Sub(b.started).Seconds(),
	}
	s.ChunksInFlight = max(s.ChunksProduced-s.ChunksConsumed-s.ChunksDropped, 0)
	if s.Duration > 0 {
		s.ChunksPerSecond = float64(s.ChunksConsumed) / s.Duration
		s.BytesPerSecond = float64(s.BytesConsumed) / s.Duration
	}
	return s
}
