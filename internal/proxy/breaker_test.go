package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

const (
	mistake = "ollama/api-chat-bad-option"
)

func streamed(head string, events ...string) string {
	return head + chunked(events...) + lastChunk
}

// Five failures of each kind in a row open the breaker.
func TestBreakerOpens(t *testing.T) {
	chatPath, ollamaPath := "/v1/chat/completions", "/api/chat"
	for name, tt := range map[string]struct{ path, answer string }{
		"500":                            {chatPath, sized(500, `{"error":"boom"}`)},
		"503 of unknown cause":           {chatPath, sized(503, `{}`)},
		"no answer":                      {chatPath, ""},
		"a cut stream":                   {chatPath, okSSE + chunked("data: 1\n\n") + "zz\r\n"},
		"an error in a stream":           {chatPath, streamed(okSSE, "data: {\"error\":{\"message\":\"x\"}}\n\n", "data: [DONE]\n\n")},
		"an error in a stream of Ollama": {ollamaPath, streamed(okNDJSON, "{\"message\":{\"content\":\"a\"}}\n", "{\"error\":\"x\"}\n")},
		"an empty 200":                   {chatPath, sized(200, "")},
		"an empty stream":                {chatPath, streamed(okSSE)},
		"no terminal signal":             {chatPath, streamed(okSSE, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n")},
		"[DONE] alone":                   {chatPath, streamed(okSSE, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n", "data: [DONE]\n\n")},
		"no terminal signal of Ollama":   {ollamaPath, streamed(okNDJSON, "{\"message\":{\"content\":\"a\"},\"done\":false}\n")},
		"an error in a 200":              {chatPath, sized(200, `{"error":{"message":"x"}}`)},
		"a killed runner, as recorded":   {ollamaPath, fixture(t, "ollama/fail-runner-killed-api-chat")},
		"a killed runner in mid-stream":  {ollamaPath, fixture(t, "ollama/fail-runner-killed-api-chat-stream")},
		"a killed runner, Anthropic":     {"/v1/messages", fixture(t, "ollama/fail-runner-killed-v1-messages-stream")},
		"a killed runner, OpenAI":        {chatPath, fixture(t, "ollama/fail-runner-killed-v1-chat-stream")},
		"a killed runner, responses":     {"/v1/responses", fixture(t, "ollama/fail-runner-killed-v1-responses-stream")},
		"an embedding that is an error":  {"/api/embed", sized(200, `{"error":"x"}`)},
		"a page instead of an answer":    {chatPath, sized(200, "<html>hello</html>")},
	} {
		t.Run(name, func(t *testing.T) {
			b, n := counting(t, tt.answer)
			r := start(t, func(cfg *config.Config) { cfg.Retry.MaxAttempts = 1 }, b)
			for i := range 5 {
				if s := r.breaker(0); s.State != resilience.Closed {
					t.Fatalf("open after %d failures", i)
				}
				do(t, r.addr, post(tt.path, `{"model":"m"}`))
				r.ended()
			}
			a := do(t, r.addr, chat())
			if a.status != 503 || a.header.Get("X-Vega-Error") != "breaker_open" || a.header.Get("Retry-After") == "" || n.Load() != 5 {
				t.Errorf("after five: %d %q, Retry-After %q, asked %d times", a.status, a.header.Get("X-Vega-Error"), a.header.Get("Retry-After"), n.Load())
			}
		})
	}
}

// What says nothing about the upstream's health leaves the breaker as it is:
// not one failure, and a run of failures goes on behind it.
func TestBreakerStaysClosed(t *testing.T) {
	for name, tt := range map[string]struct{ path, answer string }{
		"400":                     {"/v1/chat/completions", sized(400, "{}")},
		"401":                     {"/v1/chat/completions", sized(401, "{}")},
		"404":                     {"/api/chat", sized(404, `{"error":"model 'm' not found"}`)},
		"429":                     {"/v1/chat/completions", sized(429, "{}")},
		"busy":                    {"/api/chat", fixture(t, "ollama/fail-queue-full-api-chat")},
		"busy, OpenAI":            {"/v1/chat/completions", fixture(t, "ollama/fail-queue-full-v1-chat")},
		"busy, Anthropic":         {"/v1/messages", fixture(t, "ollama/fail-queue-full-v1-messages")},
		"loading":                 {"/v1/chat/completions", sized(503, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`)},
		"a mistake of the client": {"/api/chat", fixture(t, mistake)},
		"a format that is none":   {"/api/chat", fixture(t, "ollama/api-chat-format-bad")},
		"a read that went well":   {"/api/show", sized(200, "{}")},
		"management":              {"/api/pull", streamed(okNDJSON, "{\"status\":\"success\"}\n")},
		"an opaque answer":        {"/infill", sized(200, "{}")},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := counting(t, tt.answer)
			r := start(t, func(cfg *config.Config) { cfg.Retry.MaxAttempts = 1 }, b)
			for range 6 {
				do(t, r.addr, post(tt.path, `{"model":"m"}`))
				r.ended()
			}
			if m := r.breaker(0).Metrics; m.FailedRequests != 0 || m.SuccessfulRequests != 0 || m.NeutralRequests != 6 {
				t.Errorf("counted %+v, want six neutral ones", m)
			}
		})
	}
}

// A client that goes away in mid-stream, or whose own body breaks off, says
// nothing about the upstream.
func TestBreakerIgnoresClients(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	for range 3 {
		c, p, body := streaming(t, r, b, okSSE)
		p.chunk("data: 1\n\n")
		expect(t, body, "data: 1\n\n")
		c.Close()
		p.gone()
		if line := r.ended(); line["ended_by"] != "client" {
			t.Errorf("in mid-stream: ended by %v", line["ended_by"])
		}
	}
	for _, head := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked"} {
		for _, cut := range []string{"closed", "reset"} {
			c := dial(t, r.addr)
			c.send("POST /api/blobs/sha256:1 HTTP/1.1\r\nHost: localhost\r\n" + head + "\r\n\r\n" + chunked(strings.Repeat("x", 100_000)))
			p := b.accept()
			p.head()
			if cut == "reset" {
				(&peer{Conn: c.Conn}).reset()
			} else {
				c.Close()
			}
			p.gone()
			if line := r.ended(); line["ended_by"] != "client" {
				t.Errorf("%s, %s: ended by %v with %v", head, cut, line["ended_by"], line["code"])
			}
		}
	}
	if m := r.breaker(0).Metrics; m.FailedRequests != 0 || m.NeutralRequests != 7 {
		t.Errorf("counted %+v, want seven neutral ones", m)
	}
}

// Statuses can be moved from one class to another per upstream.
func TestBreakerStatuses(t *testing.T) {
	b, _ := counting(t, sized(500, "{}"))
	r := start(t, func(cfg *config.Config) { cfg.Upstreams[0].Breaker.NeutralStatuses = []int{500} }, b)
	do(t, r.addr, chat())
	r.ended()
	if m := r.breaker(0).Metrics; m.NeutralRequests != 1 {
		t.Errorf("a neutral 500: counted %+v", m)
	}
	b, _ = counting(t, sized(404, "{}"))
	r = start(t, func(cfg *config.Config) { cfg.Upstreams[0].Breaker.FailureStatuses = []int{404} }, b)
	do(t, r.addr, chat())
	r.ended()
	if m := r.breaker(0).Metrics; m.FailedRequests != 1 {
		t.Errorf("a 404 that counts: counted %+v", m)
	}
}

// Half open, a stream is judged by its first event: it holds no place while it
// goes on, and enough good ones close the breaker.
func TestHalfOpenProbes(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) {
		br := &cfg.Upstreams[0].Breaker
		br.FailThreshold, br.HalfOpenTestCount = 1, 2
		br.BaseTimeout, br.MaxTimeout = time.Millisecond, time.Millisecond
	}, b)
	c := dial(t, r.addr)
	c.send(chat())
	p, _ := b.asked()
	p.say(sized(500, "{}"))
	c.answer()
	r.ended()
	p.Close()
	if s := r.breaker(0).State; s != resilience.Open {
		t.Fatalf("the breaker is %v", s)
	}
	probe := func() (*peer, *client, <-chan answer) {
		for { // until the open time of a millisecond is over
			c := dial(t, r.addr)
			c.send(chat())
			heads := make(chan answer, 1)
			go func() { heads <- c.head() }()
			select {
			case p := <-b.conns:
				p.SetDeadline(time.Now().Add(patience))
				p.request()
				return p, c, heads
			case a := <-heads:
				if a.header.Get("X-Vega-Error") != "breaker_open" {
					t.Fatalf("%d %q", a.status, a.header.Get("X-Vega-Error"))
				}
			}
		}
	}
	event := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
	for i := range 2 {
		if s := r.breaker(0).State; i > 0 && s != resilience.HalfOpen {
			t.Errorf("after %d probes the breaker is %v", i, s)
		}
		p, c, heads := probe()
		p.say(okSSE + chunked(": comment\n\n"))
		body := c.body(<-heads)
		expect(t, body, ": comment\n\n")
		p.chunk(event)
		expect(t, body, event)
	}
	if s := r.breaker(0); s.State != resilience.Closed || s.Metrics.RecoverySuccesses != 1 {
		t.Errorf("after two good beginnings the breaker is %v", s.State)
	}
}
