package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

const testKey = "correct-horse-battery"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeBreakers has the breakers "default" (open until it is reset) and "a/b %".
type fakeBreakers struct{ reset bool }

func (b *fakeBreakers) Names() []string { return []string{"default", "a/b %"} }

func (b *fakeBreakers) Status(name string) (any, bool) {
	if !slices.Contains(b.Names(), name) {
		return nil, false
	}
	// The real thing, so that the description is held against it.
	status := resilience.Status{Name: name, State: resilience.Open, FailCount: 5, LastError: "500", SecondsUntilRetry: 12.5}
	if b.reset {
		status.State = resilience.Closed
	}
	return status, true
}

func (b *fakeBreakers) Reset(name string) (any, bool) {
	b.reset = true
	return b.Status(name)
}

func (b *fakeBreakers) Transitions() any {
	return []json.RawMessage{json.RawMessage(`{"name":"default","from":"closed","to":"open","at":"2025-11-02T10:00:00Z","cause":"500","open_for_seconds":9.5}`)}
}

// fakeStreams has one live stream, "s 1", and one that ended.
type fakeStreams struct{ cancelled bool }

func (s *fakeStreams) List() (live, recent any) {
	const stream = `{"id":"s 1","model":"m","upstream":"default","client":"127.0.0.1:9","dialect":"openai",
		"started_at":"2025-11-02T10:00:00Z","time_to_first_token_seconds":0.2,"state":"normal","buffer_size":1,
		"buffer_capacity":100,"buffer_usage_percent":1,"chunks_produced":3,"chunks_consumed":2,"chunks_in_flight":1,
		"chunks_dropped":0,"bytes_produced":30,"bytes_consumed":20,"overflow_count":0,"max_buffer_size":2,
		"throttle_time_seconds":0,"duration_seconds":1,"throughput_chunks_per_sec":2,"throughput_bytes_per_sec":20%s}`
	return []json.RawMessage{json.RawMessage(fmt.Sprintf(stream, ""))},
		[]json.RawMessage{json.RawMessage(fmt.Sprintf(stream, `,"ended_by":"client"`))}
}

func (s *fakeStreams) Digest(int) (live, recent any, total int) {
	live, recent = s.List()
	return live, recent, 1
}

func (s *fakeStreams) Cancel(id string) bool {
	if id != "s 1" || s.cancelled {
		return false
	}
	s.cancelled = true
	return true
}

// fakeCache holds so many entries per model.
type fakeCache map[string]int

func (c fakeCache) Stats() any {
	size := 0
	for _, n := range c {
		size += n
	}
	return json.RawMessage(fmt.Sprintf(`{"size":%d,"maxsize":1000,"bytes":900,"max_bytes":67108864,"ttl_seconds":300,"hits":3,
		"misses":1,"coalesced":0,"stale_served":0,"evictions":0,"expirations":0,"rejected":0,"hit_rate":0.75,"total_requests":4}`, size))
}

func (c fakeCache) Clear(model string) (cleared int) {
	for name, n := range c {
		if model == "" || name == model {
			cleared += n
			delete(c, name)
		}
	}
	return cleared
}

// fakeLog answers with what its fields say, and keeps what it was asked.
type fakeLog struct {
	flush func(context.Context) (flushed, remaining int, err error)
	err   error // of a search
	next  string
	asked url.Values
}

func (l *fakeLog) Stats() any {
	return json.RawMessage(`{"queue_size":2,"max_queue_size":1000,"batch_size":50,"total_items_queued":9,"total_items_inserted":4,
		"total_items_amended":0,"total_items_retired":0,"total_batches":1,"failed_batches":0,"success_rate":1,"avg_batch_size":4,
		"total_flush_time_seconds":0.01,"avg_flush_time_ms":10,"spool_bytes":512,"spool_oldest_seconds":1.5,"late":0,"set_aside":1,
		"dropped":2,"dropped_by_reason":{"spool_full":2},"sink":"sqlite","sink_error":""}`)
}

func (l *fakeLog) Flush(ctx context.Context) (flushed, remaining int, err error) {
	if l.flush != nil {
		return l.flush(ctx)
	}
	return 2, 0, nil
}

