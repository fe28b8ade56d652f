package proxy_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

const okJSON = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

// okChat is the whole answer of a model.
var okChat = sized(200, `{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}`)

// forwarded sends a request and returns what the backend gets of it.
func forwarded(t *testing.T, raw string) (request, *backend) {
	t.Helper()
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.AllowedHosts = []string{"app.example"} }, b)
	c := dial(t, r.addr)
	c.send(raw)
	p, got := b.asked()
	p.say(okJSON)
	if a := c.answer(); a.status != http.StatusOK || a.body != "{}" {
		t.Errorf("the client got %d %q", a.status, a.body)
	}
	return got, b
}

func TestRequestFields(t *testing.T) {
	got, b := forwarded(t, "GET /v1/models HTTP/1.1\r\nHost: app.example\r\n"+
		"Authorization: Bearer sk-1\r\nx-api-key: theirs\r\nX-Two: 1\r\nX-Two: 2\r\nCache-Control: no-cache\r\nTE: trailers\r\n"+
		"Connection: X-Hop, keep-alive, x-forwarded-for\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n"+
		"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=9.9.9.9\r\nX-Vega-Cache-TTL: 5\r\nx-vega-anything: 1\r\n"+
		"Via: 1.1 other\r\nAccept: */*\r\n\r\n")
	want := http.Header{
		"Authorization":     {"Bearer sk-1"},
		"X-Api-Key":         {"theirs"},
		"X-Two":             {"1", "2"},
		"Cache-Control":     {"no-cache"},
		"X-Forwarded-For":   {"127.0.0.1"},
		"X-Forwarded-Host":  {"app.example"},
		"X-Forwarded-Proto": {"http"},
		"Accept":            {"*/*"},
	}
	wantVia(t, got.header, "1.1 other, 1.1 ")
	delete(got.header, "Via")
	if !reflect.DeepEqual(got.header, want) {
		t.Errorf("the backend got %q\nwant %q", got.header, want)
	}
	if !strings.Contains(got.head, "\r\nHost: "+b.host()+"\r\n") {
		t.Errorf("Host is not the upstream's in %q", got.head)
	}
}

func TestAnswerFields(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send(get("/v1/models", "X-Request-Id: mine"))
	p, _ := b.asked()
	p.say("HTTP/1.1 200 Fine\r\nServer: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nVia: 1.0 inner\r\nConnection: X-Hop\r\nX-Hop: 1\r\n" +
		"Keep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nContent-Length: 2\r\n\r\nok")
	a := c.answer()
	wantVia(t, a.header, "1.0 inner, 1.1 ")
	delete(a.header, "Via")
	want := http.Header{
		"Server": {"x"}, "Set-Cookie": {"a=1", "b=2"}, "Content-Length": {"2"},
		"X-Vega-Request-Id": {"mine"}, "X-Vega-Upstream": {"first"}, "X-Vega-Cache": {"BYPASS"}, "X-Vega-Cache-Reason": {"kind"},
	}
	if !reflect.DeepEqual(a.header, want) || a.body != "ok" {
		t.Errorf("the client got %q %q\nwant %q", a.header, a.body, want)
	}
}

// An admin key that a client sent by mistake goes no further, wherever among
// several values it stands.
func TestAdminKeyIsStripped(t *testing.T) {
	got, _ := forwarded(t, get("/v1/models", "X-API-Key: "+adminKey))
	if keys := got.header["X-Api-Key"]; keys != nil {
		t.Errorf("the backend got %q", keys)
	}
	got, _ = forwarded(t, get("/v1/models", "X-API-Key: theirs", "X-API-Key: "+adminKey))
	for _, key := range got.header["X-Api-Key"] {
		if key == adminKey {
			t.Error("the backend got the admin key as a second value")
		}
	}
}

