package dialect

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestErrorBody(t *testing.T) {
	tests := []struct {
		dialect Dialect
		status  int
		want    string
	}{
		{OpenAI, 503, `{"error":{"message":"no \"x\"","type":"vega_error","param":null,"code":"overloaded"}}`},
		{Opaque, 404, `{"error":{"message":"no \"x\"","type":"vega_error","param":null,"code":"overloaded"}}`},
		{Ollama, 503, `{"error":"no \"x\""}`},
		{Anthropic, 503, `{"type":"error","error":{"type":"overloaded_error","message":"no \"x\"","code":"overloaded"}}`},
		{Anthropic, 502, `{"type":"error","error":{"type":"api_error","message":"no \"x\"","code":"overloaded"}}`},
	}
	for _, tt := range tests {
		if got := string(ErrorBody(tt.dialect, tt.status, "overloaded", `no "x"`)); got != tt.want {
			t.Errorf("%v %d:\n got %s\nwant %s", tt.dialect, tt.status, got, tt.want)
		}
	}
	if got := string(ErrorBody(Ollama, 503, "overloaded", "")); got != `{"error":"overloaded"}` {
		t.Errorf("Ollama without a message: got %s, want the code instead", got)
	}
	if got := string(ErrorBody(Ollama, 503, "", "")); got != `{"error":"error"}` {
		t.Errorf("Ollama without anything: got %s", got)
	}
}

func TestErrorEvent(t *testing.T) {
	const openAI = `{"error":{"message":"cut","type":"vega_error","param":null,"code":"upstream_broke"}}`
	tests := []struct {
		path    string
		framing Framing
		want    string
	}{
		{chatPath, FramingSSE, "data: " + openAI + "\n\n"},
		{"/v1/completions", FramingSSE, "data: " + openAI + "\n\n"},
		{"/completion", FramingSSE, "data: " + openAI + "\n\n"},
		{responsesPath, FramingSSE, "event: error\ndata: " + `{"type":"error","code":"upstream_broke","message":"cut","param":null,` +
			`"error":{"message":"cut","type":"vega_error","param":null,"code":"upstream_broke"}}` + "\n\n"},
		{messagesPath, FramingSSE, "event: error\ndata: " + `{"type":"error","error":{"type":"api_error","message":"cut","code":"upstream_broke"}}` + "\n\n"},
		{"/api/chat", FramingNDJSON, `{"error":"cut"}` + "\n"},
		{"/api/pull", FramingNDJSON, `{"error":"cut"}` + "\n"},
		{"/api/chat", FramingSSE, `data: {"error":"cut"}` + "\n\n"},
		{chatPath, FramingJSON, ""},
		{"/api/blobs/x", FramingNone, ""},
	}
	for _, tt := range tests {
		got := ErrorEvent(RouteOf("POST", tt.path), tt.framing, "upstream_broke", "cut")
		if string(got) != tt.want || (tt.want == "") != (got == nil) {
			t.Errorf("%s %d:\n got %q\nwant %q", tt.path, tt.framing, got, tt.want)
		}
	}
}

// TestOwnErrorsAreUnderstood: what we send is an error to the meter too, and no
// end of an answer.
func TestOwnErrorsAreUnderstood(t *testing.T) {
	for _, path := range []string{chatPath, "/v1/completions", responsesPath, messagesPath, "/api/chat", "/api/generate"} {
		for _, f := range []Framing{FramingSSE, FramingNDJSON} {
			rt := RouteOf("POST", path)
			var m Meter
			m.Reset(rt, f)
			if sig := m.Event(ErrorEvent(rt, f, "upstream_broke", "cut\nshort")); sig&ErrorObject == 0 {
				t.Errorf("%s %d: signals %q, want an error", path, f, letters(sig))
			}
			if s := m.Summary(); s.Error != "cut\nshort" || s.Complete || s.DoneMarker {
				t.Errorf("%s %d: got %+v", path, f, s)
			}
		}
	}
}

func FuzzErrors(f *testing.F) {
	f.Add("breaker_open", "no upstream")
	f.Add("\"\n\r\u2028", "data: [DONE]\n\ndata: x\x00\xff\"}\\")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, code, message string) {
		for _, d := range []Dialect{Opaque, OpenAI, Ollama, Anthropic} {
			if body := ErrorBody(d, 503, code, message); !json.Valid(body) {
				t.Errorf("%v: no JSON: %s", d, body)
			}
		}
		for _, path := range []string{chatPath, responsesPath, messagesPath, "/api/chat", "/completion"} {
			for _, framing := range []Framing{FramingSSE, FramingNDJSON} {
				ev := string(ErrorEvent(RouteOf("POST", path), framing, code, message))
				data := strings.TrimPrefix(strings.TrimPrefix(ev, "event: error\n"), "data: ")
				text := strings.TrimRight(data, "\n")
				if !json.Valid([]byte(text)) || strings.ContainsAny(text, "\r\n") {
					t.Errorf("%s: more or less than one event: %q", path, ev)
				}
			}
		}
	})
}
