package proxy_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// short is a limit of the proxy's own in tests that run into it.
const short = 50 * time.Millisecond

// deadAddress is one where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "http://" + ln.Addr().String()
}

// failed checks a refusal that follows from an upstream's failure.
func failed(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.header.Get("X-Vega-Error") != code || a.header.Get("X-Vega-Upstream") != "first" {
		t.Errorf("%d %q from %q, want %d %q", a.status, a.header.Get("X-Vega-Error"), a.header.Get("X-Vega-Upstream"), status, code)
	}
}

func TestDeadUpstream(t *testing.T) {
	r := startAt(t, nil, deadAddress(t))
	failed(t, do(t, r.addr, chat()), http.StatusBadGateway, "upstream_unreachable")
	if line := r.ended(); line["ended_by"] != "error" || line["code"] != "upstream_unreachable" {
		t.Errorf("ended by %v with %v", line["ended_by"], line["code"])
	}
}

func TestNoHead(t *testing.T) {
	const brokeOff = "the upstream first broke off before it answered"
	for name, tt := range map[string]struct{ say, want string }{
		"nothing":         {"", brokeOff},
		"half a head":     {"HTTP/1.1 200 OK\r\nContent-", brokeOff},
		"no HTTP":         {"SSH-2.0-x\r\n\r\n", "malformed answer: status line"},
		"only an interim": {"HTTP/1.1 103 Early Hints\r\n\r\n", brokeOff},
		"a head too long": {"HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 2<<20), "the answer's head is over 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			r := start(t, nil, b)
			c := dial(t, r.addr)
			c.send(chat())
			p, _ := b.asked()
			_, _ = io.WriteString(p, tt.say) // the proxy may not want all of it
			p.Close()
			var a answer
			for a = c.answer(); a.status < 200; a = c.answer() {
			}
			failed(t, a, http.StatusBadGateway, "upstream_broke")
			if !strings.Contains(a.body, tt.want) {
				t.Errorf("%s does not say %q", a.body, tt.want)
			}
			b.unasked() // the same upstream is not asked twice for one generation
		})
	}
}

func TestFirstByteTimeout(t *testing.T) {
	for name, say := range map[string]string{"before the head": "", "in the head": "HTTP/1.1 200"} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].FirstByteTimeout = short }, b)
			c := dial(t, r.addr)
			c.send(chat())
			p, _ := b.asked()
			p.say(say)
			failed(t, c.answer(), http.StatusGatewayTimeout, "upstream_timeout")
			p.gone()
			if line := r.ended(); line["ended_by"] != "timeout" {
				t.Errorf("ended by %v", line["ended_by"])
			}
			if s := r.breaker(0); s.Metrics.FailedRequests != 1 {
				t.Errorf("the breaker counted %+v", s.Metrics)
			}
		})
	}
}

// A stream that falls silent is cut visibly: before its first byte by one
// limit, after it by the other. What a comment says counts as a sign of life.
func TestSilentStream(t *testing.T) {
	for name, sent := range map[string]string{"from the start": "", "after an event": "data: 1\n\n", "after half an event": "data: 1\n\nda"} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			r := start(t, func(cfg *config.Config) {
				cfg.Upstreams[0].IdleTimeout = short
				if sent == "" {
					cfg.Upstreams[0].FirstByteTimeout = short
				}
			}, b)
			_, p, body := streaming(t, r, b, okSSE)
			if sent != "" {
				p.chunk(sent)
				expect(t, body, "data: 1\n\n")
			}
			rest, err := io.ReadAll(body)
			if err == nil || !onlyErrorEvent(string(rest)) || !strings.Contains(string(rest), `"upstream_timeout"`) {
				t.Errorf("the stream ends with %q, %v", rest, err)
			}
			p.gone()
			if line := r.ended(); line["ended_by"] != "timeout" {
				t.Errorf("ended by %v", line["ended_by"])
			}
		})
	}
}

