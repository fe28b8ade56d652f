// Package admin is the HTTP side of the admin listener: probes, metrics, the
// keyed API under /admin that shows and steers the other parts, and the dashboard,
// a page that uses it.
//
// It owns who may ask (key, Host, origin), how answers and errors look, the
// audit line of every change, the figures of the last hour, and the description
// at /admin/openapi.json. It
// decides nothing about the parts behind it: it is given closures and small
// interfaces, and imports none of them.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// Parts is what the API shows and steers. A part that is nil has no routes:
// its paths are 404 and missing from the description. Everything in it is
// called from many goroutines at once and must not block for long, except that
// what takes a context may until that ends.
type Parts struct {
	// Ready is required: nil while the proxy accepts requests, else why it
	// does not. A dead upstream or database is no reason.
	Ready func() error
	// Metrics is required: what /metrics shows.
	Metrics prometheus.Gatherer
	// Health reports one component each.
	Health   []func() Component
	Breakers Breakers
	Streams  Streams
	Cache    Cache
	Log      Log
	Monitor  Monitor
	// Timing returns where the time of a conversation's exchange went, by the
	// conversation's id, as a value for encoding/json; false if that is not known
	// any more.
	Timing func(conversation string) (any, bool)
	// Config returns the effective configuration, secrets masked, as a value
	// for encoding/json.
	Config func() any
	// Reload takes up the configuration anew. On an error nothing has changed: each
	// line of its text is one problem, as errors.Join writes them.
	Reload func(context.Context) (Reloaded, error)
	// LogLevel is the level that GET shows and PUT sets.
	LogLevel *slog.LevelVar
}

// Server answers on the admin listener. Its methods are safe for concurrent use.
type Server struct {
	parts Parts
	log   *slog.Logger

	key      key
	failures failures
	surface  atomic.Pointer[surface]
	feed     *feed

	refusedKeys  seldom
	refusedHosts seldom
}

// surface is what the listeners show under one configuration.
type surface struct {
	hosts       map[string]bool // in the form that hostName returns
	routes      *chi.Mux        // of handler
	handler     http.Handler
	metrics     http.Handler
	description func() ([]byte, error) // the body of /admin/openapi.json
}

// New builds the listener's HTTP side and starts nothing. key is what LoadKey
// returned. It fails for an empty key, a missing required part, and a name in
// admin.allowed_hosts that cannot be one.
func New(cfg Config, key string, parts Parts, log *slog.Logger) (*Server, error) {
	switch {
	case key == "":
		return nil, errors.New("admin: the key is empty, which would lock everybody out; set admin.api_key or have one made in the data directory")
	case parts.Ready == nil:
		return nil, errors.New("admin: nothing answers /readyz: Parts.Ready is nil")
	case parts.Metrics == nil:
		return nil, errors.New("admin: nothing answers /metrics: Parts.Metrics is nil")
	}
	s := &Server{parts: parts, log: log}
	s.feed = newFeed(s)
	apply, err := s.Prepare(cfg, key)
	if err != nil {
		return nil, err
	}
	apply()
	return s, nil
}

// Prepare makes ready what a new configuration shows, and changes nothing yet;
// apply does, for all requests that come after it. The addresses stay. It fails as
// New does.
func (s *Server) Prepare(cfg Config, key string) (apply func(), err error) {
	next := new(surface)
	if next.hosts, err = listenerNames(cfg); err != nil {
		return nil, err
	}
	probes := s.probeRoutes()
	next.routes = s.adminMux(cfg, probes)
	// Made when somebody asks for it: it would be most of a start's work.
	next.description = sync.OnceValues(func() ([]byte, error) { return describe(next.routes, cfg.OpenMetrics) })
	next.handler = s.recovered(hardened(s.guarded(limited(next.routes))))
	next.metrics = s.recovered(hardened(limited(metricsMux(probes))))
	return func() {
		s.SetKey(key)
		s.surface.Store(next)
	}, nil
}

// Handler serves the admin listener.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.surface.Load().handler.ServeHTTP(w, r) })
}

// MetricsHandler serves /metrics, /livez and /readyz and nothing else, without
// key and Host check: kubelet and Prometheus come by the pod's address.
func (s *Server) MetricsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.surface.Load().metrics.ServeHTTP(w, r) })
}
