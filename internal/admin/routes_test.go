package admin

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// served is every route of s, HEAD left out.
func served(t *testing.T, s *Server) []string {
	t.Helper()
	var all []string
	err := chi.Walk(s.surface.Load().routes, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if method != http.MethodHead {
			all = append(all, method+" "+path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestRoutesWithEveryPart(t *testing.T) {
	want := []string{
		"GET /",
		"GET /admin/config",
		"GET /admin/conversations",
		"GET /admin/conversations/{id}/timing",
		"GET /admin/debug/flight-records",
		"GET /admin/debug/flight-records/{name}",
		"GET /admin/debug/pprof/",
		"GET /admin/debug/pprof/cmdline",
		"GET /admin/debug/pprof/profile",
		"GET /admin/debug/pprof/symbol",
		"GET /admin/debug/pprof/trace",
		"GET /admin/debug/pprof/{profile}",
		"GET /admin/live",
		"GET /admin/log-level",
		"GET /admin/openapi.json",
		"GET /admin/performance/batch/conversation-logger/stats",
		"GET /admin/performance/cache/stats",
		"GET /admin/performance/circuit-breaker/{name}/status",
		"GET /admin/performance/circuit-breakers/all",
		"GET /admin/performance/circuit-breakers/transitions",
		"GET /admin/performance/event-loop/diagnostics",
		"GET /admin/performance/event-loop/status",
		"GET /admin/performance/health/comprehensive",
		"GET /admin/performance/memory/diagnostics",
		"GET /admin/performance/memory/leaks",
		"GET /admin/performance/memory/leaks/{object_type}",
		"GET /admin/performance/sessions",
		"GET /admin/performance/streams",
		"GET /assets/{name}",
		"GET /livez",
		"GET /metrics",
		"GET /readyz",
		"POST /admin/config/reload",
		"POST /admin/debug/flight-records",
		"POST /admin/performance/batch/conversation-logger/flush",
		"POST /admin/performance/cache/clear",
		"POST /admin/performance/circuit-breaker/{name}/reset",
		"POST /admin/performance/memory/gc",
		"POST /admin/performance/streams/{id}/cancel",
		"PUT /admin/log-level",
	}
	if got := served(t, newFixture(t, allOn(), allParts()).Server); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRoutesOfAbsentParts(t *testing.T) {
	all := allParts()
	f := newFixture(t, Config{}, Parts{Ready: all.Ready, Metrics: all.Metrics})
	want := []string{"GET /", "GET /admin/live", "GET /admin/openapi.json", "GET /admin/performance/health/comprehensive", "GET /assets/{name}", "GET /livez", "GET /metrics", "GET /readyz"}
	if got := served(t, f.Server); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, target := range []string{
		"GET /admin/config", "POST /admin/config/reload", "GET /admin/log-level", "PUT /admin/log-level",
		"GET /admin/debug/pprof/", "GET /admin/debug/pprof/heap", "GET /admin/debug/pprof/cmdline",
		"GET /admin/performance/circuit-breakers/all", "GET /admin/performance/circuit-breaker/default/status",
		"GET /admin/performance/streams", "POST /admin/performance/streams/x/cancel",
		"GET /admin/performance/cache/stats", "POST /admin/performance/cache/clear", "GET /admin/conversations",
		"GET /admin/performance/batch/conversation-logger/stats", "POST /admin/performance/batch/conversation-logger/flush",
		"GET /admin/performance/event-loop/status", "GET /admin/performance/memory/leaks", "POST /admin/performance/memory/gc",
		"GET /admin/performance/sessions", "GET /admin/debug/flight-records", "POST /admin/debug/flight-records",
		"GET /debug/pprof/", "GET /debug/pprof/heap",
	} {
		method, path, _ := strings.Cut(target, " ")
		wantRefusal(t, f.ask(method, path, ""), 404, "not_found")
	}
}

func TestWrongMethod(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	tests := []struct{ method, path, allow string }{
		{"POST", "/", "GET, HEAD"},
		{"POST", "/assets/app.js", "GET, HEAD"},
		{"POST", "/admin/live", "GET, HEAD"},
		{"POST", "/livez", "GET, HEAD"},
		{"DELETE", "/metrics", "GET, HEAD"},
		{"POST", "/admin/log-level", "GET, HEAD, PUT"},
		{"OPTIONS", "/admin/log-level", "GET, HEAD, PUT"},
		{"GET", "/admin/config/reload", "POST"},
		{"HEAD", "/admin/config/reload", "POST"},
		{"GET", "/admin/performance/circuit-breaker/default/reset", "POST"},
		{"POST", "/admin/performance/circuit-breaker/a%2Fb/status", "GET, HEAD"},
		{"PUT", "/admin/performance/streams/x/cancel", "POST"},
		{"GET", "/admin/performance/cache/clear", "POST"},
		{"DELETE", "/admin/performance/cache/stats", "GET, HEAD"},
		{"GET", "/admin/performance/batch/conversation-logger/flush", "POST"},
		{"DELETE", "/admin/conversations", "GET, HEAD"},
		{"POST", "/admin/debug/pprof/heap", "GET, HEAD"},
		{"GET", "/admin/performance/memory/gc", "POST"},
		{"DELETE", "/admin/debug/flight-records", "GET, HEAD, POST"},
		{"BREW", "/admin/config", "GET, HEAD"},
	}
	for _, tt := range tests {
		w := f.ask(tt.method, tt.path, "")
		wantRefusal(t, w, 405, "method_not_allowed")
		if got := w.Header().Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow %q, want %q", tt.method, tt.path, got, tt.allow)
		}
	}
	for _, target := range []string{"BREW /nothing", "BREW /admin/nothing", "OPTIONS *", "GET /admin", "GET /admin/", "GET /livez/", "GET //livez", "GET /admin/openapi.json/"} {
		method, path, _ := strings.Cut(target, " ")
		w := f.ask(method, path, "")
		wantRefusal(t, w, 404, "not_found")
		if got := w.Header().Get("Allow"); got != "" {
			t.Errorf("%s: Allow %q", target, got)
		}
	}
}

// Over a real connection, HEAD has the headers of GET and no body.
func TestHead(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	server := httptest.NewServer(f.Handler())
	defer server.Close()
	for _, path := range []string{"/", "/assets/app.js", "/livez", "/readyz", "/metrics", "/admin/openapi.json", "/admin/config", "/admin/log-level",
		"/admin/performance/circuit-breakers/all", "/admin/performance/circuit-breaker/default/status",
		"/admin/performance/health/comprehensive", "/admin/performance/streams", "/admin/performance/cache/stats",
		"/admin/performance/batch/conversation-logger/stats", "/admin/conversations", "/admin/performance/event-loop/status",
		"/admin/debug/flight-records", "/admin/debug/flight-records/" + flightName} {
		lengths := map[string]int64{}
		for _, method := range []string{"GET", "HEAD"} {
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-API-Key", testKey)
			r.Header.Set("Accept-Encoding", "identity") // else the client unpacks, and has no length
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("%s %s: %s", method, path, resp.Status)
			}
			lengths[method] = resp.ContentLength
		}
		if path != "/metrics" && (lengths["HEAD"] != lengths["GET"] || lengths["GET"] <= 0) {
			t.Errorf("%s: Content-Length %d by HEAD, %d by GET", path, lengths["HEAD"], lengths["GET"])
		}
	}
}
