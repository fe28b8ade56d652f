package main

import (
	"context"
	"log/slog"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

func (a *app) buildUpstreams() error {
	metrics := upstream.NewMetrics(a.reg)
	cfgs := make([]upstream.Config, len(a.cfg.Upstreams))
	for i, u := range a.cfg.Upstreams {
		cfgs[i] = u.Config
	}
	set, err := upstream.NewSet(cfgs, a.cfg.Retry, a.cfg.Balance, metrics, func(t resilience.Transition) {
		metrics.Transition(t)
		a.logTransition(t)
	})
	if err != nil {
		return err
	}
	a.upstreams = set
	return a.reg.Register(set)
}

func (a *app) logTransition(t resilience.Transition) {
	attrs := []slog.Attr{
		slog.String("upstream", t.Name), slog.String("from", t.From.String()), slog.String("to", t.To.String()),
		slog.String("cause", t.Cause),
	}
	level := slog.LevelInfo
	if t.To == resilience.Open {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Float64("open_for_seconds", t.OpenFor.Seconds()), slog.Int("openings", t.Openings))
	}
	a.log.LogAttrs(context.Background(), level, "circuit breaker", attrs...)
}

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
