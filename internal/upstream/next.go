package upstream

import (
	"slices"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// Next builds the set of a new configuration, and changes nothing of this one. An
// upstream whose name and origin stay keeps its breaker and its places; one whose
// timeouts and certificates stay too keeps its connections. Once the new set is
// the one that is asked, it is to Replace this one.
func (s *Set) Next(cfgs []Config, retry resilience.RetryConfig, balance string) (*Set, error) {
	next := &Set{
		retry:        retry,
		budget:       s.budget,
		leastBusy:    balance == "least_busy",
		metrics:      s.metrics,
		onTransition: s.onTransition,
		loop:         s.loop,
	}
	for _, cfg := range cfgs {
		u, err := newUpstream(cfg, s.Named(cfg.Name), s.onTransition, s.loop)
		if err != nil {
			return nil, err // nothing was opened yet
		}
		next.upstreams = append(next.upstreams, u)
	}
	return next, nil
}

// Replace has the settings of s hold for what it took over from old, and lets go of
// what it did not. Requests that old has begun go on to their end.
func (s *Set) Replace(old *Set) {
	s.budget.Configure(s.retry.BudgetPercent)
	for _, u := range s.upstreams {
		u.breaker.Configure(u.cfg.Breaker)
		u.limiter.Configure(u.cfg.MaxInFlight, u.cfg.Queue, u.cfg.QueueTimeout)
		s.metrics.begin(u.Name())
	}
	for _, u := range old.upstreams {
		successor := s.Named(u.Name())
		if successor == nil || successor.transport != u.transport {
			u.transport.Retire()
		}
		if successor == nil || successor.backend != u.backend {
			u.gone.Store(true)
		}
		if successor == nil {
			s.metrics.forget(u.Name())
		}
	}
}

// Named returns the upstream of a name, or nil.
func (s *Set) Named(name string) *Upstream {
	if i := slices.IndexFunc(s.upstreams, func(u *Upstream) bool { return u.Name() == name }); i >= 0 {
		return s.upstreams[i]
	}
	return nil
}
