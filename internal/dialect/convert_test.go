package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestConvertByHand(t *testing.T) {
	const head = `"id":"c1","created":1,"model":"m"`
	tests := []struct {
		name     string
		path     string
		from, to Framing
		usage    bool
		in, want string
	}{
		{"stream to document", chatPath, FramingSSE, FramingJSON, false,
			": hello\n\n" +
				`data: {"object":"chat.completion.chunk",` + head + `,"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}` + "\n\n" +
				`data: {"object":"chat.completion.chunk","id":"c1","created":2,"model":"m","choices":[{"index":0,"delta":{"content":"a\ud83d\ude00"},"logprobs":{"content":[{"token":"a"}],"refusal":null},"finish_reason":null}],"usage":null}` + "\r\n\r\n" +
				`data: {"object":"chat.completion.chunk",` + head + `,"choices":[{"index":0,"delta":{"content":"\n"},"logprobs":{"content":[{"token":"\n"}],"refusal":null},"finish_reason":"stop"}]}` + "\n\n" +
				`data: {"object":"chat.completion.chunk",` + head + `,"choices":[],"usage":{"total_tokens":3}}` + "\n\n" + "data: [DONE]\n\n",
			`{"object":"chat.completion",` + head + `,"choices":[{"index":0,"message":{"role":"assistant","content":"a\ud83d\ude00\n"},` +
				`"logprobs":{"content":[{"token":"a"},{"token":"\n"}],"refusal":null},"finish_reason":"stop"}],"usage":{"total_tokens":3}}`},
		{"document to stream", chatPath, FramingJSON, FramingSSE, true,
			`{` + head + `,"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"annotations":[],` +
				`"tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"total_tokens":3}}`,
			`data: {"object":"chat.completion.chunk",` + head + `,"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				`data: {"object":"chat.completion.chunk",` + head + `,"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}` + "\n\n" +
				`data: {"object":"chat.completion.chunk",` + head + `,"choices":[],"usage":{"total_tokens":3}}` + "\n\n" + "data: [DONE]\n\n"},
		{"without usage", chatPath, FramingSSE, FramingSSE, false,
			`data: {` + head + `,"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}` + "\n\n" +
				`data: {` + head + `,"choices":[],"usage":{"total_tokens":3}}` + "\n\n" + "data: [DONE]\n\n",
			`data: {` + head + `,"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}` + "\n\n" + "data: [DONE]\n\n"},
		{"lines to document", "/api/chat", FramingNDJSON, FramingJSON, false,
			`{"model":"m","created_at":"1","message":{"role":"assistant","content":"a","thinking":"x"},"done":false}` + "\n" +
				`{"model":"m","created_at":"2","message":{"role":"assistant","content":"b","thinking":"y"},"done":false}` + "\n" +
				`{"model":"m","created_at":"3","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":2}`,
			`{"model":"m","created_at":"3","message":{"role":"assistant","content":"ab","thinking":"xy"},"done":true,"done_reason":"stop","eval_count":2}`},
		{"document to lines", "/api/generate", FramingJSON, FramingNDJSON, false,
			`{"model":"m","created_at":"3","response":"ab","done":true,"done_reason":"stop","context":[1,2]}`,
			`{"model":"m","created_at":"3","response":"ab","done":false}` + "\n" +
				`{"model":"m","created_at":"3","response":"","done":true,"done_reason":"stop","context":[1,2]}` + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Convert(RouteOf("POST", tt.path), tt.from, tt.to, []byte(tt.in), tt.usage)
			if !ok || string(got) != tt.want {
				t.Errorf("%v\n got %s\nwant %s", ok, got, tt.want)
			}
		})
	}
}

