package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// What is in flight goes on to its end, and no longer than that.
func TestDrainLetsStreamsEnd(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Shutdown.DrainTimeout = patience }, b)
	kept := dial(t, r.addr)
	kept.send(get("/v1/models"))
	old, _ := b.asked()
	old.say(okJSON)
	kept.answer()
	old.Close()

	_, p, body := streaming(t, r, b, okSSE)
	p.chunk("data: 1\n\n")
	expect(t, body, "data: 1\n\n")
	r.stop()
	awaitRefused(t, r)
	// A new request on an old connection is refused, and the connection closed.
	kept.send(chat())
	a := kept.answer()
	if a.status != http.StatusServiceUnavailable || a.header.Get("X-Vega-Error") != "shutting_down" || a.header.Get("Retry-After") == "" {
		t.Errorf("on a kept connection: %d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	kept.closed()
	p.chunk("data: 2\n\n")
	expect(t, body, "data: 2\n\n")
	p.say(lastChunk)
	if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
		t.Errorf("the stream ends with %q, %v", rest, err)
	}
	returned(t, r)
}

// awaitRefused waits until nobody listens any more.
func awaitRefused(t *testing.T, r *rig) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			return
		}
		c.Close()
	}
	t.Fatal("the listener is still open")
}

// returned waits for Serve's end.
func returned(t *testing.T, r *rig) {
	t.Helper()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
		r.done <- nil // for the end of the test
	case <-time.After(patience):
		t.Fatal("Serve does not return")
	}
}

// What does not end by itself is cut visibly, in each phase.
func TestDrainCuts(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Shutdown.DrainTimeout = short }, b)
	_, p, body := streaming(t, r, b, okSSE)
	p.chunk("data: 1\n\n")
	expect(t, body, "data: 1\n\n")
	waiting := dial(t, r.addr)
	waiting.send(chat())
	q, _ := b.asked()
	r.stop()
	rest, err := io.ReadAll(body)
	if err == nil || !onlyErrorEvent(string(rest)) || !strings.Contains(string(rest), `"shutting_down"`) {
		t.Errorf("the stream ends with %q, %v", rest, err)
	}
	if a := waiting.answer(); a.status != http.StatusServiceUnavailable || a.header.Get("X-Vega-Error") != "shutting_down" {
		t.Errorf("who waited got %d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	p.gone()
	q.gone()
	returned(t, r)
	for range 2 {
		if line := r.ended(); line["ended_by"] != "shutdown" {
			t.Errorf("ended by %v", line["ended_by"])
		}
	}
	if m := r.breaker(0).Metrics; m.FailedRequests != 0 {
		t.Errorf("the breaker counted %+v", m)
	}
}

// An answer that its upstream finishes for itself does not outlive the drain.
func TestDrainCutsWhatFinishesAlone(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].OnClientGone = "finish" }, b)
	c, p, body := streaming(t, r, b, okSSE)
	p.chunk("data: 1\n\n")
	expect(t, body, "data: 1\n\n")
	c.Close()
	r.stop()
	p.gone()
	returned(t, r)
}

// During the drain delay all is served as before.
func TestDrainDelay(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	r := start(t, func(cfg *config.Config) { cfg.Shutdown.DrainDelay = 10 * short }, b)
	began := time.Now()
	r.stop()
	served := 0
	for {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			break
		}
		cl := newClient(t, c)
		io.WriteString(cl, get("/v1/models")) // the delay may be over: the answer tells
		if _, err := cl.br.Peek(1); err != nil {
			break
		}
		if a := cl.answer(); a.status == http.StatusOK {
			served++
		}
		c.Close()
	}
	if after := time.Since(began); after < 10*short {
		t.Errorf("the listener was closed after %v", after)
	}
	if served == 0 {
		t.Error("nothing was served during the delay")
	}
	returned(t, r)
}

func TestMaxConnections(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	r := start(t, func(cfg *config.Config) { cfg.Limits.MaxConnections = 1 }, b)
	first := dial(t, r.addr)
	first.send(get("/v1/models"))
	first.answer()
	second := dial(t, r.addr) // waits in the system's queue
	second.send(get("/v1/models"))
	first.send(get("/v1/models"))
	if a := first.answer(); a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
	first.Close()
	if a := second.answer(); a.status != http.StatusOK {
		t.Errorf("when there is a place: status %d", a.status)
	}
}
