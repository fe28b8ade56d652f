package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// refused sends a request that must not pass, and checks the refusal.
func refused(t *testing.T, r *rig, raw string, status int, code string) answer {
	t.Helper()
	a := do(t, r.addr, raw)
	if a.status != status || a.header.Get("X-Vega-Error") != code {
		t.Errorf("%.80q: %d %q, want %d %q", raw, a.status, a.header.Get("X-Vega-Error"), status, code)
	}
	if a.header.Get("X-Vega-Cache") != "BYPASS" || a.header.Get("X-Vega-Upstream") != "" || a.header.Get("X-Vega-Request-Id") == "" {
		t.Errorf("%.80q: the refusal's fields are %q", raw, a.header)
	}
	return a
}

func passes(t *testing.T, r *rig, raw string) {
	t.Helper()
	if a := do(t, r.addr, raw); a.status != http.StatusOK {
		t.Errorf("%.80q: %d %s", raw, a.status, a.body)
	}
}

func TestHost(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	r := start(t, func(cfg *config.Config) { cfg.AllowedHosts = []string{"Vega.Example"} }, b)
	for _, host := range []string{
		"localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:80", "127.8.9.10", "[::1]", "[::1]:99", "[::ffff:127.0.0.1]",
		"vega.example", "VEGA.example:1",
	} {
		passes(t, r, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	}
	for _, host := range []string{
		"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost", "0.0.0.0", "10.0.0.1", "[::]", "[::2]:1",
		"xvega.example", "vega.example.x", "", "127.0.0.1@evil.example",
	} {
		raw := "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
		if a := do(t, r.addr, raw); a.status != http.StatusForbidden || a.header.Get("X-Vega-Error") != "host_refused" {
			if a.status != http.StatusBadRequest { // net/http refuses what is no host at all
				t.Errorf("%q: %d %q", host, a.status, a.header.Get("X-Vega-Error"))
			}
		}
	}
	refused(t, r, "GET / HTTP/1.0\r\n\r\n", http.StatusForbidden, "host_refused")
	refused(t, r, "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", http.StatusForbidden, "host_refused")
}

func TestOrigin(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	open := start(t, nil, b)
	passes(t, open, get("/", "Origin: https://evil.example"))
	secret := start(t, func(cfg *config.Config) {
		cfg.Upstreams[0].Headers = map[string]string{"Authorization": "Bearer ours"}
		cfg.Upstreams[0].SecretHeaders = []string{"Authorization"}
		cfg.AllowedHosts = []string{"app.example"}
	}, b)
	for _, origin := range []string{"http://localhost:3000", "http://127.0.0.1", "http://[::1]:1", "https://app.example"} {
		passes(t, secret, get("/", "Origin: "+origin))
	}
	for _, origin := range []string{"https://evil.example", "null", "http://localhost.evil.example", "x", "http://app.example.evil"} {
		refused(t, secret, get("/", "Origin: "+origin), http.StatusForbidden, "origin_refused")
	}
}

func TestClientKeys(t *testing.T) {
	b := newBackend(t)
	heads := make(chan http.Header, 1)
	b.serve(func(r request) string {
		heads <- r.header
		return okJSON
	})
	r := start(t, func(cfg *config.Config) { cfg.ClientKeys = []string{"key-1", "key-2"} }, b)
	for _, fields := range [][]string{
		{"Authorization: Bearer key-1"}, {"authorization: bearer  key-2"}, {"X-API-Key: key-2"},
		{"Authorization: Bearer key-1", "X-API-Key: key-1"},
		{"Authorization: Bearer key-1", "X-API-Key: key-2"},
		{"X-API-Key: key-1", "X-API-Key: key-2"},
	} {
		passes(t, r, get("/", fields...))
		for name, values := range <-heads {
			if strings.Contains(strings.Join(values, " "), "key-") {
				t.Errorf("%q: the backend got %s: %q", fields, name, values)
			}
		}
	}
	// A client's credential for the upstream travels beside the key.
	passes(t, r, get("/", "X-API-Key: key-1", "Authorization: Bearer theirs"))
	if h := <-heads; h.Get("Authorization") != "Bearer theirs" || h["X-Api-Key"] != nil {
		t.Errorf("the backend got %q", h)
	}
	passes(t, r, get("/", "Authorization: Bearer key-1", "X-API-Key: theirs"))
	if h := <-heads; h.Get("X-Api-Key") != "theirs" || h["Authorization"] != nil {
		t.Errorf("the backend got %q", h)
	}
	for _, fields := range [][]string{
		nil, {"Authorization: Bearer"}, {"Authorization: Bearer key-3"}, {"Authorization: Basic key-1"}, {"Authorization: key-1"},
		{"X-API-Key: "}, {"X-API-Key: KEY-1"}, {"Api-Key: key-1"}, {"X-API-Key: key-1,key-2"},
	} {
		a := refused(t, r, get("/", fields...), http.StatusUnauthorized, "unauthorized")
		if a.header.Get("Www-Authenticate") != "Bearer" {
			t.Errorf("%q: WWW-Authenticate %q", fields, a.header.Get("Www-Authenticate"))
		}
	}
}

// Browsers ask beforehand without a key, and nothing else may pass as that.
func TestPreflightsNeedNoKey(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	r := start(t, func(cfg *config.Config) { cfg.ClientKeys = []string{"key-1"} }, b)
	options := func(path string, fields ...string) string {
		return "OPTIONS" + strings.TrimPrefix(get(path, fields...), "GET")
	}
	origin, method := "Origin: https://app.example", "Access-Control-Request-Method: POST"
	passes(t, r, options("/v1/chat/completions", origin, method, "Access-Control-Request-Headers: authorization"))
	for name, raw := range map[string]string{
		"no origin": options("/v1/models", method),
		"no method": options("/v1/models", origin),
		"a GET":     get("/v1/models", origin, method),
		"a body":    options("/v1/models", origin, method, "Content-Length: 2") + "{}",
		"a chunked": options("/v1/models", origin, method, "Transfer-Encoding: chunked") + "0\r\n\r\n",
	} {
		if a := do(t, r.addr, raw); a.status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
}

func TestRoutes(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	deny := start(t, func(cfg *config.Config) {
		cfg.Routes.Deny = []string{"/api/delete", "/api/blobs/*", "/private/**", "/deep/**/x"}
	}, b)
	for _, path := range []string{
		"/api/delete", "/api/delete/", "//api//delete", "/api/./delete", "/x/../api/delete", "/api/%64elete", "/api%2Fdelete", "/api/x/%2e%2e/delete",
		"/api/delete?x=1", "/%2e%2e/api/delete", "http://localhost/api/delete", "/api/blobs/sha256:1", "/private/a/b", "/private/a/", "/private", "/private/", "/deep/x", "/deep/a/b/x", "/x/..%2Fprivate%2Fa",
	} {
		refused(t, deny, get(path), http.StatusForbidden, "route_closed")
	}
	for _, path := range []string{"/api/deleted", "/api/blobs/a/b", "/x?/api/delete", "/api/delete/x", "/xprivate/a", "/privately", "/deep", "/deepx", "/api/..%2Fx"} {
		passes(t, deny, get(path))
	}
	allow := start(t, func(cfg *config.Config) { cfg.Routes.Allow = []string{"/v1/**", "/api/ta?s"} }, b)
	for _, path := range []string{"/v1", "/v1/", "/v1/models", "/v1/models/org%2Fname", "/api/tags", "/x/../v1/models"} {
		passes(t, allow, get(path))
	}
	for _, path := range []string{"/", "/v11", "/api/chat", "/v1/../api/chat", "/v1/%2e%2e/api/chat", "/v1/..%2Fapi%2Fchat", "/V1/models", "/api/ta/s"} {
		refused(t, allow, get(path), http.StatusForbidden, "route_closed")
	}
}

func TestLoop(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	r := start(t, nil, b)
	passes(t, r, get("/", "Via: 1.1 other-vega-proxy, 1.0 x"))
	passes(t, r, get("/", "Via: 1.1 vega-proxy-aaaaaaaa"))
	refused(t, r, get("/", "Via: 1.1 other, 1.1 vega-proxy"), http.StatusLoopDetected, "loop_detected")
	refused(t, r, get("/", "Via: 1.1 other", "Via: HTTP/1.1 Vega-Proxy (x)"), http.StatusLoopDetected, "loop_detected")
	refused(t, r, get("/", "Connection: Via", "Via: 1.1 vega-proxy"), http.StatusLoopDetected, "loop_detected")
}

// The name with which a proxy went upstream is refused when it comes back.
func TestLoopOverOthers(t *testing.T) {
	b := newBackend(t)
	seen := make(chan string, 1)
	b.serve(func(r request) string {
		seen <- r.header.Get("Via")
		return okJSON
	})
	r := start(t, nil, b)
	passes(t, r, get("/"))
	via := <-seen
	refused(t, r, get("/", "Via: "+via+", 1.1 other"), http.StatusLoopDetected, "loop_detected")
	passes(t, start(t, nil, b), get("/", "Via: "+via))
}

// Requests that could be read in two ways are refused, and so is all that
// follows them.
func TestAmbiguousRequests(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	const both = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	for name, raw := range map[string]string{
		"length and coding":  both,
		"coding in HTTP/1.0": "POST /x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"a list of lengths":  "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 5\r\n\r\nhello",
		"another coding":     "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a blank in a name":  "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\nhello",
		"a folded length":    "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length:\r\n 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two hosts":          "GET /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
		"a chunk below zero": "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, r.addr)
			c.send(raw + get("/smuggled"))
			if name == "a chunk below zero" { // seen only while the body is passed on
				c.answer()
				return
			}
			if a := c.answer(); a.status < 400 || a.status > 501 {
				t.Errorf("status %d", a.status)
			}
			c.closed()
		})
	}
	for len(b.conns) > 0 {
		p := <-b.conns
		if line, _ := p.br.ReadString('\n'); line != "POST /x HTTP/1.1\r\n" {
			t.Errorf("the backend got %q", line)
		}
		p.Close()
	}
	// Behind a good one on the same connection.
	good := newBackend(t)
	good.always(okJSON)
	r = start(t, nil, good)
	c := dial(t, r.addr)
	c.send(get("/a"))
	if a := c.answer(); a.status != http.StatusOK {
		t.Errorf("a good request: status %d", a.status)
	}
	c.send(both)
	if a := c.answer(); a.status != http.StatusBadRequest || a.header.Get("X-Vega-Error") != "ambiguous_request" {
		t.Errorf("behind a good one: %d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	c.closed()
}
