package dialect

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// said is what a reader who takes his time finds in an answer: by encoding/json,
// document by document.
type said struct {
	text, reasoning string
	calls           []string // names
}

// TestReadAnswerOfRecordings holds what is read from every recorded answer
// against what such a reader finds.
func TestReadAnswerOfRecordings(t *testing.T) {
	seen := 0
	for _, f := range fixtures(t) {
		if f.route.Kind != KindGenerate || f.status != 200 {
			continue
		}
		seen++
		want := carefully(f)
		got := ReadAnswer(f.route, f.framing, f.body)
		if got.Text != want.text {
			t.Errorf("%s: text\n got %q\nwant %q", f.name, got.Text, want.text)
		}
		if got.Reasoning != want.reasoning {
			t.Errorf("%s: reasoning\n got %q\nwant %q", f.name, got.Reasoning, want.reasoning)
		}
		var calls []struct {
			Name      string
			Arguments map[string]any
		}
		if got.ToolCalls != nil {
			if err := json.Unmarshal(got.ToolCalls, &calls); err != nil {
				t.Errorf("%s: tool calls %s: %v", f.name, got.ToolCalls, err)
			}
		}
		var names []string
		for _, c := range calls {
			names = append(names, c.Name)
		}
		if strings.Join(names, " ") != strings.Join(want.calls, " ") {
			t.Errorf("%s: calls of %q, want %q", f.name, names, want.calls)
		}
		if _, s := meter(f); got.Summary != s {
			t.Errorf("%s: summary\n got %+v\nwant %+v", f.name, got.Summary, s)
		}
		if strings.HasSuffix(f.name, "n2") && f.route.Op == OpChat && strings.HasPrefix(f.name, "llama-server/") && got.Choices == nil {
			t.Errorf("%s: there are no choices", f.name)
		}
	}
	if seen < 80 {
		t.Fatalf("only %d recorded answers", seen)
	}
}

func carefully(f fixture) (s said) {
	var documents [][]byte
	switch f.framing {
	case FramingSSE:
		for _, ev := range split(f.framing, f.body) {
			for line := range strings.Lines(string(ev)) {
				if data, ok := strings.CutPrefix(line, "data:"); ok {
					documents = append(documents, []byte(data))
				}
			}
		}
	case FramingNDJSON:
		documents = bytes.Split(f.body, []byte("\n"))
	default:
		documents = [][]byte{f.body}
	}
	for _, d := range documents {
		var m map[string]any
		if json.Unmarshal(d, &m) == nil {
			s.read(f.route.Op, m)
		}
	}
	return s
}

func (s *said) read(op Op, m map[string]any) {
	switch op {
	case OpChat, OpCompletions:
		for _, c := range list(m["choices"]) {
			if number(c["index"]) != 0 {
				continue
			}
			s.text += str(c["text"])
			s.message(object(c["delta"]))
			s.message(object(c["message"]))
		}
	case OpOllamaChat, OpOllamaGenerate:
		s.text += str(m["response"])
		s.reasoning += str(m["thinking"])
		s.message(object(m["message"]))
	case OpMessages:
		for _, b := range append(list(m["content"]), object(m["content_block"]), object(m["delta"])) {
			s.text += str(b["text"])
			s.reasoning += str(b["thinking"])
			if b["type"] == "tool_use" {
				s.calls = append(s.calls, str(b["name"]))
			}
		}
	case OpResponses:
		switch m["type"] {
		case "response.output_text.delta":
			s.text += str(m["delta"])
		case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
			s.reasoning += str(m["delta"])
		case "response.output_item.done":
			if item := object(m["item"]); item["type"] == "function_call" {
				s.calls = append(s.calls, str(item["name"]))
			}
		case nil:
			for _, item := range list(m["output"]) {
				for _, part := range list(item["content"]) {
					if item["type"] == "message" {
						s.text += str(part["text"])
					} else {
						s.reasoning += str(part["text"])
					}
				}
				for _, part := range list(item["summary"]) {
					s.reasoning += str(part["text"])
				}
				if item["type"] == "function_call" {
					s.calls = append(s.calls, str(item["name"]))
				}
			}
		}
	}
}

