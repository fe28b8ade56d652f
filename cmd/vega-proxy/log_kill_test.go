package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestKilledUnderLoad kills the program at random moments under load. What a
// client received to the end is in the log, once.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	killUnderLoad(t, 50, "")
}

// killUnderLoad does it on one data directory, with spools that sync at times and
// always by turns.
func killUnderLoad(t *testing.T, times int, database string) {
	_, backend := simulate(t, simllm.Config{Tokens: 5})
	dir := filepath.Join(t.TempDir(), "data")
	c := newClient(t)
	begin := func(n int) *process {
		fsync := []string{"1s", "always"}[n%2]
		p := serveIn(t, dir, nil, upstreamAt(backend)+"cache: {policy: 'off'}\nbatchlog: {batch_size: 7, flush_interval: 20ms, spool: {fsync: "+fsync+"}}\n",
			"--database", database)
		setLevel(t, p, c, "warn") // a failure shows what all of them wrote
		return p
	}
	l := &crowd{received: map[string]bool{}}
	var slowest time.Duration
	for n := range times {
		begun := time.Now()
		p := begin(n)
		slowest = max(slowest, time.Since(begun))
		if n%4 == 0 { // at any moment
			l.onReceived = nil
		} else { // when an answer's last byte has come
			left := 1 + rand.IntN(60)
			l.onReceived = func() {
				if left--; left == 0 {
					_ = p.cmd.Process.Kill() // that it ended is seen below
				}
			}
		}
		stop := l.start(t, p.proxy)
		if n%4 == 0 {
			l.more(t, rand.IntN(60))
			time.Sleep(rand.N(3 * time.Millisecond)) // no moment is like another
			p.signal(syscall.SIGKILL)
		}
		if status := p.end(); !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("it ended by itself: %v", p.cmd.ProcessState)
		}
		stop()
	}
	p := begin(times)
	audited(t, "--data-dir", dir, "--database", database) // while it works off what was left
	p.flush(c)
	l.check(t, "--data-dir", dir, "--database", database)
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	if a := audited(t, "--data-dir", dir, "--database", database); a.Spooled != 0 || a.Dropped != 0 || a.SetAside != 0 || a.InSink < int64(len(l.received)) {
		t.Errorf("after the end: %+v", a)
	}
	t.Logf("%d times killed, %d answers received; the slowest start took %v", times, len(l.received), slowest)
}

// TestTerminatedUnderLoad: what was received before and during a shutdown is in
// the database when the program has ended.
func TestTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 5})
	dir := filepath.Join(t.TempDir(), "data")
	l := &crowd{received: map[string]bool{}}
	for n := range 4 {
		p := serveIn(t, dir, nil, upstreamAt(backend)+"cache: {policy: 'off'}\nbatchlog: {flush_interval: 1h}\n")
		stop := l.start(t, p.proxy)
		l.more(t, 20+rand.IntN(50))
		p.signal(syscall.SIGTERM)
		p.wantExit(0)
		stop()
		l.check(t, "--data-dir", dir)
		if a := audited(t, "--data-dir", dir); a.Spooled != 0 || a.Dropped != 0 {
			t.Errorf("round %d: %+v", n, a)
		}
	}
}

// crowd is clients that ask without end, and note which answers they received
// whole.
type crowd struct {
	mu       sync.Mutex
	sent     int
	received map[string]bool // by request id

	onReceived func() // is called with mu held; nil does nothing
}

// start begins the load; stop ends it.
func (l *crowd) start(t *testing.T, proxy string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: patience}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for ; ctx.Err() == nil; n++ {
				if !l.ask(ctx, c, proxy, n) {
					time.Sleep(time.Millisecond) // it was killed, or is about to end
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
		c.CloseIdleConnections()
	}
}

// shapes are the APIs that are asked. A streamed answer is received when its
// terminal event is, a whole one with its last byte.
var shapes = []struct{ path, body, terminal string }{
	{chatPath, `{"model":"demo","stream":true,"messages":[{"role":"user","content":%q}]}`, "data: [DONE]\n\n"},
	{chatPath, `{"model":"demo","messages":[{"role":"user","content":%q}]}`, ""},
	{"/api/chat", `{"model":"demo","messages":[{"role":"user","content":%q}]}`, `"done":true`},
	{"/api/generate", `{"model":"demo","stream":false,"prompt":%q}`, ""},
	{"/v1/messages", `{"model":"demo","max_tokens":9,"stream":true,"messages":[{"role":"user","content":%q}]}`, "event: message_stop"},
}

func (l *crowd) ask(ctx context.Context, c *http.Client, proxy string, n int) bool {
	l.mu.Lock()
	l.sent++
	id := fmt.Sprintf("load-%d", l.sent)
	l.mu.Unlock()
	s := shapes[n%len(shapes)]
	res, err := send(ctx, c, http.MethodPost, proxy+s.path, fmt.Sprintf(s.body, "marker "+id), "X-Request-Id", id)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || !receive(res.Body, s.terminal) {
		return false
	}
	l.mu.Lock()
	if l.received[id] = true; l.onReceived != nil {
		l.onReceived()
	}
	l.mu.Unlock()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil
}

// receive reads to the end, or until the terminal event has come.
func receive(body io.Reader, terminal string) bool {
	var got []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := body.Read(buf)
		got = append(got, buf[:n]...)
		switch {
		case terminal != "" && bytes.Contains(got, []byte(terminal)):
			return true
		case err != nil:
			return terminal == "" && err == io.EOF
		}
	}
}

func (l *crowd) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.received)
}

// more waits for n more answers.
func (l *crowd) more(t *testing.T, n int) {
	t.Helper()
	from := l.count()
	until(t, "more answers", func() bool { return l.count() >= from+n })
}

// check holds that the log has each received answer once, whole, and none twice.
func (l *crowd) check(t *testing.T, where ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]int{}
	for _, c := range exported(t, where...) {
		found[c.RequestID]++
		if l.received[c.RequestID] && (c.Prompt != "marker "+c.RequestID || c.Answer == "" || c.HTTPStatus != http.StatusOK || c.FinishReason == "") {
			t.Errorf("%s was received whole; the log has %+v", c.RequestID, c)
		}
	}
	for id, n := range found {
		if n > 1 {
			t.Errorf("%s is in the log %d times", id, n)
		}
	}
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(l.received)), func(id string) bool { return found[id] > 0 })
	if len(missing) > 0 {
		t.Errorf("%d of %d received answers are not in the log: %q", len(missing), len(l.received), missing)
	}
	if len(l.received) == 0 {
		t.Error("no answer was received")
	}
}
