package main

import (
	"io"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/monitor"
	"github.com/vega-proxy/vega-proxy/internal/poll"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/trace"
)

// app is the program as a value: all parts, built and listening, not running.
type app struct {
	cfg   *config.Config // what it was started with
	log   *slog.Logger
	lines *gather
	level slog.LevelVar
	reg   *prometheus.Registry

	upstreams upstreams
	loop      *poll.Loop // reads streamed answers; nil where the system has none
	budget    *stream.Budget
	streams   *stream.Registry
	timings   timings // of the last exchanges
	monitor   *monitor.Monitor
	journal   *batchlog.Log // nil is off
	losses    losses        // of the journal
	cache     *cache.Cache
	tracer    *trace.Tracer // nil is off
	front     *proxy.Server
	admin     *admin.Server

	frontLn, adminLn, metricsLn net.Listener // metricsLn may be nil
	unlock                      func() error
	draining                    atomic.Bool
	reloading                   reloading
	keyFile                     string
}

// newApp builds the parts and opens the listeners. On an error it leaves nothing
// open.
func newApp(cfg *config.Config, warnings []string, logTo io.Writer) (_ *app, err error) {
	a := &app{cfg: cfg, lines: newGather(logTo), reg: prometheus.NewRegistry()}
	if err := a.level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return nil, err
	}
	a.log = newLogger(a.lines, cfg.Log.Format, &a.level)
	a.lines.lost = func(n int) { a.log.Warn("lines of the log were dropped, since nobody read it", "count", n) }
	defer func() {
		if err != nil {
			a.close()
			a.lines.flush(nil)
		}
	}()
	for _, w := range warnings {
		a.log.Warn(w)
	}
	if a.unlock, err = openDataDir(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := a.listen(); err != nil {
		return nil, err
	}
	a.reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(),
	)
	a.openReloading()
	a.openMonitor()
	a.budget, a.streams = stream.NewBudget(cfg.Stream.TotalBufferBytes), stream.NewRegistry()
	if err := a.openCache(); err != nil {
		return nil, err
	}
	if err := a.openJournal(); err != nil {
		return nil, err
	}
	if err := a.openTracer(); err != nil {
		return nil, err
	}
	if err := a.openLoop(); err != nil {
		return nil, err
	}
	if err := a.buildUpstreams(); err != nil {
		return nil, err
	}
	if err := a.buildAdmin(); err != nil {
		return nil, err
	}
	return a, a.buildFront()
}

// close lets go of what newApp took. What runs has ended or was never started.
func (a *app) close() {
	for _, ln := range []net.Listener{a.frontLn, a.adminLn, a.metricsLn} {
		if ln != nil {
			_ = ln.Close() // mostly closed already by whoever served on it
		}
	}
	if set := a.upstreams.Load(); set != nil {
		set.Close()
	}
	if a.loop != nil {
		_ = a.loop.Close() // closed already by its run, if that began
	}
	if a.cache != nil { // newApp came so far
		a.cache.Close()
	}
	if a.unlock != nil {
		_ = a.unlock() // the process ends, and the lock with it
	}
}

func buildInfo() prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vega_build_info", Help: "Always 1; the label tells the version."}, []string{"version"})
	g.WithLabelValues(version).Set(1)
	return g
}
