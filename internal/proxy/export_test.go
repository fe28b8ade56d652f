package proxy

import "github.com/prometheus/client_golang/prometheus"

// PanicAtGap has the exchange panic that is the first to see a gap between two
// tokens: while it handles an event.
func (m *Metrics) PanicAtGap(value any) { m.gaps = &panicking{Histogram: m.gaps, value: value} }

type panicking struct {
	prometheus.Histogram
	value any
	done  bool
}

func (p *panicking) Observe(float64) {
	if !p.done {
		p.done = true
		panic(p.value)
	}
}
