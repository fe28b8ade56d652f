package dialect

import (
	"encoding/json"
	"testing"
)

func TestReadFields(t *testing.T) {
	tests := []struct {
		name, path, body                           string
		model, prompt, system, suffix, msgs, input string
		params                                     string
	}{
		{name: "chat", path: chatPath,
			body: `{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},` +
				`{"role":"user","content":[{"type":"text","text":"c"},{"type":"image_url","image_url":{"url":"data:"}},{"type":"text","text":"d"}]}],` +
				`"temperature":0.70,"top_p":1,"max_tokens":5,"max_completion_tokens":6,"stop":["x"],"reasoning_effort":"low","seed":9007199254740993,"n":null,"user":"u","tools":[{}]}`,
			model: "m", prompt: "c\nd",
			msgs: `[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},` +
				`{"role":"user","content":[{"type":"text","text":"c"},{"type":"image_url","image_url":{"url":"data:"}},{"type":"text","text":"d"}]}]`,
			params: `{"temperature":0.70,"top_p":1,"max_tokens":6,"stop":["x"],"reasoning":"low","seed":9007199254740993}`},
		{name: "the new limit first", path: chatPath, body: `{"max_completion_tokens":6,"max_tokens":5}`, params: `{"max_tokens":6}`},
		{name: "completions", path: "/v1/completions", body: `{"model":"m","prompt":"p\u00e9","suffix":"s","max_tokens":1}`,
			model: "m", prompt: "pé", suffix: "s", params: `{"max_tokens":1}`},
		{name: "list of prompts", path: "/v1/completions", body: `{"prompt":["a","b"]}`, prompt: "a\nb"},
		{name: "tokens", path: "/v1/completions", body: `{"prompt":[1,2]}`, prompt: "[1,2]"},
		{name: "responses, text", path: responsesPath, body: `{"model":"m","input":"p","instructions":"i","max_output_tokens":3,"reasoning":{"effort": "low"}}`,
			model: "m", prompt: "p", system: "i", params: `{"max_tokens":3,"reasoning":{"effort":"low"}}`},
		{name: "responses, items", path: responsesPath,
			body: `{"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"function_call_output","output":"x"}],"prompt":{"id":"p"}}`, prompt: "a",
			msgs: `[{"role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"function_call_output","output":"x"}]`},
		{name: "messages", path: messagesPath,
			body: `{"model":"m","system":[{"type":"text","text":"s"},{"type":"text","text":"t"}],"messages":[{"role":"user","content":"a"},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"x"}]}],"max_tokens":9,"stop_sequences":["z"],"thinking":{"type":"enabled"}}`,
			model: "m", prompt: "a", system: "s\nt",
			msgs:   `[{"role":"user","content":"a"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"x"}]}]`,
			params: `{"max_tokens":9,"stop":["z"],"reasoning":{"type":"enabled"}}`},
		{name: "ollama chat", path: "/api/chat",
			body:  `{"Model":"m","messages":[{"role":"user","content":"a","images":["AA"]}],"options":{"temperature":0,"num_predict":7,"unknown":1},"think":true,"stream":false}`,
			model: "m", prompt: "a", msgs: `[{"role":"user","content":"a","images":["AA"]}]`,
			params: `{"temperature":0,"max_tokens":7,"reasoning":true,"stream":false}`},
		{name: "ollama generate", path: "/api/generate", body: `{"model":"m","system":"s","prompt":"p","suffix":"x","template":"t","context":[1],"raw":true}`,
			model: "m", prompt: "p", system: "s", suffix: "x", params: `{"raw":true}`},
		{name: "embeddings", path: "/v1/embeddings", body: `{"model":"m","input":["a","b"],"dimensions":16}`,
			model: "m", prompt: "a\nb", input: `["a","b"]`, params: `{"dimensions":16}`},
		{name: "embed", path: "/api/embed", body: `{"model":"m","input":"a"}`, model: "m", prompt: "a", input: `"a"`},
		{name: "older embeddings", path: "/api/embeddings", body: `{"model":"m","prompt":"a"}`, model: "m", prompt: "a", input: `"a"`},
		{name: "last wins", path: chatPath, body: `{"model":"a","model":"b","temperature":0,"temperature":1}`, model: "b", params: `{"temperature":1}`},
		{name: "wrong types", path: chatPath, body: `{"model":1,"messages":"x","prompt":{}}`, msgs: `"x"`},
		{name: "nothing", path: chatPath, body: `{}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(tt.body)
			f, err := ReadFields(RouteOf("POST", tt.path), body)
			if err != nil {
				t.Fatal(err)
			}
			messages, input := string(f.Messages), string(f.Input)
			clear(body) // of which the rest must be no part
			for _, c := range []struct{ what, got, want string }{
				{"model", f.Model, tt.model}, {"prompt", f.Prompt, tt.prompt}, {"system", f.System, tt.system},
				{"suffix", f.Suffix, tt.suffix}, {"messages", messages, tt.msgs},
				{"input", input, tt.input}, {"params", string(f.Params), tt.params},
			} {
				if c.got != c.want {
					t.Errorf("%s:\n got %s\nwant %s", c.what, c.got, c.want)
				}
			}
		})
	}
}

func TestReadFieldsRefuses(t *testing.T) {
	chat := RouteOf("POST", chatPath)
	for _, body := range []string{"", "[]", `"x"`, `{"model":`, `{} {}`, "x"} {
		if _, err := ReadFields(chat, []byte(body)); err == nil {
			t.Errorf("%q: no error", body)
		}
	}
	if _, err := ReadFields(RouteOf("POST", "/api/pull"), []byte(`{}`)); err == nil {
		t.Error("a pull has fields")
	}
}

// TestReadFieldsOfRecordings: every recorded generation names its model, and
// what is JSON is valid JSON.
func TestReadFieldsOfRecordings(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.route.Kind != KindGenerate && f.route.Kind != KindEmbed || f.status != 200 {
			continue
		}
		got, err := ReadFields(f.route, f.request)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		for what, text := range map[string][]byte{"messages": got.Messages, "input": got.Input, "params": got.Params} {
			if text != nil && !json.Valid(text) {
				t.Errorf("%s: %s are no JSON: %s", f.name, what, text)
			}
		}
		r := ParseRequest(f.route, f.request)
		if got.Model != r.Model || f.route.Kind == KindGenerate && got.Prompt == "" && got.Messages == nil && !r.Load {
			t.Errorf("%s: got %+v", f.name, got)
		}
	}
}
