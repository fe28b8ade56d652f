package proxy_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// What net/http refuses by itself is told, counted and logged like every refusal:
// on a new connection and behind another request, in the clear and under TLS.
func TestUnreadRequestsAreExplained(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	small := func(cfg *config.Config) { cfg.Limits.MaxHeaderBytes = 8 << 10 }
	clear := start(t, small, b)
	var trust *tls.Config
	encrypted := start(t, func(cfg *config.Config) {
		small(cfg)
		trust = certify(t, cfg)
	}, b)
	dialEncrypted := func() *client {
		c, _ := dialTLS(t, encrypted.addr, trust, "http/1.1")
		return c
	}
	for _, tt := range []struct {
		name, raw string
		status    int
		code      string
		says      string
	}{
		{"a long field", get("/v1/models", "X-A: "+strings.Repeat("x", 20<<10)), 431, "head_too_large", "limits.max_header_bytes (8 KiB)"},
		{"a long target", get("/" + strings.Repeat("x", 20<<10)), 431, "head_too_large", "limits.max_header_bytes (8 KiB)"},
		{"no HTTP", "hello\r\n\r\n", 400, "malformed_request", "well-formed"},
		{"no host", "GET /v1/models HTTP/1.1\r\n\r\n", 400, "malformed_request", "missing required Host header"},
		{"a blank in a name", get("/v1/models", "X A: 1"), 400, "malformed_request", "well-formed"},
		{"another coding", get("/v1/models", "Transfer-Encoding: gzip"), 501, "unsupported_coding", "chunked"},
		{"another version", "GET /v1/models HTTP/3.0\r\nHost: localhost\r\n\r\n", 505, "unsupported_version", "HTTP/1.1"},
		{"another expectation", get("/v1/models", "Expect: the-worst"), 417, "unsupported_expectation", "100-continue"},
	} {
		for way, r := range map[string]*rig{"first": clear, "second": clear, "encrypted": encrypted} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				var c *client
				if r == encrypted {
					c = dialEncrypted()
				} else {
					c = dial(t, r.addr)
				}
				if way == "second" {
					c.send(get("/v1/models"))
					c.answer()
					r.ended()
				}
				before := r.metric("vega_errors_total", tt.code)
				c.send(tt.raw)
				a := c.answer()
				if a.status != tt.status || a.header.Get("X-Vega-Error") != tt.code || a.header.Get("X-Vega-Request-Id") == "" || a.header.Get("X-Vega-Cache") != "BYPASS" {
					t.Fatalf("the client got %s%s", a.raw, a.body)
				}
				var body struct {
					Error struct{ Message, Type, Code string }
				}
				if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Error.Code != tt.code || !strings.Contains(body.Error.Message, tt.says) {
					t.Errorf("%v: %s", err, a.body)
				}
				line := r.ended()
				if line["code"] != tt.code || fmt.Sprint(line["status"]) != fmt.Sprint(tt.status) || line["request_id"] != a.header.Get("X-Vega-Request-Id") {
					t.Errorf("the log says %v", line)
				}
				if n := r.metric("vega_errors_total", tt.code) - before; n != 1 {
					t.Errorf("counted %v times", n)
				}
				c.closed()
			})
		}
	}
}

// An answer that looks like a refusal of net/http's is the backend's, and passes.
func TestWhatLooksLikeAnUnreadRequestPasses(t *testing.T) {
	const words = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	b := newBackend(t)
	b.always(fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(words), words))
	r := start(t, nil, b)
	for name, raw := range map[string]string{"plain": get("/v1/models"), "odd": get("/v1/models", "Pragma: no-cache")} {
		c := dial(t, r.addr)
		c.send(raw)
		if a := c.answer(); a.status != http.StatusBadRequest || a.body != words || a.header.Get("X-Vega-Error") != "" {
			t.Errorf("%s: the client got %s%s", name, a.raw, a.body)
		}
	}
}
