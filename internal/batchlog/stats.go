package batchlog

import (
	"time"

	"github.com/vega-proxy/vega-proxy/internal/batchlog/spool"
)

// Stats is what the admin API shows. Items are counted since the spool was made,
// batches since the start.
type Stats struct {
	QueueSize      uint64            `json:"queue_size"` // accepted, and neither in the sink nor set aside
	MaxQueueSize   int               `json:"max_queue_size"`
	BatchSize      int               `json:"batch_size"`
	Queued         uint64            `json:"total_items_queued"`
	Inserted       uint64            `json:"total_items_inserted"`
	Amended        uint64            `json:"total_items_amended"`
	Retired        uint64            `json:"total_items_retired"`
	Batches        uint64            `json:"total_batches"`
	FailedBatches  uint64            `json:"failed_batches"`
	SuccessRate    float64           `json:"success_rate"`
	AvgBatchSize   float64           `json:"avg_batch_size"`
	FlushSeconds   float64           `json:"total_flush_time_seconds"`
	AvgFlushMillis float64           `json:"avg_flush_time_ms"`
	SpoolBytes     int64             `json:"spool_bytes"`
	SpoolOldest    float64           `json:"spool_oldest_seconds"`
	Late           uint64            `json:"late"` // records that a slow disk got behind their answers
	SetAside       uint64            `json:"set_aside"`
	Dropped        uint64            `json:"dropped"`
	ByReason       map[string]uint64 `json:"dropped_by_reason"`
	Sink           string            `json:"sink"`
	SinkError      string            `json:"sink_error"` // why nothing goes in now; "" if it does
}

// tally is what batches came to. Several that went in at once count as several.
type tally struct {
	batches, failed uint64
	items           uint64
	spent           time.Duration
	trouble         string
}

// count notes how batches that were tried at once went.
func (l *Log) count(done int, o spool.Outcome, err error, spent time.Duration) {
	batches := 1
	if size := l.cfg().BatchSize; err == nil && size > 0 {
		batches = max((done+size-1)/size, 1)
	}
	l.mu.Lock()
	l.tally.batches += uint64(batches)
	l.tally.spent += spent
	l.tally.items += uint64(done)
	if err != nil {
		l.tally.failed++
	}
	l.mu.Unlock()
	m := l.metrics
	m.flush.Observe(spent.Seconds())
	if err != nil {
		m.batchFailed.Inc()
	} else {
		m.batchOK.Add(float64(batches))
	}
	m.inserted.Add(float64(uint64(done) - o.SetAside - o.Amended))
	m.amended.Add(float64(o.Amended))
	m.setAside.Add(float64(o.SetAside))
}

// Stats returns what was counted. It touches neither disk nor database.
func (l *Log) Stats() Stats {
	q := l.queue.Stats()
	l.mu.Lock()
	t := l.tally
	l.mu.Unlock()
	s := Stats{
		QueueSize:     q.Spooled,
		MaxQueueSize:  l.cfg().MaxQueueSize,
		BatchSize:     l.cfg().BatchSize,
		Queued:        q.Accepted,
		Inserted:      q.Inserted,
		Amended:       q.Amended,
		Retired:       q.Retired,
		Batches:       t.batches,
		FailedBatches: t.failed,
		SuccessRate:   1,
		FlushSeconds:  t.spent.Seconds(),
		SpoolBytes:    q.Bytes,
		SpoolOldest:   q.OldestAge.Seconds(),
		Late:          q.Late,
		SetAside:      q.SetAside,
		Dropped:       q.Dropped.Total(),
		ByReason:      byReason(q.Dropped),
		Sink:          l.sink.name(),
		SinkError:     t.trouble,
	}
	if t.batches > 0 {
		s.SuccessRate = float64(t.batches-t.failed) / float64(t.batches)
		s.AvgFlushMillis = milliseconds(t.spent) / float64(t.batches)
	}
	if good := t.batches - t.failed; good > 0 {
		s.AvgBatchSize = float64(t.items) / float64(good)
	}
	return s
}

func byReason(d spool.Drops) map[string]uint64 {
	all := make(map[string]uint64, len(d))
	for _, why := range spool.Reasons() {
		all[why.String()] = d[why]
	}
	return all
}
