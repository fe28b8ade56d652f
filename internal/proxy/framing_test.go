package proxy_test

import (
	"io"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

func noBreaker(cfg *config.Config) { cfg.Upstreams[0].Breaker.Enabled = false }

// streaming starts an exchange whose answer is a stream of the given head, and
// returns both ends with the client's body.
func streaming(t *testing.T, r *rig, b *backend, head string) (*client, *peer, io.Reader) {
	t.Helper()
	c := dial(t, r.addr)
	c.send(chat())
	p, _ := b.asked()
	p.say(head)
	a := c.head() // the head comes before any event
	if a.status != 200 {
		t.Fatalf("status %d", a.status)
	}
	return c, p, c.body(a)
}

// Each event reaches the client before the next one exists, whatever its form,
// and a part of one does not.
func TestEventsPassAtOnce(t *testing.T) {
	b := newBackend(t)
	r := start(t, noBreaker, b)
	for _, tt := range []struct {
		name, head string
		events     []string
	}{
		{"LF", okSSE, []string{"data: 1\n\n", "data: 2\n\n"}},
		{"CRLF", okSSE, []string{"data: 1\r\n\r\n", "data: 2\r\n\r\n"}},
		{"CR", okSSE, []string{"data: 1\r\r", "data: 2\r\r"}},
		{"BOM", okSSE, []string{"\ufeffdata: 1\n\n", "data:2\n\n"}},
		{"comments", okSSE, []string{":\n\n", ": keep-alive\n\n", "data: 1\n\n", ":\n\n"}},
		{"several lines", okSSE, []string{"event: a\nid: 1\ndata: 1\ndata: 2\n\n", "error: {}\n\n", "x\n\n"}},
		{"parameters of the type", strings.Replace(okSSE, "event-stream", "event-stream; charset=utf-8", 1), []string{"data: 1\n\n"}},
		{"lines", okNDJSON, []string{"{\"a\":1}\n", "{}\r\n", "no json\n"}},
		{"text without events", strings.Replace(okSSE, "event-stream", "plain", 1), []string{"a", "b", "\n"}},
		{"no type", strings.Replace(okSSE, "Content-Type: text/event-stream\r\n", "", 1), []string{"<html>", "b"}},
		{"encoded", strings.Replace(okSSE, "Content-Type", "Content-Encoding: gzip\r\nContent-Type", 1), []string{"\x1f\x8b", "\x00\n\n", "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, p, body := streaming(t, r, b, tt.head)
			defer c.Close()
			defer p.Close()
			for _, ev := range tt.events {
				p.chunk(ev)
				expect(t, body, ev)
			}
			p.say(lastChunk)
			if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
				t.Errorf("the body ends with %q, %v", rest, err)
			}
		})
	}
}

// However the bytes are cut, characters and line ends too, the same come out.
func TestByteByByte(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	for head, text := range map[string]string{
		okSSE:    "data: {\"text\":\"猫が🐈\"}\r\n\r\n: é\n\ndata: \U0001F469\u200d\U0001F4BB\n\n",
		okNDJSON: "{\"text\":\"猫\"}\n{\"text\":\"🐈\"}\r\n",
	} {
		c, p, body := streaming(t, r, b, head)
		for i := range len(text) {
			p.chunk(text[i : i+1])
		}
		expect(t, body, text)
		// The chunks' own framing may be cut as well.
		for _, c := range chunked(text) + lastChunk {
			p.say(string(c))
		}
		expect(t, body, text)
		if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
			t.Errorf("the body ends with %q, %v", rest, err)
		}
		c.Close()
		p.Close()
	}
}

// A head that comes with the beginning of an event does not wait for its end.
func TestHeadBesideHalfAnEvent(t *testing.T) {
	b := newBackend(t)
	r := start(t, noBreaker, b)
	_, p, body := streaming(t, r, b, okSSE+"6\r\ndata: \r\n")
	p.chunk("1\n\n")
	expect(t, body, "data: 1\n\n")
}

// A burst larger than any buffer, which ends in half an event: what is whole is
// not kept back until the rest comes.
func TestBurstThenHalfAnEvent(t *testing.T) {
	b := newBackend(t)
	r := start(t, noBreaker, b)
	ev := "data: " + strings.Repeat("x", 91) + "\n\n"
	for _, n := range []int{40, 41, 42, 82, 83, 400, 700, 2000} {
		c, p, body := streaming(t, r, b, okSSE)
		whole := strings.Repeat(ev, n)
		p.chunk(whole + "data: half")
		expect(t, body, whole)
		p.chunk("\n\n")
		expect(t, body, "data: half\n\n")
		c.Close()
		p.Close()
	}
}

