package dialect

import (
	"bytes"
	"encoding/json"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
)

func FuzzMeter(f *testing.F) {
	f.Add([]byte(chatChunk), uint16(5))
	f.Add([]byte(chatLast), uint16(40))
	f.Add([]byte(ollamaLine), uint16(3))
	f.Add([]byte("event: error\r\ndata: {\"type\":\"error\"}\r\n\r\n"), uint16(9))
	f.Add([]byte("data: {\"type\":\"message_stop\"}\n\n"), uint16(0))
	f.Add([]byte("error: {\"message\":\"x\\ud800\"}\n\n"), uint16(1))
	f.Add([]byte("data:{\ndata:}\n\ndata"), uint16(1))
	f.Fuzz(func(t *testing.T, in []byte, at uint16) {
		split := min(int(at), len(in))
		for _, path := range []string{chatPath, "/v1/completions", responsesPath, messagesPath, "/api/chat", "/api/generate", "/v1/embeddings", "/api/embed"} {
			for _, framing := range []Framing{FramingSSE, FramingNDJSON} {
				var m Meter
				m.Reset(RouteOf("POST", path), framing)
				m.Event(in[:split])
				m.Event(in[split:])
				m.Event(in)
				m.Whole(in)
				s := m.Summary()
				if s.Complete && s.HasError {
					t.Errorf("%s: complete with an error", path)
				}
				if len(s.Error) > maxError || len(s.Model) > maxModel || len(s.FinishReason) > maxReason {
					t.Errorf("%s: keeps too much", path)
				}
			}
		}
		BlameOf(OpenAI, 500, in)
		SessionInBody(in)
		ModelOf(in)
	})
}

// FuzzWholeAgreesWithJSON: whether a chat answer is complete is what a strict
// decoder makes of it.
func FuzzWholeAgreesWithJSON(f *testing.F) {
	f.Add([]byte(`{"model":"m","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}`))
	f.Add([]byte(`{"choices":[{"index":1,"finish_reason":null},{"index":0,"finish_reason":"\u0073top"},null]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var answer struct {
			Choices []*struct {
				Index  uint8  `json:"index"`
				Reason string `json:"finish_reason"`
			} `json:"choices"`
			Error  any `json:"error"`
			Type   any `json:"type"`
			Object any `json:"object"`
		}
		if jsonv2.Unmarshal(in, &answer) != nil || answer.Error != nil || answer.Type != nil || answer.Object != nil ||
			bytes.Contains(in, []byte(`\u`)) {
			return // escaped names are not looked for
		}
		seen, finished := map[uint8]bool{}, map[uint8]bool{}
		for _, c := range answer.Choices {
			if c == nil {
				continue
			}
			if c.Index >= maxChoice || c.Reason == "abort" || c.Reason == "error" {
				return
			}
			seen[c.Index] = true
			if c.Reason != "" {
				finished[c.Index] = true
			}
		}
		want := len(seen) > 0 && len(finished) == len(seen)
		var m Meter
		m.Reset(RouteOf("POST", chatPath), FramingJSON)
		m.Whole(in)
		if got := m.Summary(); got.Complete != want {
			t.Errorf("%s: complete is %v, want %v", in, got.Complete, want)
		}
	})
}

// FuzzParseRequest: on what encoding/json accepts, which is what Ollama runs on,
// model and stream are what it makes of them.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m","stream":true}`))
	f.Add([]byte(`{"Model":"a","STREAM":false,"model":"b","stream":null}`))
	f.Add([]byte("{\"\u017ftream\":true,\"model\":\"\xff\\ud800\\ud83d\\ude00\",\"m\\u006fdel\":null}"))
	f.Add([]byte(`{"a":{"b":[{"c":1,"C":2}]},"model":"\"x\""} `))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, path := range []string{"/api/chat", chatPath} {
			rt := RouteOf("POST", path)
			got := ParseRequest(rt, in)
			var model string
			stream := rt.StreamDefault
			if rt.Dialect == Ollama {
				var want struct {
					Model  string
					Stream *bool
				}
				if json.Unmarshal(in, &want) != nil {
					return
				}
				model = want.Model
				if want.Stream != nil {
					stream = *want.Stream
				}
			} else {
				var want struct {
					Model  string
					Stream bool
				}
				if json.Unmarshal(in, &want) != nil {
					return
				}
				model, stream = want.Model, want.Stream
			}
			if got.Model != clip(model, maxModel) || got.Stream != stream {
				t.Errorf("%s %q: got %q, %v, want %q, %v", path, in, got.Model, got.Stream, model, stream)
			}
			if _, err := ReadFields(rt, in); (err == nil) != got.Object {
				t.Errorf("%q: object is %v, but the fields: %v", in, got.Object, err)
			}
		}
	})
}
