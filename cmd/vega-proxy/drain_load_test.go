package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// Pods end in two ways. A native sidecar is told to end when its application has
// ended. An ordinary second container is told together with it, and goes on
// serving for drain_delay, since the application asks for answers until its own
// requests are done.

// TestDrainBesideTheApplication is the second container's end: what the
// application asks for after SIGTERM, and before it ends itself, is served to the
// last byte, and is in the log. The application ends well before drain_delay does.
func TestDrainBesideTheApplication(t *testing.T) {
	t.Parallel()
	drainUnderLoad(t, 2, 50)
}

// TestDrainAfterTheApplication is the native sidecar's end: nobody is left, so
// that it does not wait for anybody; what the application broke off is in the
// log.
func TestDrainAfterTheApplication(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 5})
	p := serve(t, upstreamAt(backend)+"cache: {policy: 'off'}\nshutdown: {drain_timeout: 10m}\n")
	app := newApplication(p.proxy)
	app.plain(20)
	app.running.Wait()
	app.stream(20)
	app.first.Wait()
	app.end() // with its streams in the middle
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	records := map[string]string{}
	for _, c := range exported(t, "--data-dir", p.dataDir) {
		records[c.RequestID] = c.Outcome
	}
	for id, err := range app.results {
		want := "ok"
		if err != nil {
			want = "client_gone"
		}
		if records[id] != want {
			t.Errorf("%s (%v): the log says %q, want %q", id, err, records[id], want)
		}
	}
	if len(app.results) != 40 {
		t.Errorf("%d requests were made", len(app.results))
	}
}

// drainUnderLoad ends the program again and again, with so many streams open and
// 200 requests a second.
func drainUnderLoad(t *testing.T, times, streams int) {
	_, backend := simulate(t, simllm.Config{Tokens: 5})
	dir := filepath.Join(t.TempDir(), "data")
	served := map[string]bool{}
	for range times {
		p := serveIn(t, dir, nil, upstreamAt(backend)+"cache: {policy: 'off'}\nshutdown: {drain_delay: 4s, drain_timeout: 15s}\n")
		app := newApplication(p.proxy)
		app.stream(streams)
		app.first.Wait()
		app.work(40)
		p.signal(syscall.SIGTERM)
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			app.work(10)
			app.stream(1)
		}
		app.running.Wait()
		p.wantExit(0)
		p.wait("listener closed")
		if strings.Contains(p.log.String(), "drain timeout") {
			t.Error("something did not end within the drain timeout")
		}
		for id, err := range app.results {
			served[id] = true
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		app.end()
	}
	found := map[string]int{}
	for _, c := range exported(t, "--data-dir", dir) {
		found[c.RequestID]++
		if c.Outcome != "ok" || c.FinishReason == "" {
			t.Errorf("%s is in the log as %q, finished by %q", c.RequestID, c.Outcome, c.FinishReason)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(served)) {
		if found[id] != 1 {
			t.Errorf("%s is in the log %d times", id, found[id])
		}
	}
	if len(served) < times*(streams+40) {
		t.Errorf("only %d requests were made", len(served))
	}
	t.Logf("%d times ended, %d requests", times, len(served))
	audited(t, "--data-dir", dir)
}

// application asks a proxy for answers, and notes how each ended.
type application struct {
	proxy   string
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup // the requests
	first   sync.WaitGroup // those whose first byte has not come

	mu      sync.Mutex
	results map[string]error // by request id; nil is whole
}

// applications counts them, for request ids that differ.
var applications struct {
	sync.Mutex
	n int
}

func newApplication(proxy string) *application {
	ctx, cancel := context.WithCancel(context.Background())
	a := &application{proxy: proxy, ctx: ctx, results: map[string]error{}}
	a.end = func() {
		cancel()
		a.running.Wait()
	}
	return a
}

// plain asks n times for a whole answer.
func (a *application) plain(n int) {
	for range n {
		a.ask(`{"model":"demo","messages":[{"role":"user","content":%q}]}`, "")
	}
}

// stream asks n times for a streamed one, which takes two seconds.
func (a *application) stream(n int) {
	for range n {
		a.ask(`{"model":"demo?tokens=50&delay=40ms","stream":true,"messages":[{"role":"user","content":%q}]}`, "data: [DONE]\n\n")
	}
}

// work asks n times for a whole answer, 200 times a second, and waits for none.
func (a *application) work(n int) {
	for range n {
		a.plain(1)
		time.Sleep(time.Second / 200)
	}
}

// ask begins a request on a connection of its own: there is one to be accepted
// for each.
func (a *application) ask(body, terminal string) {
	applications.Lock()
	applications.n++
	id := fmt.Sprintf("drain-%d", applications.n)
	applications.Unlock()
	a.first.Add(1)
	a.running.Go(func() {
		err := a.answer(id, fmt.Sprintf(body, id), terminal)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.results[id] = err
	})
}

func (a *application) answer(id, body, terminal string) error {
	begun := sync.OnceFunc(a.first.Done)
	defer begun()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := send(a.ctx, c, http.MethodPost, a.proxy+chatPath, body, "X-Request-Id", id)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d, %s", res.StatusCode, res.Header.Get("X-Vega-Error"))
	}
	var text strings.Builder
	buf := make([]byte, 4<<10)
	for {
		n, err := res.Body.Read(buf)
		begun()
		text.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("cut after %d bytes: %w", text.Len(), err)
		}
	}
	if !strings.HasSuffix(text.String(), terminal) {
		return fmt.Errorf("ended without its terminal event: %q", text.String())
	}
	return nil
}
