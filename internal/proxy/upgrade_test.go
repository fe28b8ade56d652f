package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

const (
	askUpgrade = "GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
	switched   = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n"
)

// upgraded opens a tunnel.
func upgraded(t *testing.T, r *rig, b *backend) (*client, *peer) {
	t.Helper()
	c := dial(t, r.addr)
	c.send(askUpgrade)
	p, got := b.asked()
	if got.header.Get("Upgrade") != "websocket" || got.header.Get("Connection") != "Upgrade" || got.header.Get("Sec-WebSocket-Key") != "k" {
		t.Errorf("the backend was asked %q", got.head)
	}
	p.say(switched)
	a := c.head()
	if a.status != http.StatusSwitchingProtocols || a.header.Get("Upgrade") != "websocket" || a.header.Get("Connection") != "Upgrade" ||
		a.header.Get("Sec-WebSocket-Accept") != "a" || a.header.Get("X-Vega-Upstream") != "first" || a.header.Get("Date") != "" {
		t.Errorf("the client got %q", a.raw)
	}
	return c, p
}

func TestUpgradeBothWays(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c, p := upgraded(t, r, b)
	for _, msg := range []string{"a", "\x81\x05hello", "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", strings.Repeat("x", 100_000)} {
		go io.WriteString(c.Conn, msg)
		expect(t, p.br, msg)
		go io.WriteString(p.Conn, msg)
		expect(t, c.br, msg)
	}
	// One side says that it is done; the other may still speak.
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(p.br); len(rest) > 0 || err != nil {
		t.Errorf("the backend got %q, %v", rest, err)
	}
	p.say("goodbye")
	p.Close()
	if rest, err := io.ReadAll(c.br); string(rest) != "goodbye" || err != nil {
		t.Errorf("the client got %q, %v", rest, err)
	}
	if line := r.ended(); line["status"] != int64(101) || line["ended_by"] != "upstream" {
		t.Errorf("ended by %v with %v", line["ended_by"], line["status"])
	}
}

// What both sides sent along with their heads is not lost.
func TestUpgradeBuffered(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send(askUpgrade + "early")
	p, _ := b.asked()
	p.say(switched + "early too")
	c.head()
	expect(t, c.br, "early too")
	expect(t, p.br, "early")
	c.send("late")
	expect(t, p.br, "late")
}

func TestUpgradeEnds(t *testing.T) {
	for name, end := range map[string]func(c *client, p *peer){
		"client closes":   func(c *client, p *peer) { c.Close() },
		"client resets":   func(c *client, p *peer) { (&peer{Conn: c.Conn}).reset() },
		"upstream closes": func(c *client, p *peer) { p.Close() },
		"upstream resets": func(c *client, p *peer) { p.reset() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			r := start(t, nil, b)
			c, p := upgraded(t, r, b)
			end(c, p)
			if strings.HasPrefix(name, "client") {
				p.gone()
				p.Close()
			} else {
				c.closed()
				c.Close()
			}
			r.ended()
		})
	}
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].IdleTimeout = 4 * short }, b)
	c, p := upgraded(t, r, b)
	c.send("a")
	expect(t, p.br, "a")
	p.gone()
	c.closed()
	r.ended()
}

// A tunnel holds a place, and ends with the proxy.
func TestUpgradeAndDrain(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].MaxInFlight, cfg.Upstreams[0].Queue = 1, 0 }, b)
	c, p := upgraded(t, r, b)
	if a := do(t, r.addr, chat()); a.header.Get("X-Vega-Error") != "overloaded" {
		t.Errorf("beside a tunnel: %d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	r.ended()
	r.stop()
	p.gone()
	c.closed()
	if line := r.ended(); line["ended_by"] != "shutdown" {
		t.Errorf("ended by %v", line["ended_by"])
	}
}

// An upstream that does not want to upgrade answers as always, and the
// connection goes on.
func TestUpgradeRefused(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send(askUpgrade)
	p, _ := b.asked()
	p.say("HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno")
	if a := c.answer(); a.status != http.StatusUpgradeRequired || a.body != "no" || a.header.Get("X-Vega-Error") != "" {
		t.Errorf("the client got %d %q", a.status, a.body)
	}
	c.send(get("/v1/models"))
	p.request()
	p.say(okJSON)
	if a := c.answer(); a.status != http.StatusOK {
		t.Errorf("after a refused upgrade: %d", a.status)
	}
	// Upgrade that Connection does not name asks for nothing.
	c.send(get("/v1/models", "Upgrade: websocket"))
	if got := p.request(); got.header.Get("Upgrade") != "" || got.header.Get("Connection") != "" {
		t.Errorf("the backend was asked %q", got.head)
	}
	p.say(okJSON)
	c.answer()
}

// One that switches unasked has broken the protocol.
func TestUnaskedUpgrade(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send(chat())
	p, _ := b.asked()
	p.say(switched)
	failed(t, c.answer(), http.StatusBadGateway, "upstream_broke")
	p.SetDeadline(time.Now().Add(patience))
	p.gone()
}
