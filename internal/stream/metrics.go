package stream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// NewEvents registers what streams' buffers count, and returns where they count.
func NewEvents(reg prometheus.Registerer, budget *Budget) *Events {
	states := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "vega_streams", Help: "Running streams by the state of their buffers.",
	}, []string{"state"})
	var byState [len(stateNames)]prometheus.Gauge
	for _, s := range States() {
		byState[s] = states.WithLabelValues(s.String())
	}
	dropped := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vega_stream_dropped_events_total", Help: "Events given up since a client was too slow (drop_on_overflow).",
	})
	throttled := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vega_stream_throttled_seconds_total", Help: "Time that reading was paced since a buffer was nearly full.",
	})
	blocked := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vega_stream_blocked_seconds_total", Help: "Time that reading stood still since a buffer was full.",
	})
	reg.MustRegister(states, dropped, throttled, blocked,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "vega_stream_buffered_bytes", Help: "Bytes of events that wait for slow clients.",
		}, func() float64 { return float64(budget.Used()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "vega_stream_buffer_limit_bytes", Help: "Bytes that all streams' buffers may hold together.",
		}, func() float64 { return float64(budget.Max()) }),
	)
	return &Events{
		Began:     byState[Normal].Inc,
		State:     func(from, to State) { byState[from].Dec(); byState[to].Inc() },
		Ended:     func(last State) { byState[last].Dec() },
		Dropped:   func(n int) { dropped.Add(float64(n)) },
		Throttled: func(d time.Duration) { throttled.Add(d.Seconds()) },
		Blocked:   func(d time.Duration) { blocked.Add(d.Seconds()) },
	}
}
