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
	// Config returns the effective configuration, secrets masked, as a value
	// for encoding/json.
	Config func() any
	// Reload takes up the configuration anew and returns the paths of the
	// settings that changed. On an error nothing has changed: each line of its
	// text is one problem, as errors.Join writes them, and ErrRestart in it
	// makes the answer 409 instead of 422.
	Reload func(context.Context) (changed []string, err error)
	// LogLevel is the level that GET shows and PUT sets.
	LogLevel *slog.LevelVar
}

// ErrRestart marks a reloaded setting that is valid but takes effect only in a
// new process.
var ErrRestart = errors.New("takes effect only after a restart")

// Server answers on the admin listener. Its methods are safe for concurrent use.
type Server struct {
	cfg   Config
	parts Parts
	log   *slog.Logger

	key      key
	failures failures
	hosts    map[string]bool // in the form that hostName returns

	refusedKeys  seldom
	refusedHosts seldom

	feed        *feed
	handler     http.Handler
	metrics     http.Handler
	description []byte // the body of /admin/openapi.json
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
	hosts, err := listenerNames(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, parts: parts, log: log, hosts: hosts}
	s.SetKey(key)
	s.feed = newFeed(s)

	probes := s.probeRoutes()
	mux := s.adminMux(probes)
	if s.description, err = describe(mux, cfg.OpenMetrics); err != nil {
		return nil, err
	}
	s.handler = s.recovered(hardened(s.guarded(limited(mux))))
	s.metrics = s.recovered(hardened(limited(metricsMux(probes))))
	return s, nil
}

// Handler serves the admin listener.
func (s *Server) Handler() http.Handler { return s.handler }

// MetricsHandler serves /metrics, /livez and /readyz and nothing else, without
// key and Host check: kubelet and Prometheus come by the pod's address.
func (s *Server) MetricsHandler() http.Handler { return s.metrics }