func (s *said) message(m map[string]any) {
	s.text += str(m["content"])
	reasoning := str(m["reasoning"]) + str(m["thinking"])
	if reasoning == "" {
		reasoning = str(m["reasoning_content"])
	}
	s.reasoning += reasoning
	for _, call := range list(m["tool_calls"]) {
		if name := str(object(call["function"])["name"]); name != "" {
			s.calls = append(s.calls, name)
		}
	}
}

func str(v any) string            { s, _ := v.(string); return s }
func number(v any) float64        { n, _ := v.(float64); return n }
func object(v any) map[string]any { m, _ := v.(map[string]any); return m }
func list(v any) (all []map[string]any) {
	items, _ := v.([]any)
	for _, item := range items {
		all = append(all, object(item))
	}
	return all
}

func TestReadAnswer(t *testing.T) {
	chat := Route{Dialect: OpenAI, Kind: KindGenerate, Op: OpChat}
	messages := Route{Dialect: Anthropic, Kind: KindGenerate, Op: OpMessages}
	responses := Route{Dialect: OpenAI, Kind: KindGenerate, Op: OpResponses}
	ollama := Route{Dialect: Ollama, Kind: KindGenerate, Op: OpOllamaChat}
	tests := []struct {
		name    string
		route   Route
		framing Framing
		body    string
		want    Answer // but for the summary
	}{
		{"cut in the middle of an event", chat, FramingSSE,
			`data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}` + "\n\n" +
				`data: {"choices":[{"index":0,"delta":{"content":"lo"}}]}` + "\n\n" + `data: {"choi`,
			Answer{Text: "Hello"}},
		{"a character split into halves of a pair", chat, FramingSSE,
			`data: {"choices":[{"delta":{"content":"\ud83d"}}]}` + "\n\n" + `data: {"choices":[{"delta":{"content":"\ude00!"}}]}` + "\n\n",
			Answer{Text: "😀!"}},
		{"a character split into bytes", chat, FramingSSE,
			"data: {\"choices\":[{\"delta\":{\"content\":\"\xf0\x9f\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\x98\x80\"}}]}\n\n",
			Answer{Text: "😀"}},
		{"half a pair", chat, FramingJSON, `{"choices":[{"message":{"content":"a\ud83db"}}]}`, Answer{Text: "a\uFFFDb"}},
		{"all escapes", chat, FramingJSON, `{"choices":[{"message":{"content":"\"\\\/\b\f\n\r\t\u00e9\u0000"}}]}`,
			Answer{Text: "\"\\/\b\f\n\r\té\x00"}},
		{"an event in several lines, CRLF", chat, FramingSSE,
			"\ufeffevent: x\r\ndata: {\"choices\":[{\"delta\":\r\ndata: {\"content\":\r\ndata: \"ok\"}}]}\r\n\r\n", Answer{Text: "ok"}},
		{"parts of content, refusal, both names of reasoning", chat, FramingJSON,
			`{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"refusal":"no","reasoning":"r","reasoning_content":"r"}}]}`,
			Answer{Text: "abno", Reasoning: "r"}},
		{"choices, the index behind", chat, FramingSSE,
			`data: {"choices":[{"delta":{"content":"B"},"index":1},{"delta":{"content":"A"},"index":0}]}` + "\n\n" +
				`data: {"choices":[{"delta":{"content":"b"},"index":1}]}` + "\n\n",
			Answer{Text: "A", Choices: []byte(`[{"index":0,"text":"A"},{"index":1,"text":"Bb"}]`)}},
		{"tool calls in pieces", chat, FramingSSE,
			`data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":""}}]}}]}` + "\n\n" +
				`data: {"choices":[{"delta":{"tool_calls":[{"index":1,"id":"c2","function":{"name":"g","arguments":"{\"b\""}}]}}]}` + "\n\n" +
				`data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\": 1}"}}]}}]}` + "\n\n",
			Answer{ToolCalls: []byte(`[{"id":"c1","name":"f","arguments":{"a":1}},{"id":"c2","name":"g","arguments":"{\"b\""}]`)}},
		{"the older function call", chat, FramingJSON, `{"choices":[{"message":{"content":null,"function_call":{"name":"f","arguments":"{}"}}}]}`,
			Answer{ToolCalls: []byte(`[{"name":"f","arguments":{}}]`)}},
		{"Ollama's calls, numbered anew in each line", ollama, FramingNDJSON,
			`{"message":{"content":"a","tool_calls":[{"function":{"index":0,"name":"f","arguments":{"x":1}}}]}}` + "\n" +
				`{"message":{"thinking":"t","tool_calls":[{"function":{"index":0,"name":"f","arguments":{"x":2}}}]}}` + "\n",
			Answer{Text: "a", Reasoning: "t", ToolCalls: []byte(`[{"name":"f","arguments":{"x":1}},{"name":"f","arguments":{"x":2}}]`)}},
		{"blocks of a message", messages, FramingSSE,
			"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" +
				`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}` + "\n\n" +
				`data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}` + "\n\n" +
				`data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}` + "\n\n" +
				`data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"2}"}}` + "\n\n",
			Answer{Text: "Hi", ToolCalls: []byte(`[{"id":"t1","name":"f","arguments":{"a":2}}]`)}},
		{"responses with calls", responses, FramingSSE,
			`data: {"type":"response.output_text.delta","output_index":0,"delta":"Hi"}` + "\n\n" +
				`data: {"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f","arguments":""}}` + "\n\n" +
				`data: {"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"a\":"}` + "\n\n" +
				`data: {"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}}` + "\n\n" +
				`data: {"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]}}` + "\n\n",
			Answer{Text: "Hi", ToolCalls: []byte(`[{"id":"c","name":"f","arguments":{"a":1}}]`)}},
		{"responses whose end says all", responses, FramingSSE,
			`data: {"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]}}` + "\n\n",
			Answer{Text: "Hi"}},
		{"an embedding", Route{Dialect: OpenAI, Kind: KindEmbed, Op: OpEmbeddings}, FramingJSON, `{"data":[{"embedding":[1,2]}]}`, Answer{}},
		{"no JSON", chat, FramingJSON, `<html>`, Answer{}},
		{"nothing", chat, FramingSSE, "", Answer{}},
	}
	for _, tt := range tests {
		got := ReadAnswer(tt.route, tt.framing, []byte(tt.body))
		if got.Text != tt.want.Text || got.Reasoning != tt.want.Reasoning ||
			string(got.ToolCalls) != string(tt.want.ToolCalls) || string(got.Choices) != string(tt.want.Choices) {
			t.Errorf("%s:\n got %q %q %s %s\nwant %q %q %s %s", tt.name, got.Text, got.Reasoning, got.ToolCalls, got.Choices,
				tt.want.Text, tt.want.Reasoning, tt.want.ToolCalls, tt.want.Choices)
		}
	}
}