// An event longer than is held passes in pieces, and its answer is as complete
// as any other.
func TestHugeEvent(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c, p, body := streaming(t, r, b, okSSE)
	huge := `data: {"choices":[{"index":0,"delta":{"content":"` + strings.Repeat("猫", 5<<20/3) + `"}}]}` + "\n\n"
	end := `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(p.Conn, chunked(huge[:3<<20]))
		sent <- err
	}()
	// Two MiB arrive before the event is whole.
	expect(t, body, huge[:2<<20])
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.WriteString(p.Conn, chunked(huge[3<<20:], end)+lastChunk)
		sent <- err
	}()
	expect(t, body, huge[2<<20:]+end)
	if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
		t.Errorf("the body ends with %q, %v", rest, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.Close()
	if line := r.ended(); line["ended_by"] != "upstream" || line["finish_reason"] != "stop" {
		t.Errorf("ended by %v with %v", line["ended_by"], line["finish_reason"])
	}
	if s := r.breaker(0); s.Metrics.SuccessfulRequests != 1 || s.Metrics.FailedRequests != 0 {
		t.Errorf("the breaker counted %+v", s.Metrics)
	}
}

// How an answer that breaks off reaches the client.
func TestCutAnswers(t *testing.T) {
	const plain = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	broke := func(p *peer) { p.Close() }
	reset := func(p *peer) { p.reset() }
	for _, tt := range []struct {
		name, path, head, sent, got string
		cut                         func(*peer)
		event                       bool
	}{
		{"SSE", "/v1/chat/completions", okSSE, chunked("data: 1\n\n", "data: 2"), "data: 1\n\n", broke, true},
		{"SSE, reset", "/v1/chat/completions", okSSE, chunked("data: 1\n\n", "data: 2"), "data: 1\n\n", reset, true},
		{"SSE, in the middle of a chunk", "/v1/chat/completions", okSSE, "100\r\ndata: 1\n\ndata:", "data: 1\n\n", broke, true},
		{"SSE, nothing but the head", "/v1/chat/completions", okSSE, "", "", broke, true},
		{"SSE, a broken chunk", "/v1/chat/completions", okSSE, chunked("data: 1\n\n") + "zz\r\n", "data: 1\n\n", broke, true},
		{"lines", "/api/chat", okNDJSON, chunked("{\"a\":1}\n{\"b\""), "{\"a\":1}\n", broke, true},
		{"JSON in chunks", "/v1/chat/completions", plain + "Transfer-Encoding: chunked\r\n\r\n", chunked(`{"choices"`), `{"choices"`, broke, false},
		{"JSON of known length", "/v1/chat/completions", plain + "Content-Length: 100\r\n\r\n", `{"choices"`, `{"choices"`, broke, false},
		{"SSE of known length", "/v1/chat/completions", strings.Replace(okSSE, "Transfer-Encoding: chunked", "Content-Length: 9999", 1), "data: 1\n\nda", "data: 1\n\n", broke, true},
		{"encoded", "/v1/chat/completions", strings.Replace(okSSE, "Content-Type", "Content-Encoding: gzip\r\nContent-Type", 1), chunked("data: 1\n\nda"), "data: 1\n\nda", broke, false},
		{"opaque SSE", "/infill", okSSE, chunked("data: 1\n\nda"), "data: 1\n\n", broke, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t)
			r := start(t, nil, b)
			c := dial(t, r.addr)
			c.send(post(tt.path, `{"model":"m","stream":true}`))
			p, _ := b.asked()
			p.say(tt.head)
			a := c.head()
			body := c.body(a)
			p.say(tt.sent)
			expect(t, body, tt.got)
			tt.cut(p)
			rest, err := io.ReadAll(body)
			if err == nil {
				t.Error("the answer ends cleanly")
			}
			if tt.event && !onlyErrorEvent(string(rest)) || !tt.event && len(rest) > 0 {
				t.Errorf("after the last event came %q", rest)
			}
			if tt.event && !strings.Contains(string(rest), "upstream") {
				t.Errorf("the error event %q does not say whose fault it is", rest)
			}
			line := r.ended()
			if line["ended_by"] != "error" || line["code"] != "upstream_broke" {
				t.Errorf("ended by %v with %v", line["ended_by"], line["code"])
			}
			if came := int64(len(tt.got) + len(rest)); line["bytes_out"] != came {
				t.Errorf("bytes_out is %v, %d came", line["bytes_out"], came)
			}
		})
	}
}

// To a client of HTTP/1.0 only a reset tells that an answer was cut.
func TestCutAnswerHTTP10(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send("POST /api/chat HTTP/1.0\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n" + `{"model":"m"}`)
	p, _ := b.asked()
	p.say(okNDJSON + chunked("{}\n"))
	a := c.head()
	if strings.Contains(a.raw, "Transfer-Encoding") || a.header.Get("Content-Length") != "" {
		t.Errorf("HTTP/1.0 has no chunks: %q", a.raw)
	}
	expect(t, c.br, "{}\n")
	p.Close()
	if rest, err := io.ReadAll(c.br); err == nil {
		t.Errorf("the answer ends cleanly after %q", rest)
	}
}

// Where part of an event has gone out nothing is added to it.
func TestCutInsideAHugeEvent(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c, p, body := streaming(t, r, b, okSSE)
	huge := "data: " + strings.Repeat("x", 2<<20)
	go io.WriteString(p.Conn, chunked(huge)) // what fails to arrive is missed below
	expect(t, body, huge)
	p.Close()
	if rest, err := io.ReadAll(body); len(rest) > 0 || err == nil {
		t.Errorf("the body ends with %q, %v", rest, err)
	}
	c.Close()
}

// A stream that ends cleanly but lacks its terminal signal passes as it is.
func TestCleanEndWithoutTerminalSignal(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	for head, text := range map[string]string{
		okSSE:    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
		okNDJSON: "{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"message\"", // the last line without its end
	} {
		_, p, body := streaming(t, r, b, head)
		p.say(chunked(text) + lastChunk)
		if got, err := io.ReadAll(body); string(got) != text || err != nil {
			t.Errorf("the client got %q, %v", got, err)
		}
		if line := r.ended(); line["ended_by"] != "upstream" {
			t.Errorf("ended by %v", line["ended_by"])
		}
		p.Close()
	}
	if s := r.breaker(0); s.Metrics.FailedRequests != 2 {
		t.Errorf("the breaker counted %d failures, want both", s.Metrics.FailedRequests)
	}
}
