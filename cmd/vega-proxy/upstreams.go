package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/poll"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

func (a *app) buildUpstreams() error {
	metrics := upstream.NewMetrics(a.reg)
	set, err := upstream.NewSet(upstreamConfigs(a.cfg), a.cfg.Retry, a.cfg.Balance, metrics, func(t resilience.Transition) {
		metrics.Transition(t)
		a.upstreams.timeline.note(t)
		a.logTransition(t)
	}, a.loop)
	if err != nil {
		return err
	}
	a.upstreams.Store(set)
	return a.reg.Register(&a.upstreams)
}

// openLoop makes what reads streamed answers. One goroutine serves tens of thousands
// of tokens a second; half the processors are left to all else.
func (a *app) openLoop() error {
	loop, err := poll.New(runtime.GOMAXPROCS(0) / 2)
	if errors.Is(err, errors.ErrUnsupported) { // each stream's own goroutine reads it
		return nil
	}
	a.loop = loop
	return err
}

// runLoop reads streamed answers until ctx ends.
func (a *app) runLoop(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = a.loop.Close() })() // there is nothing in it to lose
	a.loop.Run()
	return nil
}

func upstreamConfigs(cfg *config.Config) []upstream.Config {
	cfgs := make([]upstream.Config, len(cfg.Upstreams))
	for i, u := range cfg.Upstreams {
		cfgs[i] = u.Config
	}
	return cfgs
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

// upstreams is the set that is asked now. It shows the set's figures to a scrape,
// and the breakers to the admin API.
type upstreams struct {
	atomic.Pointer[upstream.Set]
	timeline timeline
}

func (u *upstreams) Describe(ch chan<- *prometheus.Desc) { u.Load().Describe(ch) }
func (u *upstreams) Collect(ch chan<- prometheus.Metric) { u.Load().Collect(ch) }

func (u *upstreams) Names() []string {
	var names []string
	for _, up := range u.Load().All() {
		names = append(names, up.Name())
	}
	return names
}

func (u *upstreams) Status(name string) (any, bool) {
	up := u.Load().Named(name)
	if up == nil {
		return nil, false
	}
	return up.Breaker().Status(), true
}

func (u *upstreams) Reset(name string) (any, bool) {
	up := u.Load().Named(name)
	if up == nil {
		return nil, false
	}
	return up.Breaker().Reset(), true
}

func (u *upstreams) Transitions() any { return u.timeline.list() }
