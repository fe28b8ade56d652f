package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

func TestHeaderTooLarge(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	r := start(t, func(cfg *config.Config) { cfg.Limits.MaxHeaderBytes = 8 << 10 }, b)
	passes(t, r, get("/v1/models", "X-A: "+strings.Repeat("x", 7<<10)))
	for _, raw := range []string{
		get("/v1/models", "X-A: "+strings.Repeat("x", 20<<10)),
		get("/v1/models", strings.Repeat("X-A: x\r\n", 4000)+"X-B: y"),
		get("/" + strings.Repeat("x", 20<<10)),
	} {
		c := dial(t, r.addr)
		c.send(raw)
		if a := c.answer(); a.status != http.StatusRequestHeaderFieldsTooLarge && a.status != http.StatusRequestURITooLong {
			t.Errorf("%.20q: status %d", raw, a.status)
		}
		c.closed()
	}
}

// Who sends no whole head, or nothing at all between two requests, is let go.
func TestConnectionTimeouts(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	r := start(t, func(cfg *config.Config) { cfg.Limits.ReadHeaderTimeout = short }, b)
	c := dial(t, r.addr)
	c.send("GET / HTTP/1.1\r\nHost: loc")
	if rest, err := c.br.ReadString(0); isTimeout(err) || strings.Contains(rest, "200 OK") {
		t.Errorf("half a head: got %q, %v", rest, err)
	}
	r = start(t, func(cfg *config.Config) { cfg.Limits.IdleTimeout = short }, b)
	c = dial(t, r.addr)
	c.send(get("/v1/models"))
	c.answer()
	c.closed()
}

// A request body that stops coming ends the exchange, and blames no upstream.
func TestBodyStopsComing(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Limits.IdleTimeout = short }, b)
	a := do(t, r.addr, "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	if a.status != http.StatusRequestTimeout || a.header.Get("X-Vega-Error") != "request_timeout" {
		t.Errorf("a generation: %d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	b.unasked()
	c := dial(t, r.addr)
	c.send("POST /api/blobs/sha256:1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc")
	p := b.accept()
	p.head()
	p.gone()
	if a := c.answer(); a.status != http.StatusRequestTimeout || a.header.Get("X-Vega-Error") != "request_timeout" {
		t.Errorf("a blob: %d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	r.ended()
	r.ended()
	if m := r.breaker(0).Metrics; m.FailedRequests != 0 {
		t.Errorf("the breaker counted %+v", m)
	}
}

// Nor does one whose framing is broken.
func TestBodyIsBroken(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send("POST /api/blobs/sha256:1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("abc") + "zz\r\n")
	p := b.accept()
	p.head()
	p.gone()
	if a := c.answer(); a.status != http.StatusBadRequest || a.header.Get("X-Vega-Error") != "request_broke" {
		t.Errorf("%d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	c.closed()
	r.ended()
	if m := r.breaker(0).Metrics; m.FailedRequests != 0 {
		t.Errorf("the breaker counted %+v", m)
	}
}

// The id is the client's own where it is fit to be one.
func TestRequestID(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	r := start(t, nil, b)
	for id, kept := range map[string]bool{"abc-123": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a b": false, "é": false} {
		a := do(t, r.addr, get("/v1/models", "X-Request-Id: "+id))
		if got := a.header.Get("X-Vega-Request-Id"); got == "" || (got == id) != kept {
			t.Errorf("%q became %q", id, got)
		}
	}
}
