package monitor

import "github.com/prometheus/client_golang/prometheus"

// series are the collectors that events write to; levels are read at a scrape.
type series struct {
	slow     prometheus.Counter
	stalls   prometheus.Counter
	lateness prometheus.Histogram
}

const mb = 1 << 20

func (ms *series) register(m *Monitor, reg prometheus.Registerer) {
	ms.slow = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "event_loop_slow_callbacks_total", Help: "Steps of exchanges that took longer than their threshold, and late wakes of the probe."})
	ms.stalls = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vega_loop_stalls_total", Help: "Times that the probe woke later than twice monitor.check_interval."})
	ms.lateness = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "vega_loop_lateness_seconds", Help: "How late a sleep of 10 ms woke, or of 50 ms while there are no exchanges.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
	})
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	reg.MustRegister(ms.slow, ms.stalls, ms.lateness,
		gauge("event_loop_pending_tasks", "Exchanges in flight.", func() float64 { return float64(m.pool.count().pending) }),
		gauge("vega_sched_latency_p99_seconds", "Time that goroutines wait for a processor, 99th percentile of the last minute.",
			func() float64 { return m.runtime.figures().schedP99.Seconds() }),
		gauge("vega_gc_pause_p99_seconds", "Pauses of the garbage collector, 99th percentile of the last minute.",
			func() float64 { return m.runtime.figures().gcP99.Seconds() }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "vega_mutex_wait_seconds_total", Help: "Time that goroutines waited for locks."},
			func() float64 { return m.runtime.figures().mutexWait }),
		gauge("memory_potential_leaks", "Followed objects that are alive too long after they were let go of.",
			func() float64 { return float64(m.memory.leaks.Load()) }),
		gauge("memory_tracked_mb", "Size of the followed objects, in MiB; vega_memory_tracked_bytes is the same.",
			func() float64 { return float64(m.memory.bytes.Load()) / mb }),
		gauge("vega_memory_tracked_bytes", "Size of the followed objects that are alive.", func() float64 { return float64(m.memory.bytes.Load()) }),
		gauge("vega_memory_growth_ratio_per_hour", "Growth of the resident memory, as a part of it; 0 until an hour was seen.",
			func() float64 { return m.memory.growth().Ratio }),
		gauge("vega_sessions", "Sessions with an exchange in the last 30 minutes.", func() float64 { return float64(m.sessions.len()) }),
	)
}
