package dialect

import (
	"bytes"
	"strings"
	"testing"
)

var chatChunk = []byte(`data: {"id":"chatcmpl-167","object":"chat.completion.chunk","created":1795438598,` +
	`"model":"vega-slow","system_fingerprint":"fp_ollama","choices":[{"index":0,` +
	`"delta":{"role":"assistant","content":" water"},"finish_reason":null}]}` + "\n\n")

var chatLast = []byte(`data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"created":1795438677,` +
	`"id":"chatcmpl-357r","model":"vega-tiny","object":"chat.completion.chunk",` +
	`"usage":{"completion_tokens":24,"prompt_tokens":14,"total_tokens":38}}` + "\n\n")

var ollamaLine = []byte(`{"model":"vega-slow","created_at":"2026-11-23T12:56:35.867734705Z",` +
	`"message":{"role":"assistant","content":" of"},"done":false}` + "\n")

var messagesDelta = []byte("event: content_block_delta\n" +
	`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" children"}}` + "\n\n")

var responsesDelta = []byte("event: response.output_text.delta\n" +
	`data: {"content_index":0,"delta":" woman","item_id":"msg_961095","logprobs":[],"output_index":0,` +
	`"sequence_number":78,"type":"response.output_text.delta"}` + "\n\n")

// steady are events of which a stream has thousands.
var steady = []struct {
	name    string
	path    string
	framing Framing
	event   []byte
}{
	{"chat", "/v1/chat/completions", FramingSSE, chatChunk},
	{"chat last", "/v1/chat/completions", FramingSSE, chatLast},
	{"ollama", "/api/chat", FramingNDJSON, ollamaLine},
	{"messages", "/v1/messages", FramingSSE, messagesDelta},
	{"responses", "/v1/responses", FramingSSE, responsesDelta},
	{"comment", "/v1/chat/completions", FramingSSE, []byte(":\n\n")},
	{"done", "/v1/chat/completions", FramingSSE, []byte("data: [DONE]\n\n")},
}

func BenchmarkEvent(b *testing.B) {
	for _, s := range steady {
		b.Run(s.name, func(b *testing.B) {
			var m Meter
			m.Reset(RouteOf("POST", s.path), s.framing)
			m.Event(s.event)
			b.ReportAllocs()
			b.SetBytes(int64(len(s.event)))
			for b.Loop() {
				m.Event(s.event)
			}
		})
	}
}

func BenchmarkWhole1KiB(b *testing.B) {
	body := []byte(`{"id":"chatcmpl-1","object":"chat.completion","model":"m","choices":[{"index":0,` +
		`"message":{"role":"assistant","content":"` + strings.Repeat("the sea is calm ", 50) + `"},` +
		`"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":5,"total_tokens":35}}`)
	var m Meter
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		m.Reset(RouteOf("POST", "/v1/chat/completions"), FramingJSON)
		m.Whole(body)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	rt := RouteOf("POST", "/v1/chat/completions")
	for _, size := range []struct {
		name  string
		turns int
	}{{"1KiB", 5}, {"64KiB", 400}} {
		body := chatRequest(size.turns)
		b.Run(size.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				ParseRequest(rt, body)
			}
		})
	}
}

// chatRequest is a conversation of so many turns, about 160 bytes each.
func chatRequest(turns int) []byte {
	turn := `{"role":"user","content":"` + strings.Repeat("Tell me about the sea. ", 6) + `"},`
	messages := bytes.Repeat([]byte(turn), turns)
	body := append([]byte(`{"model":"vega-tiny","temperature":0,"stream":true,"messages":[`), messages[:len(messages)-1]...)
	return append(body, `],"tools":[{"type":"function","function":{"name":"f","parameters":{"additionalProperties":false}}}]}`...)
}

func BenchmarkRouteOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		RouteOf("POST", "/api/chat")
	}
}
