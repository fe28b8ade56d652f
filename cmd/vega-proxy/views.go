package main

import (
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
