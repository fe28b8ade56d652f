package simllm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// generations are a streamed request in each dialect, and its terminal event.
var generations = []struct{ name, path, body, terminal, errorMark string }{
	{"openai", "/v1/chat/completions", chatStreamBody, "data: [DONE]", `"type":"api_error"`},
	{"completions", "/v1/completions", `{"model":"demo","prompt":"x","stream":true}`, "data: [DONE]", `"type":"api_error"`},
	{"responses", "/v1/responses", `{"model":"demo","input":"x","stream":true}`, "response.completed", `"type":"api_error"`},
	{"anthropic", "/v1/messages", strings.Replace(chatStreamBody, `{`, `{"max_tokens":100,`, 1), "message_stop", "event: error"},
	{"ollama", "/api/chat", chatBody, `"done":true`, `{"error":"an error`},
	{"generate", "/api/generate", `{"model":"demo","prompt":"x"}`, `"done":true`, `{"error":"an error`},
}

func request(path, body string, headers ...string) string {
	var extra strings.Builder
	for _, h := range headers {
		extra.WriteString(h + "\r\n")
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", path, extra.String(), len(body), body)
}

const lastChunk = "\r\n0\r\n\r\n"

func TestStreamFaultsOnTheWire(t *testing.T) {
	_, ts := start(t, Config{Tokens: 20})
	for _, g := range generations {
		for _, c := range []struct {
			fail       string
			ends       bool // with the last chunk
			terminal   bool
			errorEvent bool
			readError  error
		}{
			{"none", true, true, false, nil},
			{failEOF, false, false, false, nil},
			{failReset, false, false, false, syscall.ECONNRESET},
			{failCleanEOF, true, false, false, nil},
			{failHalfEvent, false, false, false, nil},
			{failErrorEvent, true, false, true, nil},
			{failEmptyDelta, true, false, false, nil},
			{failBadUTF8, true, true, false, nil},
			{failHugeEvent, true, true, false, nil},
		} {
			t.Run(g.name+"/"+c.fail, func(t *testing.T) {
				got, err := raw(t, ts, request(g.path, g.body, "X-Sim-Fail: "+c.fail, "X-Sim-Fail-After: 6"))
				if !errors.Is(err, c.readError) {
					t.Errorf("reading ended with %v, want %v", err, c.readError)
				}
				if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
					t.Fatalf("no answer: %q", got)
				}
				if strings.HasSuffix(got, lastChunk) != c.ends {
					t.Errorf("ends with the last chunk: %v, want %v: %q", !c.ends, c.ends, got[max(0, len(got)-300):])
				}
				if strings.Contains(got, g.terminal) != c.terminal {
					t.Errorf("terminal event: %v, want %v", !c.terminal, c.terminal)
				}
				if strings.Contains(got, g.errorMark) != c.errorEvent {
					t.Errorf("error event: %v, want %v", !c.errorEvent, c.errorEvent)
				}
				if utf8.ValidString(got) == (c.fail == failBadUTF8) {
					t.Errorf("valid UTF-8 with fail=%s", c.fail)
				}
				if c.fail == failHugeEvent && len(got) < hugeWord {
					t.Errorf("%d bytes, want an event of %d", len(got), hugeWord)
				}
			})
		}
	}
}

func TestFailAfterCountsEvents(t *testing.T) {
	_, ts := start(t, Config{Tokens: 20})
	for n := range 4 {
		got := send(t, ts, "POST", "/api/chat", chatBody, "X-Sim-Fail: eof", fmt.Sprintf("X-Sim-Fail-After: %d", n))
		if !errors.Is(got.err, io.ErrUnexpectedEOF) || got.status != 200 || strings.Count(got.body, "\n") != n {
			t.Errorf("fail_after=%d: status %d, %d lines, %v", n, got.status, strings.Count(got.body, "\n"), got.err)
		}
	}
}

