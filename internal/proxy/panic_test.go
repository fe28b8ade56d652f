package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
)

const token = `data: {"choices":[{"index":0,"delta":{"content":"a"}}]}` + "\n\n"

// An exchange that panics at an event, in a turn of the loop, ends alone: its
// client is cut off, and all that it had is free again.
func TestPanicAtAnEvent(t *testing.T) {
	var logged faultLog
	r := &rig{t: t, lines: make(lines, 100)}
	logged.Handler = r.lines
	r.log = slog.New(&logged)
	r.tune = func(o *proxy.Options) { o.Metrics.PanicAtGap("oh") }
	b := newBackend(t)
	r.start(func(cfg *config.Config) { cfg.Upstreams[0].MaxInFlight, cfg.Upstreams[0].Queue = 2, 0 }, b.url())

	other, otherPeer, otherBody := streaming(t, r, b, okSSE)
	otherPeer.chunk(token)
	expect(t, otherBody, token)

	c := dial(t, r.addr)
	c.send(chat("X-Request-Id: bad"))
	p, _ := b.asked()
	p.say(okSSE)
	body := c.body(c.head())
	p.chunk(token)
	expect(t, body, token)
	p.chunk(token)
	c.closed()
	p.gone()
	line := r.ended()
	if line["request_id"] != "bad" || line["ended_by"] != "error" || line["code"] != "internal_error" || line["status"] != int64(200) {
		t.Errorf("the exchange's line: %v", line)
	}
	if entry := logged.only(t); !strings.Contains(entry, "request_id=bad") || !strings.Contains(entry, "panic=oh") || !strings.Contains(entry, "panicking") {
		t.Errorf("the error's line: %s", entry)
	}

	live, recent := r.registry.List()
	if len(live) != 1 || len(recent) != 1 || recent[0].ID != "bad" || recent[0].EndedBy != "error" {
		t.Errorf("streams: %v, and ended %v", live, recent)
	}
	otherPeer.chunk(token)
	expect(t, otherBody, token)
	second, secondPeer, secondBody := streaming(t, r, b, okSSE) // the place is free
	for _, s := range []*peer{otherPeer, secondPeer} {
		s.chunk("data: [DONE]\n\n")
		s.say(lastChunk)
	}
	expect(t, otherBody, "data: [DONE]\n\n")
	expect(t, secondBody, "data: [DONE]\n\n")
	r.ended()
	r.ended()
	other.Close()
	second.Close()
	if n := r.metric("vega_requests_in_flight", ""); n != 0 {
		t.Errorf("%v requests are in flight", n)
	}
	if n := r.budget.Used(); n != 0 {
		t.Errorf("%d bytes are held for clients", n)
	}
	if s := r.breaker(0); s.Metrics.FailedRequests != 2 || s.Metrics.NeutralRequests != 1 { // answers without their ends; ours
		t.Errorf("the breaker has %+v", s.Metrics)
	}
}

// faultLog keeps what is said at the level of errors.
type faultLog struct {
	slog.Handler
	mu      sync.Mutex
	entries []string
}

func (l *faultLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *faultLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		text := r.Message
		r.Attrs(func(a slog.Attr) bool { text += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
		l.mu.Lock()
		defer l.mu.Unlock()
		l.entries = append(l.entries, text)
	}
	return l.Handler.Handle(ctx, r)
}

// only is the one entry that there must be.
func (l *faultLog) only(t *testing.T) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		n, text := len(l.entries), strings.Join(l.entries, "\n")
		l.mu.Unlock()
		if n > 1 || n == 0 && time.Now().After(deadline) {
			t.Fatalf("%d errors in the log: %s", n, text)
		}
		if n == 1 {
			return text
		}
	}
}
