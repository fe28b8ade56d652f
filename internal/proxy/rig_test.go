package proxy_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/testkit/loop"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

const adminKey = "the-admin-key"

// rig is a proxy that listens, with the configuration's own defaults.
type rig struct {
	t     testing.TB
	addr  string
	set   *upstream.Set
	lines lines
	log   *slog.Logger // writes to lines, unless a benchmark wants a real one
	// tune changes what the server is built from; nil changes nothing.
	tune func(*proxy.Options)
	// wrap stands before the listener; nil does not.
	wrap func(net.Listener) net.Listener
	// What the admin API shows of streams.
	reg      *prometheus.Registry
	budget   *stream.Budget
	registry *stream.Registry
	stop     context.CancelFunc // as a signal does
	done     chan error         // what Serve returned
}

var names = []string{"first", "second", "third"}

// start runs a proxy before the backends, which are called first, second and
// third in that order. configure changes its settings; nil leaves them.
func start(t testing.TB, configure func(*config.Config), backends ...*backend) *rig {
	t.Helper()
	urls := make([]string, len(backends))
	for i, b := range backends {
		urls[i] = b.url()
	}
	return startAt(t, configure, urls...)
}

func startAt(t testing.TB, configure func(*config.Config), urls ...string) *rig {
	t.Helper()
	lines := make(lines, 1<<14)
	return startLogged(t, lines, slog.New(lines), configure, urls...)
}

func startLogged(t testing.TB, lines lines, log *slog.Logger, configure func(*config.Config), urls ...string) *rig {
	t.Helper()
	r := &rig{t: t, lines: lines, log: log}
	r.start(configure, urls...)
	return r
}

func (r *rig) start(configure func(*config.Config), urls ...string) {
	t := r.t
	t.Helper()
	cfg := config.Default()
	base := cfg.Upstreams[0]
	cfg.Upstreams = nil
	for i, u := range urls {
		one := base
		one.Name, one.URL, one.Headers = names[i], u, map[string]string{}
		one.Breaker.FailureStatuses = slices.Clone(base.Breaker.FailureStatuses)
		cfg.Upstreams = append(cfg.Upstreams, one)
	}
	cfg.Retry.BaseBackoff, cfg.Retry.MaxBackoff = time.Microsecond, time.Microsecond
	cfg.Shutdown.DrainTimeout = time.Millisecond
	if configure != nil {
		configure(&cfg)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr, r.done = ln.Addr().String(), make(chan error, 1)
	if r.wrap != nil {
		ln = r.wrap(ln)
	}
	server := r.build(cfg)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.done <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-r.done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("Serve does not return")
		}
		r.set.Close()
	})
}

func (r *rig) build(cfg config.Config) *proxy.Server {
	r.t.Helper()
	reg := prometheus.NewRegistry()
	r.reg, r.registry = reg, stream.NewRegistry()
	var upstreams []upstream.Config
	streams := map[string]stream.Config{}
	secret, finishes := false, false
	for _, u := range cfg.Upstreams {
		upstreams = append(upstreams, u.Config)
		streams[u.Name] = u.Stream
		secret = secret || len(u.SecretHeaders) > 0
		finishes = finishes || u.OnClientGone == "finish"
	}
	var err error
	r.set, err = upstream.NewSet(upstreams, cfg.Retry, cfg.Balance, upstream.NewMetrics(reg), func(resilience.Transition) {}, loop.Run(r.t, 1))
	if err != nil {
		r.t.Fatal(err)
	}
	r.budget = stream.NewBudget(cfg.Stream.TotalBufferBytes)
	opts := proxy.Options{
		Settings: proxy.Settings{
			Config:       cfg.Config,
			Upstreams:    r.set,
			Streams:      streams,
			Stream:       cfg.Stream,
			Finishes:     finishes,
			Secret:       secret,
			DrainDelay:   cfg.Shutdown.DrainDelay,
			DrainTimeout: cfg.Shutdown.DrainTimeout,
		},
		Loopback:       true,
		Budget:         r.budget,
		StreamRegistry: r.registry,
		StreamEvents:   stream.NewEvents(reg, r.budget),
		IsAdminKey:     func(s string) bool { return s == adminKey },
		Log:            r.log,
		Metrics:        proxy.NewMetrics(reg),
	}
	if r.tune != nil {
		r.tune(&opts)
	}
	server, err := proxy.New(opts)
	if err != nil {
		r.t.Fatal(err)
	}
	return server
}

// breaker is the status of an upstream's breaker.
func (r *rig) breaker(i int) resilience.Status { return r.set.All()[i].Breaker().Status() }

// ended waits for the end of an exchange, and returns its log line.
func (r *rig) ended() map[string]any {
	r.t.Helper()
	select {
	case line := <-r.lines:
		return line
	case <-time.After(patience):
		r.t.Fatal("no exchange ended")
		return nil
	}
}

// lines is a log that hands on the lines of ended exchanges.
type lines chan map[string]any

func (l lines) Enabled(context.Context, slog.Level) bool { return true }
func (l lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l lines) WithGroup(string) slog.Handler            { return l }

func (l lines) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "exchange" {
		return nil
	}
	line := map[string]any{}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "" && a.Value.Kind() == slog.KindGroup {
			for _, in := range a.Value.Group() {
				line[in.Key] = in.Value.Any()
			}
			return true
		}
		line[a.Key] = a.Value.Any()
		return true
	})
	l <- line
	return nil
}

var ownName = regexp.MustCompile(`\Avega-proxy-[0-9a-z]{8}\z`)

// wantVia wants a Via that begins so and ends with a proxy's own name.
func wantVia(t testing.TB, h http.Header, before string) {
	t.Helper()
	via := strings.Join(h["Via"], ", ")
	if name, ok := strings.CutPrefix(via, before); !ok || !ownName.MatchString(name) {
		t.Errorf("Via %q, want %q and a name", via, before)
	}
}
