package proxy_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// diary is what one exchange says that it is busy with: each step's name, "-"
// where it is in none, and "end".
type diary chan string

func (d diary) begin(p *progress.Exchange, requestID string, _ proxy.Watch) proxy.Watch {
	var everyChange progress.Clock
	everyChange.Exact(true)
	p.Init(&everyChange, requestID, func(ended progress.State) {
		switch step := p.State().Step(); {
		case step >= 0:
			d <- proxy.StepNames()[step]
		case ended.Step() >= 0:
			d <- "-"
		}
	})
	d <- requestID
	return d
}

func (d diary) End() { d <- "end" }

// It notes nothing of what is made.
func (d diary) Exchange(*string, int64) (done func())               { return func() {} }
func (d diary) Stream(*stream.Buffer, string) (done func())         { return func() {} }
func (d diary) UpstreamBody(*upstream.Answer, string) (done func()) { return func() {} }
func (d diary) Recording(*stream.Recording, string) (done func())   { return func() {} }
func (d diary) Flight(*cache.Lead, string) (done func())            { return func() {} }

// next reads what was noted up to the given entry.
func (d diary) next(t *testing.T, last string) string {
	t.Helper()
	var all []string
	for {
		select {
		case entry := <-d:
			all = append(all, entry)
			if entry == last {
				return strings.Join(all, " ")
			}
		case <-time.After(patience):
			t.Fatalf("no %q after %q", last, all)
		}
	}
}

// startWatched runs a proxy whose exchanges, one at a time, write into the diary,
// and which notes the sessions.
func startWatched(t *testing.T, b *backend) (*rig, diary, chan string) {
	t.Helper()
	d, seen := make(diary, 100), make(chan string, 100)
	lines := make(lines, 1<<10)
	r := &rig{t: t, lines: lines, log: slog.New(lines)}
	r.tune = func(opts *proxy.Options) {
		opts.Settings.SessionHeaders = []string{"X-Session-Id"}
		opts.Begin = d.begin
		opts.Seen = func(session string, bytes, tokens int64) { seen <- fmt.Sprint(session, " ", bytes, " ", tokens) }
	}
	r.start(nil, b.url())
	return r, d, seen
}

// An exchange is in no step while it waits for the upstream or the client.
func TestStepsOfAStream(t *testing.T) {
	b := newBackend(t)
	r, d, seen := startWatched(t, b)
	body := `{"model":"m","stream":true}`
	c := dial(t, r.addr)
	c.send(post("/v1/chat/completions", body, "X-Request-Id: r1", "X-Session-Id: s1"))
	p, _ := b.asked()
	if got := d.next(t, "dispatch") + " " + d.next(t, "-"); got != "r1 admit - read_request - dispatch -" {
		t.Errorf("until the upstream is asked: %s", got)
	}
	p.say(okSSE)
	stream := c.body(c.head())
	first, last := "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", "data: [DONE]\n\n"
	p.chunk(first)
	expect(t, stream, first)
	if got := d.next(t, "-"); got != "pass_head -" {
		t.Errorf("until the first event: %s", got)
	}
	if len(d) != 0 {
		t.Errorf("something was noted while the stream waits: %s", <-d)
	}
	p.chunk(last)
	p.say("0\r\n\r\n")
	expect(t, stream, last)
	if got := d.next(t, "end"); got != "settle - account log end" {
		t.Errorf("until the end: %s", got)
	}
	if got, want := <-seen, fmt.Sprint("s1 ", len(body)+len(first)+len(last), " 0"); got != want {
		t.Errorf("the session was seen with %q, want %q", got, want)
	}
}

func TestStepsOfARefusal(t *testing.T) {
	b := newBackend(t)
	r, d, seen := startWatched(t, b)
	for range 2 {
		request := post("/v1/chat/completions", "{}", "X-Request-Id: r1", "X-Session-Id: s1")
		if a := do(t, r.addr, strings.Replace(request, "Host: localhost", "Host: evil.example", 1)); a.status != http.StatusForbidden {
			t.Fatalf("the client got %d", a.status)
		}
		if got := d.next(t, "end"); got != "r1 admit - account log end" {
			t.Errorf("noted: %s", got)
		}
	}
	if len(seen) != 0 {
		t.Errorf("a refused exchange counted for a session: %s", <-seen)
	}
}

// numbered is a watch that can be told from others.
type numbered struct {
	diary
	n int
}

// Begin learns what watched the exchange before on the same connection, and of no other's.
func TestBeginIsGivenTheConnectionsLastWatch(t *testing.T) {
	b := newBackend(t)
	last := make(chan proxy.Watch, 10)
	n := 0
	lines := make(lines, 1<<10)
	r := &rig{t: t, lines: lines, log: slog.New(lines)}
	r.tune = func(opts *proxy.Options) {
		opts.Begin = func(p *progress.Exchange, requestID string, before proxy.Watch) proxy.Watch {
			last <- before
			d := make(diary, 100)
			d.begin(p, requestID, nil)
			n++
			return numbered{d, n}
		}
	}
	r.start(nil, b.url())
	refused := strings.Replace(post("/v1/chat/completions", "{}"), "Host: localhost", "Host: evil.example", 1)
	c := dial(t, r.addr)
	for _, want := range []int{0, 1, 2} {
		c.send(refused)
		c.answer()
		got, _ := (<-last).(numbered)
		if got.n != want {
			t.Errorf("the watch before was number %d, want %d", got.n, want)
		}
	}
	do(t, r.addr, refused)
	if got := <-last; got != nil {
		t.Errorf("a new connection has the watch of another: %v", got)
	}
}