// FuzzReadAnswer: whatever the bytes, what comes out is valid, and the same for
// any cut as long as events are whole.
func FuzzReadAnswer(f *testing.F) {
	for _, fx := range fixtures(f) {
		if fx.route.Kind == KindGenerate && len(fx.body) < 4000 {
			f.Add(uint8(fx.route.Op), uint8(fx.framing), fx.body)
		}
	}
	f.Add(uint8(OpChat), uint8(FramingSSE), []byte(`data: {"choices":[{"delta":{"content":"\ud83d\uZZ\"`))
	f.Fuzz(func(t *testing.T, op, framing uint8, body []byte) {
		rt := Route{Dialect: OpenAI, Kind: KindGenerate, Op: Op(op % 11)}
		a := ReadAnswer(rt, Framing(framing%4), body)
		if valid(a.Text) != a.Text || valid(a.Reasoning) != a.Reasoning {
			t.Errorf("invalid text %q, %q", a.Text, a.Reasoning)
		}
		for _, value := range [][]byte{a.ToolCalls, a.Choices} {
			if value != nil && !json.Valid(value) {
				t.Errorf("no JSON: %s", value)
			}
		}
	})
}

// BenchmarkReadAnswer is a streamed answer of 1 KiB of text.
func BenchmarkReadAnswer(b *testing.B) {
	rt := Route{Dialect: OpenAI, Kind: KindGenerate, Op: OpChat}
	body := bytes.Repeat([]byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}`+"\n\n"), 200)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		ReadAnswer(rt, FramingSSE, body)
	}
}
