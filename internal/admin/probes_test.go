package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

func TestProbes(t *testing.T) {
	parts := allParts()
	var notReady error
	parts.Ready = func() error { return notReady }
	f := newFixture(t, allOn(), parts)

	wantBody(t, f.ask("GET", "/livez", "", noKey), 200, `{"status":"ok"}`)
	wantBody(t, f.ask("GET", "/readyz", "", noKey), 200, `{"status":"ready"}`)
	notReady = errors.New("draining")
	wantBody(t, f.ask("GET", "/readyz", "", noKey), 503, `{"error":{"code":"not_ready","message":"draining"}}`)
	wantBody(t, f.ask("GET", "/livez", "", noKey), 200, `{"status":"ok"}`)
}

func TestMetrics(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	w := f.ask("GET", "/metrics", "", noKey)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "\nvega_test_total 1\n") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("got %d, %q: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	w = f.ask("GET", "/metrics", "", noKey, header("Accept", "application/openmetrics-text; version=1.0.0"))
	if !strings.HasSuffix(w.Body.String(), "# EOF\n") || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/openmetrics-text") {
		t.Errorf("OpenMetrics: %q: %s", w.Header().Get("Content-Type"), w.Body)
	}
}

func TestClosedMetrics(t *testing.T) {
	cfg := allOn()
	cfg.OpenMetrics = false
	f := newFixture(t, cfg, allParts())
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		wantRefusal(t, f.ask("GET", path, "", noKey), 401, "unauthorized")
		if w := f.ask("GET", path, ""); w.Code != 200 {
			t.Errorf("%s with the key: got %d, want 200", path, w.Code)
		}
	}
	if w := f.ask("GET", "/", "", noKey); w.Code != 200 {
		t.Errorf("the root: got %d, want 200", w.Code)
	}
}

func TestMetricsListener(t *testing.T) {
	cfg := allOn()
	cfg.OpenMetrics = false // a rule of the admin listener alone
	f := newFixture(t, cfg, allParts())
	ask := func(method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Host = "10.1.2.3:9090"
		w := httptest.NewRecorder()
		f.MetricsHandler().ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		for _, method := range []string{"GET", "HEAD"} {
			if w := ask(method, path); w.Code != 200 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s: got %d, %v", method, path, w.Code, w.Header())
			}
		}
	}
	for _, path := range []string{"/", "/admin", "/admin/config", "/admin/openapi.json", "/admin/debug/pprof/", "/debug/pprof/"} {
		wantRefusal(t, ask("GET", path), 404, "not_found")
	}
	w := ask("POST", "/livez")
	wantRefusal(t, w, 405, "method_not_allowed")
	if got := w.Header().Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow %q", got)
	}
}

func TestPprof(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	for path, want := range map[string]string{
		"/admin/debug/pprof/":                  "heap",
		"/admin/debug/pprof/goroutine?debug=1": "goroutine profile:",
		"/admin/debug/pprof/heap?debug=1":      "heap profile:",
		"/admin/debug/pprof/cmdline":           "admin.test",
		"/admin/debug/pprof/symbol":            "num_symbols",
	} {
		if w := f.ask("GET", path, ""); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d, without %q", path, w.Code, want)
		}
	}
	wantRefusal(t, f.ask("GET", "/admin/debug/pprof/nothing", ""), 404, "unknown_profile")

	// A recording ends when its client leaves: these would take an hour.
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, path := range []string{"/admin/debug/pprof/profile?seconds=3600", "/admin/debug/pprof/trace?seconds=3600"} {
		w := f.ask("GET", path, "", func(r *http.Request) { *r = *r.WithContext(gone) })
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: got %d %q", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

// TestCPUProfileInTurn: a process takes one CPU profile at a time. A short one of
// somebody else's is waited for, a long one is said.
func TestCPUProfileInTurn(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, f.ask("GET", "/admin/debug/pprof/profile?seconds=1", ""), 503, "profile_failed")
	time.AfterFunc(profileWait/4, pprof.StopCPUProfile)
	if w := f.ask("GET", "/admin/debug/pprof/profile?seconds=1", ""); w.Code != 200 || w.Body.Len() == 0 {
		t.Errorf("after another one: got %d %s", w.Code, w.Body)
	}
}