// A refusal has the shape of the dialect that its path belongs to.
func TestRefusalShapes(t *testing.T) {
	r := startAt(t, func(cfg *config.Config) { cfg.Upstreams[0].Models = []string{"known"} }, deadAddress(t))
	for _, tt := range []struct {
		path, code string
		status     int
		model      string
		want       func(message string) map[string]any
	}{
		{"/v1/chat/completions", "no_upstream", 404, "unknown", openAIShape("no_upstream")},
		{"/v1/messages", "no_upstream", 404, "unknown", anthropicShape("api_error", "no_upstream")},
		{"/api/chat", "no_upstream", 404, "unknown", ollamaShape},
		{"/v1/chat/completions", "upstream_unreachable", 502, "known", openAIShape("upstream_unreachable")},
		{"/v1/messages", "upstream_unreachable", 502, "known", anthropicShape("api_error", "upstream_unreachable")},
		{"/api/generate", "upstream_unreachable", 502, "known", ollamaShape},
		{"/infill", "upstream_unreachable", 502, "known", openAIShape("upstream_unreachable")},
		{"/api/embed", "breaker_open", 503, "known", ollamaShape}, // the fifth failure was before
		{"/v1/messages", "breaker_open", 503, "known", anthropicShape("overloaded_error", "breaker_open")},
		{"/v1/models", "breaker_open", 503, "", openAIShape("breaker_open")},
	} {
		if tt.code == "breaker_open" {
			for r.breaker(0).State.String() != "open" {
				do(t, r.addr, post("/api/embed", `{"model":"known"}`))
			}
		}
		a := do(t, r.addr, post(tt.path, `{"model":"`+tt.model+`"}`))
		if a.status != tt.status || a.header.Get("X-Vega-Error") != tt.code || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %q, want %d %q", tt.path, a.status, a.header.Get("X-Vega-Error"), tt.status, tt.code)
		}
		if again := a.header.Get("Retry-After"); (again != "") != (tt.code == "breaker_open") {
			t.Errorf("%s: Retry-After %q of %s", tt.path, again, tt.code)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Errorf("%s: %v in %q", tt.path, err, a.body)
			continue
		}
		message, _ := got["error"].(string)
		if in, ok := got["error"].(map[string]any); ok {
			message, _ = in["message"].(string)
		}
		if message == "" || !reflect.DeepEqual(got, tt.want(message)) {
			t.Errorf("%s: body %s", tt.path, a.body)
		}
	}
}

func openAIShape(code string) func(string) map[string]any {
	return func(message string) map[string]any {
		return map[string]any{"error": map[string]any{"message": message, "type": "vega_error", "param": nil, "code": code}}
	}
}

func anthropicShape(kind, code string) func(string) map[string]any {
	return func(message string) map[string]any {
		return map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": message, "code": code}}
	}
}

func ollamaShape(message string) map[string]any { return map[string]any{"error": message} }

// Errors of the upstream pass as they are.
func TestUpstreamErrorsPass(t *testing.T) {
	b := newBackend(t)
	r := start(t, noBreaker, b)
	c := dial(t, r.addr)
	var p *peer
	for _, status := range []int{400, 401, 404, 422, 429, 500, 502, 503, 504, 529} {
		c.send(chat())
		if p == nil {
			p = b.accept()
		}
		p.request()
		body := `{"error":{"message":"theirs"}}`
		p.say(sized(status, body, "Retry-After: 7", "X-Theirs: 1"))
		a := c.answer()
		if a.status != status || a.body != body || a.header.Get("Retry-After") != "7" || a.header.Get("X-Vega-Error") != "" || a.header.Get("X-Theirs") != "1" {
			t.Errorf("%d became %d %q with %q", status, a.status, a.body, a.header)
		}
	}
}

// fixture is a recorded answer, whole as it was sent.
func fixture(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("../dialect/testdata/" + name + ".http")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
