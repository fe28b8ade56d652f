package main

import (
	"fmt"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// breakers shows the upstreams' breakers to the admin API.
type breakers struct{ set *upstream.Set }

func (b breakers) Names() []string {
	var names []string
	for _, u := range b.set.All() {
		names = append(names, u.Name())
	}
	return names
}

func (b breakers) Status(name string) (any, bool) {
	u := b.find(name)
	if u == nil {
		return nil, false
	}
	return u.Breaker().Status(), true
}

func (b breakers) Reset(name string) (any, bool) {
	u := b.find(name)
	if u == nil {
		return nil, false
	}
	return u.Breaker().Reset(), true
}

func (b breakers) find(name string) *upstream.Upstream {
	for _, u := range b.set.All() {
		if u.Name() == name {
			return u
		}
	}
	return nil
}

// streams shows the running streams to the admin API.
type streams struct{ *stream.Registry }

func (s streams) List() (live, recent any) { return s.Registry.List() }

// upstreamHealth is a warning while an upstream is refused, and critical while
// all are.
func (a *app) upstreamHealth() admin.Component {
	c := admin.Component{Name: "upstreams", Status: admin.Healthy, Reasons: []string{}, Detail: "/admin/performance/circuit-breakers/all"}
	all := a.upstreams.All()
	open := 0
	for _, u := range all {
		s := u.Breaker().Status()
		if s.State == resilience.Closed {
			continue
		}
		open++
		c.Reasons = append(c.Reasons, fmt.Sprintf("the circuit breaker of %s is %s: %s", u.Name(), s.State, s.LastError))
	}
	switch {
	case open == len(all):
		c.Status = admin.Critical
	case open > 0:
		c.Status = admin.Warning
	}
	return c
}