// The target passes byte for byte, without a redirect.
func TestTarget(t *testing.T) {
	b := newBackend(t)
	b.always(okJSON)
	lines := make(chan string, 1)
	spy := newBackend(t)
	spy.serve(func(r request) string {
		lines <- r.line
		return okJSON
	})
	plain := start(t, nil, spy)
	based := startAt(t, nil, spy.url()+"/base%2Fpath/")
	for _, target := range []string{
		"/", "/v1/models/org%2Fname:tag", "//double//slash", "/a/../b/./c", "/%2e%2e/x", "/a;b=c;d", "/?", "/?a=b;c&%zz&=&x=%20+",
		"/v1/models?q=a?b#c", "/sp%20ace/%00/%ff", "/~!$&'()*+,;=:@", "/a%2fb%2Fc", "/[x]|{y}^`\"<>\\",
	} {
		for prefix, r := range map[string]*rig{"": plain, "/base%2Fpath": based} {
			a := do(t, r.addr, get(target))
			if a.status != http.StatusOK {
				t.Errorf("%s: status %d: %s", target, a.status, a.body)
				continue
			}
			if got, want := <-lines, "GET "+prefix+target+" HTTP/1.1"; got != want {
				t.Errorf("the backend got %q, want %q", got, want)
			}
		}
	}
	// What takes us for a forward proxy goes to the upstream all the same.
	if a := do(t, plain.addr, "GET http://localhost:1/v1/models?a=%2F HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.status != http.StatusOK {
		t.Fatalf("absolute form: status %d", a.status)
	}
	if got := <-lines; got != "GET /v1/models?a=%2F HTTP/1.1" {
		t.Errorf("absolute form: the backend got %q", got)
	}
	if a := do(t, plain.addr, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.status != http.StatusOK || a.header.Get("X-Vega-Upstream") != "first" {
		t.Errorf("OPTIONS *: status %d, not the upstream's: %q", a.status, a.header)
		return
	}
	if got := <-lines; got != "OPTIONS * HTTP/1.1" {
		t.Errorf("OPTIONS *: the backend got %q", got)
	}
	do(t, based.addr, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if got := <-lines; got != "OPTIONS * HTTP/1.1" {
		t.Errorf("OPTIONS * with a path in the upstream's URL: the backend got %q", got)
	}
}

func TestMethods(t *testing.T) {
	for _, tt := range []struct{ raw, line, body string }{
		{"HEAD /api/blobs/sha256:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", "HEAD /api/blobs/sha256:1 HTTP/1.1", ""},
		{"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", "OPTIONS /v1/chat/completions HTTP/1.1", ""},
		{"DELETE /api/delete HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n{\"model\":\"m\"}", "DELETE /api/delete HTTP/1.1", `{"model":"m"}`},
		{"PATCH /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1", "PATCH /x HTTP/1.1", "1"},
		{"PROPFIND /x HTTP/1.1\r\nHost: localhost\r\n\r\n", "PROPFIND /x HTTP/1.1", ""},
	} {
		b := newBackend(t)
		r := start(t, nil, b)
		c := dial(t, r.addr)
		c.send(tt.raw)
		p, got := b.asked()
		if got.line != tt.line || got.body != tt.body {
			t.Errorf("the backend got %q with %q, want %q with %q", got.line, got.body, tt.line, tt.body)
		}
		if strings.HasPrefix(tt.raw, "HEAD") {
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
			if a := c.head(); a.status != http.StatusOK || a.header.Get("Content-Length") != "12345" {
				t.Errorf("HEAD: the client got %q", a.raw)
			}
		} else {
			p.say("HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n")
			if a := c.head(); a.status != http.StatusNoContent || a.header.Get("Allow") != "GET" {
				t.Errorf("%s: the client got %q", tt.line, a.raw)
			}
		}
		// There is no body, and the connection goes on.
		c.send(get("/v1/models"))
		p.request()
		p.say(okJSON)
		if a := c.answer(); a.body != "{}" {
			t.Errorf("after %s: the client got %q", tt.line, a.body)
		}
	}
	r := start(t, nil, newBackend(t))
	if a := do(t, r.addr, "CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.status != http.StatusForbidden && a.status != http.StatusNotImplemented {
		t.Errorf("CONNECT: status %d", a.status)
	}
}