func TestConvertSaysNo(t *testing.T) {
	chunk := func(members string) string {
		return `data: {"id":"c","object":"chat.completion.chunk","model":"m"` + members + "}\n\n"
	}
	const said = `,"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]`
	const counts = `,"usage":{"total_tokens":1}`
	const done = "data: [DONE]\n\n"
	streams := map[string]string{
		"no usage":            chunk(said) + done,
		"usage null":          chunk(said+`,"usage":null`) + done,
		"no finish reason":    chunk(`,"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]`+counts) + done,
		"a choice unfinished": chunk(`,"choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{}}]`+counts) + done,
		"a choice missing":    chunk(`,"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]`+counts) + done,
		"unknown member":      chunk(said+counts+`,"x":1`) + done,
		"unknown in choice":   chunk(`,"choices":[{"index":0,"delta":{},"finish_reason":"stop","x":1}]`+counts) + done,
		"unknown in delta":    chunk(`,"choices":[{"index":0,"delta":{"audio":{"data":"a"}},"finish_reason":"stop"}]`+counts) + done,
		"unknown in call":     chunk(`,"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"x":1}]},"finish_reason":"stop"}]`+counts) + done,
		"calls not numbered":  chunk(`,"choices":[{"index":0,"delta":{"tool_calls":[{"id":"t"}]},"finish_reason":"stop"}]`+counts) + done,
		"two names":           chunk(`,"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"a"}},{"index":0,"function":{"name":"b"}}]},"finish_reason":"stop"}]`+counts) + done,
		"content as parts":    chunk(`,"choices":[{"index":0,"delta":{"content":[{"type":"text"}]},"finish_reason":"stop"}]`+counts) + done,
		"error":               chunk(said+counts) + `data: {"error":{"message":"x"}}` + "\n\n" + done,
		"named event":         "event: x\n" + chunk(said+counts) + done,
		"text":                chunk(said+counts) + "data: hello\n\n" + done,
		"behind the end":      done + chunk(said+counts),
		"duplicate members":   chunk(said+counts+counts) + done,
		"two models":          chunk(said+counts) + strings.Replace(chunk(""), `"m"`, `"n"`, 1) + done,
		"nothing":             "",
	}
	for name, in := range streams {
		if got, ok := Convert(chatRoute, FramingSSE, FramingJSON, []byte(in), false); ok {
			t.Errorf("stream, %s: %s", name, got)
		}
	}
	for name, in := range map[string]string{
		"counts beside text": chunk(said+counts) + done,
		"no counts":          chunk(said) + done,
		"no end":             chunk(said) + chunk(`,"choices":[]`+counts),
		"more with counts":   chunk(said) + chunk(`,"choices":[]`+counts+`,"timings":{}`) + done,
	} {
		if got, ok := Convert(chatRoute, FramingSSE, FramingSSE, []byte(in), false); ok {
			t.Errorf("without usage, %s: %s", name, got)
		}
	}
	const answer = `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}`
	if _, ok := Convert(chatRoute, FramingJSON, FramingSSE, []byte(answer), true); ok {
		t.Error("counts were made up")
	}
	if _, ok := Convert(chatRoute, FramingSSE, FramingSSE, []byte(chunk(said)+done), true); ok {
		t.Error("counts were made up for a stream")
	}
	for name, in := range map[string]string{
		"no end":            `{"model":"m","message":{"content":"a"},"done":false}`,
		"behind the end":    `{"model":"m","message":{"content":"a"},"done":true}` + "\n" + `{"model":"m","done":true}`,
		"error":             `{"model":"m","message":{"content":"a"},"done":false}` + "\n" + `{"error":"x"}`,
		"images":            `{"model":"m","message":{"content":"a","images":["x"]},"done":true}`,
		"unknown":           `{"model":"m","message":{"content":"a"},"done":true,"x":1}`,
		"two models":        `{"model":"m","done":false}` + "\n" + `{"model":"n","done":true}`,
		"counts before end": `{"model":"m","eval_count":1,"done":false}` + "\n" + `{"model":"m","done":true}`,
		"no JSON":           `{"model":"m","done":true`,
	} {
		if got, ok := Convert(ollamaRoute, FramingNDJSON, FramingJSON, []byte(in), false); ok {
			t.Errorf("lines, %s: %s", name, got)
		}
	}
	for _, path := range []string{responsesPath, messagesPath, "/v1/embeddings"} {
		for _, f := range []Framing{FramingSSE, FramingJSON} {
			if _, ok := Convert(RouteOf("POST", path), f, FramingJSON+FramingSSE-f, []byte(answer), false); ok {
				t.Errorf("%s was converted", path)
			}
		}
	}
}

