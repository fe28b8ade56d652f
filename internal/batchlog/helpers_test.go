package batchlog

import (
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

var chatRoute = dialect.RouteOf("POST", "/v1/chat/completions")

func testConfig() Config {
	return Config{
		Enabled: true, BatchSize: 50, FlushInterval: time.Hour, MaxQueueSize: 1000, Content: "full",
		MaxRecordBytes: 16 << 20, Migrate: true, Spool: SpoolConfig{MaxBytes: 64 << 20, Fsync: "1s"},
	}
}

// chat is a streamed exchange.
func chat(prompt, answer string) *Record {
	body, err := json.Marshal(map[string]any{"model": "m", "temperature": 0.5, "stream": true,
		"messages": []any{map[string]string{"role": "user", "content": prompt}}})
	if err != nil {
		panic(err)
	}
	delta, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	return &Record{
		ID: uuid.Must(uuid.NewV7()), RequestID: "req-1", SessionID: "session-1",
		StartedAt: time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC), Route: chatRoute, Endpoint: "/v1/chat/completions",
		Upstream: "gpu", Model: "m", RequestBody: body,
		Answer: [][]byte{
			[]byte(`data: {"model":"m-2","choices":[{"index":0,"delta":{"content":` + string(delta) + `}}]}` + "\n\n"),
			[]byte(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5}}` + "\n\n"),
			[]byte("data: [DONE]\n\n"),
		},
		Framing: dialect.FramingSSE, TTFT: 1500 * time.Microsecond, Duration: 2 * time.Second, CacheStatus: "MISS",
		HTTPStatus: 200, Attempts: 1, Outcome: OK, EndedBy: "upstream", Streamed: true, Dropped: 2,
		BytesIn: 300, BytesOut: 200, Tenant: "key-1",
	}
}

// running is a log whose Run runs, until stop or the test's end.
type running struct {
	*Log
	stop func() error
}

func start(t testing.TB, l *Log) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var err error
	stopped := false
	r := &running{Log: l}
	r.stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			err = <-ended
		}
		return err
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	for {
		l.mu.Lock()
		running := l.running
		l.mu.Unlock()
		if running {
			return r
		}
		runtime.Gosched()
	}
}

func open(t testing.TB, cfg Config, dir string) *running {
	t.Helper()
	return openInstance(t, cfg, dir, "here")
}

func openInstance(t testing.TB, cfg Config, dir, instance string) *running {
	t.Helper()
	l, err := New(cfg, dir, instance, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return start(t, l)
}

// flushAll flushes until nothing waits.
func flushAll(t testing.TB, l *running) {
	t.Helper()
	for {
		_, remaining, err := l.Flush(t.Context())
		if err != nil && err != ErrNotRunning {
			t.Fatal(err)
		}
		if err == nil && remaining == 0 {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("the flush never ends")
		}
	}
}

func all(t testing.TB, l *Log, q Query) []Conversation {
	t.Helper()
	found, _, err := l.Conversations(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func balanced(t testing.TB, l *Log) {
	t.Helper()
	if a := l.Audit(t.Context()); !a.Balanced || a.InSink < 0 {
		t.Errorf("the log is not balanced: %+v", a)
	}
}

// compare reports fields that differ, by their JSON names.
func compare(t testing.TB, got, want Conversation) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		gv, wv := show(g.Field(i)), show(w.Field(i))
		if gv != wv {
			t.Errorf("%s = %s, want %s", strings.Split(g.Type().Field(i).Tag.Get("json"), ",")[0], gv, wv)
		}
	}
}

func show(v reflect.Value) string {
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// nothing is what those do meanwhile who only want to write by themselves.
func nothing() {}
