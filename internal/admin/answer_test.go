package admin

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestChangesAreAudited(t *testing.T) {
	tests := []struct {
		method, path, body string
		status             float64
		answer             any
	}{
		{"PUT", "/admin/log-level", `{"level":"debug"}`, 200, map[string]any{"level": "debug"}},
		{"POST", "/admin/performance/streams/s%201/cancel", "", 200, map[string]any{"cancelled": true}},
		{"POST", "/admin/config/reload", "", 200, map[string]any{
			"applied": true, "message": "1 setting changed", "file": "c.yaml", "changed": []any{"cache.ttl_seconds"}, "restart_needed": []any{},
			"differences": []any{map[string]any{"path": "cache.ttl_seconds", "old": "300", "new": "60"}}, "warnings": []any{}}},
		{"POST", "/admin/performance/streams/gone/cancel", "", 404,
			map[string]any{"error": map[string]any{"code": "unknown_stream", "message": `there is no live stream "gone"; it may have ended`}}},
	}
	f := newFixture(t, allOn(), allParts())
	for i, tt := range tests {
		f.ask(tt.method, tt.path, tt.body)
		lines := f.logged.with(t, "admin change")
		if len(lines) != i+1 {
			t.Fatalf("%s: %d lines in the audit, want %d", tt.path, len(lines), i+1)
		}
		line := lines[i]
		path := strings.ReplaceAll(tt.path, "%20", " ")
		if line["peer"] != "192.0.2.1" || line["method"] != tt.method || line["path"] != path || line["status"] != tt.status {
			t.Errorf("%s: %v", tt.path, line)
		}
		if !reflect.DeepEqual(line["answer"], tt.answer) {
			t.Errorf("%s: answer %v, want %v", tt.path, line["answer"], tt.answer)
		}
	}
	f.ask("GET", "/admin/log-level", "")
	f.ask("GET", "/admin/debug/pprof/symbol", "")
	if got := len(f.logged.with(t, "admin change")); got != len(tests) {
		t.Errorf("a read is in the audit: %d lines, want %d", got, len(tests))
	}
	if f.logged.contain(testKey) {
		t.Error("the key is in the log")
	}
}

func TestPanic(t *testing.T) {
	parts := allParts()
	parts.Config = func() any { panic("broken config") }
	parts.Reload = func(context.Context) (Reloaded, error) { panic("broken reload") }
	f := newFixture(t, allOn(), parts)

	message := wantRefusal(t, f.ask("GET", "/admin/config", ""), 500, "internal")
	if strings.Contains(message, "broken") {
		t.Errorf("the answer tells what panicked: %s", message)
	}
	w := f.ask("POST", "/admin/config/reload", "")
	wantRefusal(t, w, 500, "internal")
	if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("X-Content-Type-Options %q", got)
	}

	lines := f.logged.with(t, "admin request panicked")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2", len(lines))
	}
	if stack, _ := lines[0]["stack"].(string); lines[0]["panic"] != "broken config" || lines[0]["path"] != "/admin/config" || !strings.Contains(stack, "answer_test.go") {
		t.Errorf("line: %v", lines[0])
	}
	audit := f.logged.with(t, "admin change")
	if len(audit) != 1 || audit[0]["status"] != 500.0 || audit[0]["answer"] != "panic" {
		t.Errorf("audit: %v", audit)
	}
}

// Half an answer must not look like a whole one.
func TestPanicAfterTheHeaderBreaksTheConnection(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	handler := f.recovered(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic("in the middle")
	}))
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("panics with %v, want http.ErrAbortHandler", p)
		}
		if got := f.logged.with(t, "admin request panicked"); len(got) != 1 {
			t.Errorf("%d log lines, want 1", len(got))
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

func TestAnswerThatIsNoJSON(t *testing.T) {
	parts := allParts()
	parts.Config = func() any { return math.NaN() }
	message := wantRefusal(t, newFixture(t, allOn(), parts).ask("GET", "/admin/config", ""), 500, "internal")
	if !strings.Contains(message, "NaN") {
		t.Errorf("message %q does not say why", message)
	}
}

// A collector that fails hides no other's series, and says so in the log.
func TestMetricsOfABrokenCollector(t *testing.T) {
	parts := allParts()
	good := parts.Metrics
	parts.Metrics = prometheus.GathererFunc(func() (families []*dto.MetricFamily, err error) {
		families, err = good.Gather()
		return families, errors.Join(err, errors.New("one is broken"))
	})
	f := newFixture(t, allOn(), parts)
	w := f.ask("GET", "/metrics", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), "vega_test_total 1") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if !f.logged.contain("one is broken") {
		t.Error("not in the log")
	}
}