// typed is what an SDK makes of an answer: of a stream, all its pieces put
// together. It knows nothing of Convert. What only names the moment is left out.
func typed(t *testing.T, op Op, f Framing, body []byte) map[string]any {
	t.Helper()
	decode := func(text []byte) (doc map[string]any) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&doc); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return doc
	}
	var docs []map[string]any
	switch f {
	case FramingSSE:
		for line := range strings.Lines(string(body)) {
			if text, ok := strings.CutPrefix(line, "data: "); ok && !strings.HasPrefix(text, "[DONE]") {
				docs = append(docs, decode([]byte(text)))
			}
		}
	case FramingNDJSON:
		for line := range bytes.Lines(body) {
			docs = append(docs, decode(line))
		}
	default:
		docs = append(docs, decode(body))
	}
	all := map[string]any{}
	for _, doc := range docs {
		delete(doc, "object")
		delete(doc, "created_at")
		delete(doc, "done")
		choices, _ := doc["choices"].([]any)
		delete(doc, "choices")
		merge(all, doc)
		for _, c := range choices {
			c := c.(map[string]any)
			said, _ := c["delta"].(map[string]any)
			if said == nil {
				said, _ = c["message"].(map[string]any)
			}
			delete(c, "delta")
			delete(c, "message")
			key := fmt.Sprintf("choice %v", c["index"])
			delete(c, "index")
			if all[key] == nil {
				all[key] = map[string]any{}
			}
			calls, _ := said["tool_calls"].([]any)
			delete(said, "tool_calls")
			merge(all[key].(map[string]any), c)
			merge(all[key].(map[string]any), said)
			for i, call := range calls {
				call := call.(map[string]any)
				n := call["index"]
				if n == nil {
					n = i
				}
				delete(call, "index")
				key := fmt.Sprintf("%s call %v", key, n)
				if all[key] == nil {
					all[key] = map[string]any{}
				}
				merge(all[key].(map[string]any), call)
			}
		}
	}
	return all
}

// merge adds texts and lists at their ends, and replaces the rest. Null and an
// empty text are as good as nothing.
func merge(to, from map[string]any) {
	for name, v := range from {
		if v == nil || v == "" {
			continue
		}
		switch old := to[name].(type) {
		case string:
			if slices.Contains([]string{"content", "reasoning", "reasoning_content", "refusal", "text", "thinking", "response", "arguments"}, name) {
				to[name] = old + v.(string)
			} else {
				to[name] = v
			}
		case []any:
			to[name] = append(old, v.([]any)...)
		case map[string]any:
			if name == "usage" || name == "timings" {
				to[name] = v
			} else {
				merge(old, v.(map[string]any))
			}
		default:
			if list, ok := v.([]any); ok && len(list) == 0 {
				continue
			}
			to[name] = v
		}
	}
}

// TestConvertRecorded: what real servers answered means the same in the other form.
func TestConvertRecorded(t *testing.T) {
	converted := map[string]int{}
	for _, f := range fixtures(t) {
		if f.status != 200 || f.cut {
			continue
		}
		framing := f.framing
		var whole, stream Framing = FramingJSON, FramingSSE
		switch f.route.Op {
		case OpChat, OpCompletions:
		case OpOllamaChat, OpOllamaGenerate:
			stream = FramingNDJSON
		default:
			continue
		}
		to := whole
		if framing == whole {
			to = stream
		}
		_, sum := meter(f)
		got, ok := Convert(f.route, framing, to, f.body, true)
		if ok && !sum.Complete {
			t.Errorf("%s was converted and is not complete", f.name)
		}
		want := sum.Complete && (to == stream || stream == FramingNDJSON || sum.Usage.Known)
		if ok != want {
			t.Errorf("%s: converted %v, want %v", f.name, ok, want)
		}
		if !ok {
			continue
		}
		converted[fmt.Sprint(f.route.Op, to)]++
		before, after := typed(t, f.route.Op, framing, f.body), typed(t, f.route.Op, to, got)
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s:\nbefore %v\n after %v\n%s", f.name, before, after, got)
		}
		var m Meter
		m.Reset(f.route, to)
		if to == whole {
			m.Whole(got)
		} else {
			for _, ev := range split(to, got) {
				m.Event(ev)
			}
		}
		if s := m.Summary(); !s.Complete || s.Usage != sum.Usage || s.FinishReason != sum.FinishReason || s.Model != sum.Model {
			t.Errorf("%s: %+v became %+v", f.name, sum, s)
		}
		// And there and back again.
		back, ok := Convert(f.route, to, framing, got, true)
		if !ok || !reflect.DeepEqual(typed(t, f.route.Op, framing, back), before) {
			t.Errorf("%s: back again, %v:\n%s", f.name, ok, back)
		}
	}
	for _, op := range []Op{OpChat, OpCompletions} {
		if converted[fmt.Sprint(op, FramingJSON)] < 3 || converted[fmt.Sprint(op, FramingSSE)] < 3 {
			t.Errorf("%v: converted %v", op, converted)
		}
	}
	if converted[fmt.Sprint(OpOllamaChat, FramingJSON)] < 3 || converted[fmt.Sprint(OpOllamaGenerate, FramingNDJSON)] < 3 {
		t.Errorf("converted %v", converted)
	}
}

