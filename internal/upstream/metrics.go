package upstream

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// Metrics counts what happens between the upstreams. One value lives as long as
// the process, whatever sets of upstreams come and go.
type Metrics struct {
	retries         *prometheus.CounterVec
	budgetExhausted prometheus.Counter
	transitions     *prometheus.CounterVec
}

// NewMetrics registers the counters.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vega_retries_total",
			Help: "Further tries after a failed one, by the upstream that failed and the reason: unsent, broke, or a status.",
		}, []string{"upstream", "reason"}),
		budgetExhausted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vega_retry_budget_exhausted_total",
			Help: "Retries not made since too many were made in the last 10 seconds.",
		}),
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vega_breaker_transitions_total",
			Help: "State changes of the circuit breakers.",
		}, []string{"upstream", "from", "to"}),
	}
	reg.MustRegister(m.retries, m.budgetExhausted, m.transitions)
	return m
}

// transitions are all there are; those to closed are resets, too.
var transitions = [...]struct{ from, to resilience.State }{
	{resilience.Closed, resilience.Open}, {resilience.Open, resilience.HalfOpen}, {resilience.HalfOpen, resilience.Closed},
	{resilience.HalfOpen, resilience.Open}, {resilience.Open, resilience.Closed},
}

// begin has an upstream's counters begin at 0: the event with which a series
// appears is one that rate and increase never see.
func (m *Metrics) begin(upstream string) {
	for _, t := range transitions {
		m.transitions.WithLabelValues(upstream, t.from.String(), t.to.String())
	}
	for _, reason := range retryReasons {
		m.retries.WithLabelValues(upstream, reason)
	}
}

// forget removes the series of an upstream that is no longer configured.
func (m *Metrics) forget(upstream string) {
	label := prometheus.Labels{"upstream": upstream}
	m.retries.DeletePartialMatch(label)
	m.transitions.DeletePartialMatch(label)
}

// Transition counts a breaker's change of state.
func (m *Metrics) Transition(t resilience.Transition) {
	m.transitions.WithLabelValues(t.Name, t.From.String(), t.To.String()).Inc()
}

var (
	breakerState = desc("circuit_breaker_state", "State of the upstream's circuit breaker: 0 closed, 1 half open, 2 open.", "integration")
	breakerFails = desc("circuit_breaker_failures_total", "Answers and connections that count as the upstream's failure.", "integration")
	breakerReqs  = desc("vega_breaker_requests_total", "Requests by what the circuit breaker made of them.", "upstream", "outcome")
	inFlight     = desc("vega_upstream_in_flight", "Requests that hold a place at the upstream.", "upstream")
	waiting      = desc("vega_upstream_queue_waiting", "Requests that wait for a place at the upstream.", "upstream")
	connections  = desc("vega_upstream_connections", "Open connections to the upstream, by whether a request uses them.", "upstream", "state")
	dials        = desc("vega_upstream_dials_total", "Connections made to the upstream.", "upstream")
	reuses       = desc("vega_upstream_reuses_total", "Requests sent on a connection that was open already.", "upstream")
	budgetUsed   = desc("vega_retry_budget_used", "Retries of the last 10 seconds that the budget was charged for.")
	budgetLimit  = desc("vega_retry_budget_limit", "Retries that the budget allows in 10 seconds at the present load.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe and Collect make the set a prometheus.Collector: gauges and the
// breakers' own counts are read when somebody asks.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{breakerState, breakerFails, breakerReqs, inFlight, waiting, connections, dials, reuses, budgetUsed, budgetLimit} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, u := range s.upstreams {
		name := u.Name()
		status := u.breaker.Status()
		gauge(breakerState, float64(status.State), name)
		counter(breakerFails, float64(status.Metrics.FailedRequests), name)
		counter(breakerReqs, float64(status.Metrics.SuccessfulRequests), name, "success")
		counter(breakerReqs, float64(status.Metrics.FailedRequests), name, "failure")
		counter(breakerReqs, float64(status.Metrics.NeutralRequests), name, "neutral")
		counter(breakerReqs, float64(status.Metrics.RejectedRequests), name, "rejected")
		gauge(inFlight, float64(u.limiter.InFlight()), name)
		gauge(waiting, float64(u.limiter.Waiting()), name)
		conns := u.transport.Stats()
		gauge(connections, float64(conns.Open-conns.Idle), name, "busy")
		gauge(connections, float64(conns.Idle), name, "idle")
		counter(dials, float64(conns.Dials), name)
		counter(reuses, float64(conns.Reused), name)
	}
	budget := s.budget.Stats()
	gauge(budgetUsed, float64(budget.Retries))
	gauge(budgetLimit, float64(budget.Limit))
}
