package wire

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestRequestHead(t *testing.T) {
	tests := []struct {
		name string
		r    *Request
		want string // HOST stands for the backend's
	}{
		{"bare", &Request{Method: "GET", Target: "/v1/models"},
			"GET /v1/models HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"raw target", &Request{Method: "GET", Target: "/a%2Fb/../c;x=1/\"?q=%zz&r=a+b"},
			"GET /a%2Fb/../c;x=1/\"?q=%zz&r=a+b HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"two slashes", &Request{Method: "GET", Target: "//a%2Fb?x=1"},
			"GET //a%2Fb?x=1 HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"empty query", &Request{Method: "GET", Target: "/x?"},
			"GET /x? HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"asterisk", &Request{Method: "OPTIONS", Target: "*"},
			"OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"own method", &Request{Method: "PURGE", Target: "/"},
			"PURGE / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"post without a body", &Request{Method: "POST", Target: "/"},
			"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n"},
		{"post with an empty stream", &Request{Method: "POST", Target: "/", Stream: strings.NewReader("")},
			"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n"},
		{"delete without a body", &Request{Method: "DELETE", Target: "/"},
			"DELETE / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"body", &Request{Method: "POST", Target: "/", Body: []byte("{}")},
			"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\n\r\n"},
		{"user agent and repeated fields", &Request{Method: "GET", Target: "/", Header: http.Header{"User-Agent": {"curl"}, "X-A": {"1", "2"}}},
			"GET / HTTP/1.1\r\nHost: HOST\r\nUser-Agent: curl\r\nX-A: 1\r\nX-A: 2\r\n\r\n"},
		{"what ends at this hop", &Request{Method: "GET", Target: "/", Header: http.Header{
			"Host": {"evil"}, "Content-Length": {"7"}, "Transfer-Encoding": {"chunked"}, "Connection": {"close"}, "Expect": {"100-continue"},
			"Keep-Alive": {"timeout=1"}, "Trailer": {"X"}, "Upgrade": {"h2c"}, "Proxy-Connection": {"close"}}},
			"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"upgrade", &Request{Method: "GET", Target: "/", Upgrade: "websocket"},
			"GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
	}
	each(t, func(t *testing.T, im implementation) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				heads := make(chan string, 1)
				cfg := im.serve(t, func(_ int, p *peer) {
					heads <- p.head()
					p.say("HTTP/1.1 204 No Content\r\n\r\n")
				})
				fetch(t, im.open(t, cfg), test.r)
				want := strings.Replace(test.want, "HOST", cfg.URL.Host, 1)
				if got := <-heads; !slices.Equal(sortedLines(got), sortedLines(want)) {
					t.Errorf("sent %q, want %q", got, want)
				}
			})
		}
	})
}

func TestNewlinesInFieldsStayInThem(t *testing.T) {
	heads := make(chan string, 1)
	tr := h1Only.start(t, func(_ int, p *peer) {
		heads <- p.head()
		p.say("HTTP/1.1 204 No Content\r\n\r\n")
	})
	fetch(t, tr, &Request{Method: "GET", Target: "/", Header: http.Header{"X-A": {"1\r\nEvil: 1"}, "Bad name": {"x"}}})
	if got := <-heads; !strings.Contains(got, "\r\nX-A: 1  Evil: 1\r\n") || strings.Contains(got, "Bad") {
		t.Errorf("sent %q", got)
	}
}

func TestRefusedRequests(t *testing.T) {
	tests := map[string]*Request{
		"no method":          {Target: "/"},
		"space in method":    {Method: "GET /x", Target: "/"},
		"no target":          {Method: "GET"},
		"space in target":    {Method: "GET", Target: "/a b"},
		"newline in target":  {Method: "GET", Target: "/\r\nX: 1"},
		"NUL in target":      {Method: "GET", Target: "/\x00"},
		"newline in upgrade": {Method: "GET", Target: "/", Upgrade: "websocket\r\nX: 1"},
		"two bodies":         {Method: "POST", Target: "/", Body: []byte("a"), Stream: strings.NewReader("b"), Length: 1},
	}
	each(t, func(t *testing.T, im implementation) {
		tr := im.start(t, saysAndCloses(""))
		for name, r := range tests {
			_, err := tr.RoundTrip(t.Context(), r)
			if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Send || e.Sent {
				t.Errorf("%s: %v", name, err)
			}
		}
		if dials := tr.Stats().Dials; dials != 0 {
			t.Errorf("%d connections were opened", dials)
		}
	})
}

func TestHostField(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:11434":      "127.0.0.1:11434",
		"http://ollama/base":          "ollama",
		"http://[::1]:80":             "[::1]:80",
		"http://[fe80::1%25eth0]:123": "[fe80::1]:123",
	} {
		if got := hostField(mustURL(t, in)); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	if got := dialAddr(mustURL(t, "http://[fe80::1%25eth0]/x")); got != "[fe80::1%eth0]:80" {
		t.Errorf("dials %q", got)
	}
}