func TestVLLMErrorIsFollowedByDone(t *testing.T) {
	_, ts := start(t, Config{})
	got := send(t, ts, "POST", "/v1/chat/completions", chatStreamBody, "X-Sim-Fail: error-event", "X-Sim-Fail-After: 2", "X-Sim-Like: vllm")
	if !strings.HasSuffix(got.body, `"code":500}}`+"\n\ndata: [DONE]\n\n") || strings.Contains(got.body, `"finish_reason":"`) {
		t.Errorf("%q", got.body)
	}
}

func TestWholeAnswerFaults(t *testing.T) {
	_, ts := start(t, Config{})
	for _, c := range []struct {
		fail, after string
		status      int
		err         error
		body        string // part of it
	}{
		{failEOF, "0", 200, io.ErrUnexpectedEOF, `"choices"`},
		{failHalfEvent, "0", 200, io.ErrUnexpectedEOF, `"choices"`},
		{failReset, "1", 200, syscall.ECONNRESET, ""},
		{failCleanEOF, "0", 200, nil, `"choices"`},
		{failErrorEvent, "0", 200, nil, `{"error":{"message":"an error was`},
		{failBadUTF8, "0", 200, nil, "\xff\xfe"},
		{failEmpty, "0", 200, nil, ""},
		{failReset, "0", 0, syscall.ECONNRESET, ""},
		{failClose, "0", 0, io.EOF, ""},
		{failSlow, "0", 200, nil, `"usage"`},
		{failBusy, "0", 503, nil, `{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error"`},
		{failLoading, "0", 503, nil, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`},
	} {
		t.Run(c.fail+"/"+c.after, func(t *testing.T) {
			got := send(t, ts, "POST", "/v1/chat/completions", chatBody, "X-Sim-Fail: "+c.fail, "X-Sim-Fail-After: "+c.after, "X-Sim-Slow: 20ms")
			if got.status != c.status || !errors.Is(got.err, c.err) || !strings.Contains(got.body, c.body) {
				t.Errorf("%d %v %q, want %d %v with %q", got.status, got.err, got.body, c.status, c.err, c.body)
			}
			if c.fail == failEmpty && got.body != "" {
				t.Errorf("body %q, want none", got.body)
			}
			if got.header.Get("Retry-After") != "" {
				t.Error("Retry-After, which no real server sends with this")
			}
		})
	}
}

func TestStatusFaults(t *testing.T) {
	_, ts := start(t, Config{})
	for _, c := range []struct {
		path, body string
		status     int
		retryAfter string
		want       string
	}{
		{"/v1/chat/completions", chatBody, 500, "", `{"error":{"message":"simulated failure: Internal Server Error","type":"api_error","param":null,"code":null}}`},
		{"/v1/chat/completions", chatBody, 503, "7", `"type":"api_error"`},
		{"/api/chat", chatBody, 429, "7", `{"error":"simulated failure: Too Many Requests"}`},
		{"/v1/messages", generations[3].body, 529, "", `"type":"overloaded_error"`},
	} {
		got := send(t, ts, "POST", c.path, c.body, fmt.Sprintf("X-Sim-Fail: %d", c.status), "X-Sim-Retry-After: 7")
		if got.status != c.status || got.header.Get("Retry-After") != c.retryAfter || !strings.Contains(got.body, c.want) {
			t.Errorf("%s: %d, Retry-After %q, %s", c.path, got.status, got.header.Get("Retry-After"), got.body)
		}
	}
	got := send(t, ts, "GET", "/api/tags", "", "X-Sim-Fail: 503")
	if got.status != 503 {
		t.Errorf("/api/tags: %d", got.status)
	}
}

// TestHangUntilTheClientLeaves holds for a hang before the answer and in it.
func TestHangUntilTheClientLeaves(t *testing.T) {
	for _, after := range []string{"0", "2"} {
		s := New(Config{})
		entered := make(chan struct{})
		ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			s.ServeHTTP(w, r)
		}))
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "POST", ts.URL+"/api/chat", strings.NewReader(chatBody))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Sim-Fail", "hang")
		req.Header.Set("X-Sim-Fail-After", after)
		tr := &http.Transport{DisableKeepAlives: true}
		if after == "0" {
			go func() {
				<-entered
				leave()
			}()
			if _, err := tr.RoundTrip(req); !errors.Is(err, context.Canceled) {
				t.Errorf("a hang before the head: %v", err)
			}
		} else {
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(resp.Body)
			for range 2 {
				if _, err := lines.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			leave()
			if _, err := lines.ReadByte(); err == nil {
				t.Error("an event after the hang")
			}
			resp.Body.Close()
		}
		ts.Close() // waits for the handler, which only the client's leaving ends
		if got := s.Stats(); got.Cancelled != 1 || got.InFlight != 0 || got.Faults != 1 {
			t.Errorf("fail_after=%s: %+v", after, got)
		}
	}
}

func TestSlowHeadThenTheAnswer(t *testing.T) {
	_, ts := start(t, Config{Tokens: 3})
	got, err := raw(t, ts, request("/api/chat", chatBody, "X-Sim-Fail: slowheaders", "X-Sim-Slow: 30ms"))
	if err != nil || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\nConnection: close\r\n") || !strings.HasSuffix(got, "}\n") {
		t.Errorf("%q %v", got, err)
	}
}

func TestFailRateIsSpreadEvenly(t *testing.T) {
	s := New(Config{})
	var hits strings.Builder
	for range 12 {
		if s.hits(0.25) {
			hits.WriteString("x")
		} else {
			hits.WriteString(".")
		}
	}
	if hits.String() != "...x...x...x" {
		t.Errorf("fail_rate 0.25 hits %s", hits.String())
	}
	if s.hits(0) || !s.hits(1) {
		t.Error("a share of 0 hits, or a share of 1 does not")
	}
}

func TestFramingKnobs(t *testing.T) {
	_, ts := start(t, Config{Tokens: 2})
	for _, c := range []struct {
		knobs string
		check func(body string) bool
	}{
		{"", func(b string) bool {
			return strings.HasPrefix(b, `data: {"`) && strings.HasSuffix(b, "data: [DONE]\n\n")
		}},
		{"comments=true", func(b string) bool { return strings.HasPrefix(b, ": keep-alive\n\ndata: {") }},
		{"crlf=true", func(b string) bool {
			return strings.HasSuffix(b, "data: [DONE]\r\n\r\n") && strings.Count(b, "\n") == strings.Count(b, "\r\n")
		}},
		{"bom=true", func(b string) bool { return strings.HasPrefix(b, "\ufeffdata: ") && strings.Count(b, "\ufeff") == 1 }},
		{"space=false", func(b string) bool { return strings.HasPrefix(b, "data:{") && strings.HasSuffix(b, "data:[DONE]\n\n") }},
		{"multiline=true", func(b string) bool { return strings.HasPrefix(b, "data: {\ndata: \"id\"") }},
		{"done=false", func(b string) bool {
			return !strings.Contains(b, "[DONE]") && strings.Contains(b, `"finish_reason":"stop"`)
		}},
		{"usage=true", func(b string) bool { return strings.Contains(b, `"choices":[],"usage":{`) }},
		{"split=1", func(b string) bool { return strings.HasSuffix(b, "data: [DONE]\n\n") }},
	} {
		got := send(t, ts, "POST", "/v1/chat/completions", strings.Replace(chatStreamBody, "demo", "demo?"+c.knobs, 1))
		if got.status != 200 || !c.check(got.body) {
			t.Errorf("%q: %d %q", c.knobs, got.status, got.body)
		}
	}
	got := send(t, ts, "POST", "/api/chat", chatBody, "X-Sim-Newline: false")
	if !strings.HasSuffix(got.body, "}") || strings.Count(got.body, "\n") != 2 {
		t.Errorf("newline=false: %q", got.body)
	}
	split, err := raw(t, ts, request("/api/chat", chatBody, "X-Sim-Split: 1"))
	if err != nil || !strings.Contains(split, "\r\n1\r\n{\r\n1\r\n\"\r\n") {
		t.Errorf("split=1 does not send single bytes: %.200q %v", split, err)
	}
}