func TestWithoutUsageRecorded(t *testing.T) {
	n := 0
	for _, f := range fixtures(t) {
		if f.status != 200 || f.framing != FramingSSE || f.route.Op != OpChat {
			continue
		}
		got, ok := Convert(f.route, FramingSSE, FramingSSE, f.body, false)
		if !ok {
			continue
		}
		n++
		if !bytes.HasPrefix(f.body, got[:len(got)-len("data: [DONE]\n\n")]) || bytes.Contains(got, []byte(`"usage":{`)) {
			t.Errorf("%s: %s", f.name, got)
		}
	}
	if n < 2 {
		t.Errorf("%d streams had counts to drop", n)
	}
}

func TestCallsTools(t *testing.T) {
	n := 0
	for _, f := range fixtures(t) {
		if f.status != 200 || f.route.Kind != KindGenerate {
			continue
		}
		asked := strings.Contains(f.name, "tools")
		if got := CallsTools(f.framing, f.body); got != asked {
			t.Errorf("%s: %v", f.name, got)
		}
		if asked {
			n++
		}
	}
	if n < 10 {
		t.Errorf("%d answers call tools", n)
	}
	for in, want := range map[string]bool{
		`{"choices":[{"message":{"content":"\"tool_calls\":[1]","tool_calls":[]}}]}`: false,
		`{"choices":[{"message":{"tool_calls":null,"function_call" : null}}]}`:       false,
		`{"output":[{"type":"function_call","name":"f"}]}`:                           true,
		`{"message":{"tool_calls":[ {"function":{}}]}}`:                              true,
	} {
		if got := CallsTools(FramingJSON, []byte(in)); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// FuzzConvert: nothing makes it fail, and what it makes is valid and can be
// converted back.
func FuzzConvert(f *testing.F) {
	for _, r := range fixtures(f) {
		if r.status == 200 && len(r.body) < 4<<10 && r.route.Kind == KindGenerate {
			f.Add(r.body)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, path := range []string{chatPath, "/v1/completions", "/api/chat", "/api/generate"} {
			rt := RouteOf("POST", path)
			stream := FramingSSE
			if rt.Dialect == Ollama {
				stream = FramingNDJSON
			}
			Convert(rt, stream, stream, in, false)
			if whole, ok := Convert(rt, stream, FramingJSON, in, true); ok {
				if !json.Valid(whole) {
					t.Errorf("%s: %q became %q", path, in, whole)
				}
				if _, ok := Convert(rt, FramingJSON, stream, whole, true); !ok {
					t.Errorf("%s: %q has no way back", path, whole)
				}
			}
			if events, ok := Convert(rt, FramingJSON, stream, in, true); ok {
				if _, ok := Convert(rt, stream, FramingJSON, events, true); !ok {
					t.Errorf("%s: %q has no way back", path, events)
				}
			}
		}
		CallsTools(FramingSSE, in)
	})
}