func (l *fakeLog) Conversations(_ context.Context, q url.Values) (found any, next string, err error) {
	l.asked = q
	return []json.RawMessage{json.RawMessage(`{"id":"019a4411-0000-7000-8000-000000000001","request_id":"r","session_id":"s",
		"started_at":"2025-11-02T10:00:00Z","dialect":"openai","endpoint":"/v1/chat/completions","upstream":"default","model":"m",
		"model_reported":"m","prompt":"a secret prompt","messages":[{"role":"user","content":"a secret prompt"}],"params":null,
		"answer":"yes","reasoning":"","tool_calls":null,"choices":null,"finish_reason":"stop","prompt_tokens":3,
		"completion_tokens":null,"tokens_estimated":false,"time_to_first_token_ms":12.5,"duration_ms":30,"cache_status":"MISS",
		"http_status":200,"attempts":1,"outcome":"ok","ended_by":"upstream","error":"","streamed":true,"truncated":false,
		"incomplete":false,"altered":false,"dropped":0,"revision":0,"instance":"i","bytes_in":10,"bytes_out":20,"tenant":""}`)}, l.next, l.err
}

// fixture is a server with every part there is, and what it logged.
type fixture struct {
	*Server
	logged lines
}

func allParts() Parts {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "vega_test_total", Help: "A counter."})
	counter.Inc()
	registry.MustRegister(counter)
	return Parts{
		Ready:   func() error { return nil },
		Metrics: registry,
		Health: []func() Component{
			func() Component { return Component{Name: "log", Status: Healthy, Detail: "/admin/log-level"} },
			func() Component {
				return Component{Name: "breakers", Status: Warning, Reasons: []string{"default is open"},
					Detail: "/admin/performance/circuit-breakers/all"}
			},
		},
		Breakers: &fakeBreakers{},
		Streams:  &fakeStreams{},
		Cache:    fakeCache{"m": 2, "n:latest": 3},
		Log:      &fakeLog{},
		Monitor:  &fakeMonitor{},
		Timing: func(string) (any, bool) {
			return json.RawMessage(`{"received_ms":0.1,"queued_ms":0,"connect_ms":0.2,"head_ms":3.5,"first_token_ms":null,"duration_ms":9,"attempts":1}`), true
		},
		Config: func() any { return map[string]any{"listen": "127.0.0.1:8080"} },
		Reload: func(context.Context) (Reloaded, error) {
			return Reloaded{Applied: true, Message: "1 setting changed", File: "c.yaml", Changed: []string{"cache.ttl_seconds"},
				Differences: []Difference{{"cache.ttl_seconds", "300", "60"}}}, nil
		},
		LogLevel: new(slog.LevelVar),
	}
}

func allOn() Config {
	return Config{Listen: "127.0.0.1:8081", OpenMetrics: true, Pprof: true}
}

func newFixture(t *testing.T, cfg Config, parts Parts) *fixture {
	t.Helper()
	f := &fixture{}
	var err error
	if f.Server, err = New(cfg, testKey, parts, slog.New(slog.NewJSONHandler(&f.logged, nil))); err != nil {
		t.Fatal(err)
	}
	return f
}

// ask sends a request with the key, changed by edit, straight to the handler.
func (f *fixture) ask(method, path, body string, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:8081"
	r.Header.Set("X-API-Key", testKey)
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func noKey(r *http.Request) { r.Header.Del("X-API-Key") }

// wantRefusal checks status, code and shape of an error answer.
func wantRefusal(t *testing.T, w *httptest.ResponseRecorder, status int, code string) (message string) {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("status %d, no JSON: %v: %s", w.Code, err, w.Body)
	}
	if w.Code != status || body.Error.Code != code {
		t.Errorf("got %d %s, want %d with code %q", w.Code, w.Body, status, code)
	}
	if body.Error.Message == "" {
		t.Error("the error has no message")
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	return body.Error.Message
}

func wantBody(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if got := strings.TrimSuffix(w.Body.String(), "\n"); w.Code != status || got != body {
		t.Errorf("got %d %s\nwant %d %s", w.Code, got, status, body)
	}
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// with returns the logged lines that have this message, decoded.
func (l *lines) with(t *testing.T, message string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	decoder := json.NewDecoder(bytes.NewReader(l.buf.Bytes()))
	for {
		var line map[string]any
		err := decoder.Decode(&line)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if line["msg"] == message {
			found = append(found, line)
		}
	}
}

func (l *lines) contain(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(text))
}
