package monitor

import (
	"math"
	"runtime/metrics"
	"slices"
	"sync"
	"time"
)

// The runtime's own figures, by their index in a sample.
const (
	schedLatencies = iota
	gcPauses
	mutexWait
	goroutinesNow
	goroutinesRunning
	goroutinesRunnable
	goroutinesCreated
)

var sampleNames = [...]string{
	schedLatencies:     "/sched/latencies:seconds",
	gcPauses:           "/sched/pauses/total/gc:seconds",
	mutexWait:          "/sync/mutex/wait/total:seconds",
	goroutinesNow:      "/sched/goroutines:goroutines",
	goroutinesRunning:  "/sched/goroutines/running:goroutines",
	goroutinesRunnable: "/sched/goroutines/runnable:goroutines",
	goroutinesCreated:  "/sched/goroutines-created:goroutines",
}

// runtimeSampler reads runtime/metrics. Latencies are of the last half to whole minute:
// the runtime's histograms only grow, so the counts of an earlier time are taken off.
type runtimeSampler struct {
	mu           sync.Mutex
	samples      []metrics.Sample
	sched, pause delta
}

// figures is one reading.
type figures struct {
	schedP99, gcP99              time.Duration
	mutexWait                    float64 // seconds
	goroutines, running, created int64
}

// sample moves the window of the latencies on.
func (r *runtimeSampler) sample(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read()
	r.sched.move(now, r.samples[schedLatencies].Value.Float64Histogram())
	r.pause.move(now, r.samples[gcPauses].Value.Float64Histogram())
}

func (r *runtimeSampler) figures() figures {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read()
	count := func(i int) int64 { return int64(r.samples[i].Value.Uint64()) }
	return figures{
		schedP99:   r.sched.p99(r.samples[schedLatencies].Value.Float64Histogram()),
		gcP99:      r.pause.p99(r.samples[gcPauses].Value.Float64Histogram()),
		mutexWait:  r.samples[mutexWait].Value.Float64(),
		goroutines: count(goroutinesNow),
		running:    count(goroutinesRunning) + count(goroutinesRunnable),
		created:    count(goroutinesCreated),
	}
}

func (r *runtimeSampler) read() {
	if r.samples == nil {
		r.samples = make([]metrics.Sample, len(sampleNames))
		for i, name := range sampleNames {
			r.samples[i].Name = name
		}
	}
	metrics.Read(r.samples) // the histograms' memory is used anew
}

// delta is what a histogram held at two earlier times.
type delta struct {
	before, after []uint64
	moved         time.Duration
}

// half is how far apart the two times are.
const half = 30 * time.Second

func (d *delta) move(now time.Duration, h *metrics.Float64Histogram) {
	if d.after != nil && now-d.moved < half {
		return
	}
	d.before, d.after = d.after, append(d.before[:0], h.Counts...)
	if d.before == nil {
		d.before = slices.Clone(d.after)
	}
	d.moved = now
}

// p99 is the upper bound of the bucket below which 99 % of what came since are.
func (d *delta) p99(h *metrics.Float64Histogram) time.Duration {
	total := uint64(0)
	since := func(i int) uint64 {
		if i < len(d.before) {
			return h.Counts[i] - d.before[i]
		}
		return h.Counts[i]
	}
	for i := range h.Counts {
		total += since(i)
	}
	if total == 0 {
		return 0
	}
	rank := total - total/100
	seen := uint64(0)
	for i := range h.Counts {
		if seen += since(i); seen >= rank {
			bound := h.Buckets[i+1]
			if math.IsInf(bound, 1) {
				bound = h.Buckets[i]
			}
			return time.Duration(bound * float64(time.Second))
		}
	}
	return 0
}
