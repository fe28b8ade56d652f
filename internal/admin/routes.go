package admin

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
)

// route is one line of the table of what is served. A GET answers HEAD too.
type route struct {
	method  string
	pattern string
	handler http.Handler
}

// adminRoutes is what is served below /admin, all of it behind the key.
func (s *Server) adminRoutes(cfg Config) []route {
	routes := []route{
		{http.MethodGet, "/openapi.json", s.read(s.openAPI)},
		{http.MethodGet, "/performance/health/comprehensive", s.read(s.health)},
		{http.MethodGet, "/live", http.HandlerFunc(s.watch)},
	}
	if s.parts.Breakers != nil {
		routes = append(routes,
			route{http.MethodGet, "/performance/circuit-breakers/all", s.read(s.allBreakers)},
			route{http.MethodGet, "/performance/circuit-breakers/transitions", s.read(s.allTransitions)},
			route{http.MethodGet, "/performance/circuit-breaker/{name}/status", s.read(s.breakerStatus)},
			route{http.MethodPost, "/performance/circuit-breaker/{name}/reset", s.change(s.resetBreaker)},
		)
	}
	if s.parts.Streams != nil {
		routes = append(routes,
			route{http.MethodGet, "/performance/streams", s.read(s.listStreams)},
			route{http.MethodPost, "/performance/streams/{id}/cancel", s.change(s.cancelStream)},
		)
	}
	if s.parts.Cache != nil {
		routes = append(routes,
			route{http.MethodGet, "/performance/cache/stats", s.read(s.cacheStats)},
			route{http.MethodPost, "/performance/cache/clear", s.change(s.clearCache)},
		)
	}
	if s.parts.Log != nil {
		routes = append(routes,
			route{http.MethodGet, "/performance/batch/conversation-logger/stats", s.read(s.logStats)},
			route{http.MethodPost, "/performance/batch/conversation-logger/flush", s.change(s.flushLog)},
			route{http.MethodGet, "/conversations", s.read(s.conversations)},
		)
	}
	if s.parts.Timing != nil {
		routes = append(routes, route{http.MethodGet, "/conversations/{id}/timing", s.read(s.timing)})
	}
	if s.parts.Monitor != nil {
		routes = append(routes, s.monitorRoutes()...)
	}
	if s.parts.Config != nil {
		routes = append(routes, route{http.MethodGet, "/config", s.read(s.config)})
	}
	if s.parts.Reload != nil {
		routes = append(routes, route{http.MethodPost, "/config/reload", s.change(s.reload)})
	}
	if s.parts.LogLevel != nil {
		routes = append(routes,
			route{http.MethodGet, "/log-level", s.read(s.logLevel)},
			route{http.MethodPut, "/log-level", s.change(s.setLogLevel)},
		)
	}
	if cfg.Pprof {
		routes = append(routes, pprofRoutes()...)
	}
	return routes
}

func (s *Server) adminMux(cfg Config, probes []route) *chi.Mux {
	mux := newMux()
	add(mux, pageRoutes()...)
	if cfg.OpenMetrics {
		add(mux, probes...)
	} else {
		add(mux.With(s.requireKey), probes...)
	}
	// A router of its own, so that the key comes before its 404 and 405 too:
	// without it nobody learns which paths exist.
	mux.Route("/admin", func(r chi.Router) {
		r.Use(s.requireKey)
		add(r, s.adminRoutes(cfg)...)
	})
	return mux
}

func metricsMux(probes []route) *chi.Mux {
	mux := newMux()
	add(mux, probes...)
	return mux
}

func newMux() *chi.Mux {
	mux := chi.NewRouter()
	mux.NotFound(notFound)
	mux.MethodNotAllowed(methodNotAllowed)
	return mux
}

func add(r chi.Router, routes ...route) {
	for _, rt := range routes {
		r.Method(rt.method, rt.pattern, rt.handler)
		if rt.method == http.MethodGet {
			r.Method(http.MethodHead, rt.pattern, rt.handler)
		}
	}
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	refuse(w, &refusal{status: http.StatusNotFound, code: "not_found", message: "there is nothing at this path; GET /admin/openapi.json lists what there is"})
}

// methodNotAllowed asks the router which methods the path has, since chi tells
// only its own handler. It is also where chi sends methods that it does not
// know, whatever the path.
func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	routes := chi.RouteContext(r.Context()).Routes
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), m, path) {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		notFound(w, r)
		return
	}
	allow := strings.Join(allowed, ", ")
	w.Header().Set("Allow", allow)
	refuse(w, &refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: r.Method + " is not possible here; possible: " + allow})
}
