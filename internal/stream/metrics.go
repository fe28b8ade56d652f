package stream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Events counts what all buffers did. Its funcs may be called from many
// goroutines, some of them under a buffer's lock.
type Events struct {
	// Began and Ended are a buffer's life, State its changes of state.
	Began func()
	State func(from, to State)
	Ended func(last State)
	// Passed is told at the end of a stream what went into its buffer and what
	// came out.
	Passed func(eventsIn, eventsOut, bytesIn, bytesOut int64)
	// Dropped counts events given up, Throttled and Blocked the time that reading
	// was held up.
	Dropped            func(n int)
	Throttled, Blocked func(time.Duration)
}

// NewEvents registers what streams' buffers count, and returns where they count.
func NewEvents(reg prometheus.Registerer, budget *Budget) *Events {
	states := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "vega_streams", Help: "Running streams by the state of their buffers.",
	}, []string{"state"})
	var byState [len(stateNames)]prometheus.Gauge
	for _, s := range States() {
		byState[s] = states.WithLabelValues(s.String())
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	dropped := counter("vega_stream_dropped_events_total", "Events given up since a client was too slow (drop_on_overflow).")
	throttled := counter("vega_stream_throttled_seconds_total", "Time that reading was paced since a buffer was nearly full.")
	blocked := counter("vega_stream_blocked_seconds_total", "Time that reading stood still since a buffer was full.")
	eventsIn := counter("vega_stream_received_events_total", "Events of upstreams that streams took in, counted when a stream ends.")
	eventsOut := counter("vega_stream_sent_events_total", "Events that streams handed to their clients, counted when a stream ends.")
	bytesIn := counter("vega_stream_received_bytes_total", "Bytes of upstreams that streams took in, counted when a stream ends.")
	bytesOut := counter("vega_stream_sent_bytes_total", "Bytes that streams handed to their clients, counted when a stream ends.")
	reg.MustRegister(states,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "vega_stream_buffered_bytes", Help: "Bytes of events that wait for slow clients.",
		}, func() float64 { return float64(budget.Used()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "vega_stream_buffer_limit_bytes", Help: "Bytes that all streams' buffers may hold together.",
		}, func() float64 { return float64(budget.Max()) }),
	)
	return &Events{
		Began: byState[Normal].Inc,
		State: func(from, to State) { byState[from].Dec(); byState[to].Inc() },
		Ended: func(last State) { byState[last].Dec() },
		Passed: func(inEvents, outEvents, inBytes, outBytes int64) {
			eventsIn.Add(float64(inEvents))
			eventsOut.Add(float64(outEvents))
			bytesIn.Add(float64(inBytes))
			bytesOut.Add(float64(outBytes))
		},
		Dropped:   func(n int) { dropped.Add(float64(n)) },
		Throttled: func(d time.Duration) { throttled.Add(d.Seconds()) },
		Blocked:   func(d time.Duration) { blocked.Add(d.Seconds()) },
	}
}
