package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/monitor"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// app is the program as a value: all parts, built and listening, not running.
type app struct {
	cfg   *config.Config
	log   *slog.Logger
	lines *gather
	level slog.LevelVar
	reg   *prometheus.Registry

	upstreams *upstream.Set
	budget    *stream.Budget
	streams   *stream.Registry
	monitor   *monitor.Monitor
	journal   *batchlog.Log // nil is off
	losses    losses        // of the journal
	cache     *cache.Cache  // nil is off
	front     *proxy.Server
	admin     *admin.Server

	frontLn, adminLn, metricsLn net.Listener // metricsLn may be nil
	unlock                      func() error
	draining                    atomic.Bool
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
	a.openMonitor()
	a.budget, a.streams = stream.NewBudget(cfg.Stream.TotalBufferBytes), stream.NewRegistry()
	if err := a.openCache(); err != nil {
		return nil, err
	}
	if err := a.openJournal(); err != nil {
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

func (a *app) listen() (err error) {
	open := func(key, address string) net.Listener {
		ln, lerr := net.Listen("tcp", address)
		if lerr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w; end what uses the address, or set another", key, lerr))
			return nil
		}
		return ln
	}
	a.frontLn = open("listen", a.cfg.Listen)
	a.adminLn = open("admin.listen", a.cfg.Admin.Listen)
	if a.cfg.Metrics.Listen != "" {
		a.metricsLn = open("metrics.listen", a.cfg.Metrics.Listen)
	}
	return err
}

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

func (a *app) buildFront() (err error) {
	streams := make(map[string]stream.Config, len(a.cfg.Upstreams))
	secret := false
	finishes := false
	for _, u := range a.cfg.Upstreams {
		streams[u.Name] = u.Stream
		secret = secret || len(u.SecretHeaders) > 0
		finishes = finishes || u.OnClientGone == "finish"
	}
	opts := proxy.Options{
		Config:         a.cfg.Config,
		Upstreams:      a.upstreams,
		Streams:        streams,
		Finishes:       finishes,
		Budget:         a.budget,
		StreamRegistry: a.streams,
		StreamEvents:   stream.NewEvents(a.reg, a.budget),
		Secret:         secret,
		IsAdminKey:     a.admin.MatchesKey,
		DrainDelay:     a.cfg.Shutdown.DrainDelay,
		DrainTimeout:   a.cfg.Shutdown.DrainTimeout,
		Log:            a.log,
		Metrics:        proxy.NewMetrics(a.reg),

		JournalEmbeddings: a.cfg.Batchlog.Embeddings,
		MaxRecordBytes:    a.cfg.Batchlog.MaxRecordBytes,
		SessionHeaders:    a.cfg.Batchlog.SessionHeaders,
	}
	a.watch(&opts)
	if a.journal != nil {
		opts.Journal = a.journal
	}
	if a.cache != nil {
		opts.Cache, opts.SharedCache = a.cache, a.cfg.Cache.Shared
	}
	a.front, err = proxy.New(opts, isLoopback(a.frontLn.Addr()))
	return err
}

func (a *app) buildAdmin() error {
	key, generated, path, err := admin.LoadKey(a.cfg.Admin, a.cfg.DataDir)
	if err != nil {
		return err
	}
	a.keyFile = path
	switch {
	case generated:
		a.log.Info("an admin key was made", "file", path)
	case path != "":
		a.log.Info("the admin key was read", "file", path)
	}
	reports := a.health()
	if err := a.reg.Register(healthGauge{reports}); err != nil {
		return err
	}
	parts := admin.Parts{
		Ready:    a.ready,
		Metrics:  a.reg,
		Health:   reports,
		Breakers: breakers{a.upstreams},
		Streams:  streams{a.streams},
		Monitor:  watcher{a.monitor},
		Config:   func() any { return a.cfg.Masked() },
		LogLevel: &a.level,
	}
	if a.journal != nil {
		parts.Log = conversations{a.journal}
	}
	if a.cache != nil {
		parts.Cache = responses{a.cache}
	}
	a.admin, err = admin.New(a.cfg.Admin, key, parts, a.log)
	return err
}

var errDraining = errors.New("the proxy is shutting down")

func (a *app) ready() error {
	if a.draining.Load() {
		return errDraining
	}
	return nil
}

// run serves until ctx ends or a part fails. What collects from the exchanges,
// and what shows them, outlives the last of them.
func (a *app) run(ctx context.Context) error {
	defer a.close()
	defer a.lines.start()()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()

	var wg sync.WaitGroup
	failed := make(chan error, 4) // each part reports once
	part := func(name string, run func(context.Context) error) {
		wg.Go(func() {
			var err error
			// The goroutines that a part starts have its label too.
			pprof.Do(back, pprof.Labels("task", name), func(ctx context.Context) { err = run(ctx) })
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				failed <- err
				stop(err)
			}
		})
	}
	wg.Go(func() { a.hearHangups(back) })
	part("monitor", a.monitor.Run)
	if a.journal != nil {
		part("conversation log", a.journal.Run)
	}
	part("admin", func(ctx context.Context) error { return a.admin.Run(ctx, a.adminLn) })
	if a.metricsLn != nil {
		part("metrics", func(ctx context.Context) error { return a.admin.RunMetrics(ctx, a.metricsLn) })
	}
	a.announce()
	defer context.AfterFunc(ctx, func() {
		a.draining.Store(true)
		a.log.Info("stopping", "cause", context.Cause(ctx).Error())
	})()
	var err error
	pprof.Do(ctx, pprof.Labels("task", "proxy"), func(ctx context.Context) { err = a.front.Serve(ctx, a.frontLn) })
	stopBack()
	wg.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	a.log.Info("stopped")
	return err
}

// hearHangups keeps SIGHUP from ending the process, as it would by default, until
// ctx ends.
func (a *app) hearHangups(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
			a.log.Warn("SIGHUP: this build does not reload its configuration yet; restart the proxy to change it")
		case <-ctx.Done():
			return
		}
	}
}

func (a *app) announce() {
	for _, u := range a.cfg.Upstreams {
		a.log.Info("upstream", "name", u.Name, "url", u.URL)
	}
	if a.metricsLn != nil {
		a.log.Info("metrics listening", "address", a.metricsLn.Addr().String())
	}
	a.log.Info("admin listening", "address", a.adminLn.Addr().String())
	a.log.Info("proxy listening", "address", a.frontLn.Addr().String(), "version", version)
}

// close lets go of what newApp took. What runs has ended or was never started.
func (a *app) close() {
	for _, ln := range []net.Listener{a.frontLn, a.adminLn, a.metricsLn} {
		if ln != nil {
			_ = ln.Close() // mostly closed already by whoever served on it
		}
	}
	if a.upstreams != nil {
		a.upstreams.Close()
	}
	if a.cache != nil {
		a.cache.Close()
	}
	if a.unlock != nil {
		_ = a.unlock() // the process ends, and the lock with it
	}
}

// isLoopback tells whether a listener is reached from this machine only.
func isLoopback(addr net.Addr) bool {
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

func buildInfo() prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vega_build_info", Help: "Always 1; the label tells the version."}, []string{"version"})
	g.WithLabelValues(version).Set(1)
	return g
}
