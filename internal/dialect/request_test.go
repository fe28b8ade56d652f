package dialect

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseRequest(t *testing.T) {
	const (
		chat      = "/v1/chat/completions"
		responses = "/v1/responses"
		messages  = "/v1/messages"
		ollama    = "/api/chat"
		generate  = "/api/generate"
	)
	tests := []struct {
		name, path, body string
		want             Request
	}{
		{"plain", chat, `{"model":"m","messages":[{"role":"user","content":"x"}]}`, Request{Object: true, Model: "m"}},
		{"stream", chat, `{"model":"m","stream":true}`, Request{Object: true, Model: "m", Stream: true}},
		{"spaces", chat, " {\n\"model\" : \"m\" , \"stream\" : true } \n", Request{Object: true, Model: "m", Stream: true}},
		{"ollama streams unless told", ollama, `{"model":"m","messages":[{}]}`, Request{Object: true, Model: "m", Stream: true}},
		{"ollama told", ollama, `{"model":"m","messages":[{}],"stream":false}`, Request{Object: true, Model: "m"}},
		{"include usage", chat, `{"stream":true,"stream_options":{"x":[1],"include_usage":true}}`, Request{Object: true, Stream: true, IncludeUsage: true}},
		{"include usage refused", chat, `{"stream":true,"stream_options":{"include_usage":false}}`, Request{Object: true, Stream: true}},
		{"stream options null", chat, `{"stream_options":null}`, Request{Object: true}},
		{"escaped name and value", chat, `{"mod\u0065l":"\u006d\n"}`, Request{Object: true, Model: "m\n"}},
		{"names in content", chat, `{"messages":[{"content":"\",\"stream\":true,\"model\":\"evil"}],"model":"m"}`, Request{Object: true, Model: "m"}},

		{"other case", ollama, `{"Model":"m","Stream":false,"messages":[1]}`, Request{Object: true, Ambiguous: true, Model: "m"}},
		{"last wins", ollama, `{"model":"a","stream":false,"messages":[1],"STREAM":true,"MODEL":"b"}`, Request{Object: true, Ambiguous: true, Model: "b", Stream: true}},
		{"duplicate", chat, `{"model":"a","stream":true,"model":"b","stream":false}`, Request{Object: true, Ambiguous: true, Model: "b"}},
		{"null takes back", ollama, `{"stream":false,"messages":[1],"stream":null}`, Request{Object: true, Ambiguous: true, Stream: true}},
		{"null changes nothing", chat, `{"stream":true,"stream":null}`, Request{Object: true, Ambiguous: true, Stream: true}},
		{"long s is an s", ollama, "{\"\u017ftream\":false,\"messages\":[1]}", Request{Object: true, Ambiguous: true}},
		{"duplicate deep down", chat, `{"model":"m","messages":[{"content":"a","content":"b"}]}`, Request{Object: true, Ambiguous: true, Model: "m"}},
		{"variant deep down", chat, `{"model":"m","messages":[{"content":"a","Content":"b"}]}`, Request{Object: true, Ambiguous: true, Model: "m"}},
		{"variants of a name not known", chat, `{"Top_K":1,"top_k":2}`, Request{Object: true, Ambiguous: true}},
		{"variants by escape", chat, `{"x\u0041":1,"xa":2}`, Request{Object: true, Ambiguous: true}},
		{"camel case alone", chat, `{"tools":[{"type":"function","function":{"parameters":{"filePath":{},"additionalProperties":false}}}],"maxLen":1}`, Request{Object: true}},
		{"same name in two objects", chat, `{"a":{"X":1},"b":{"x":1},"c":[{"x":1},{"X":1}]}`, Request{Object: true}},
		{"usage by another case", chat, `{"stream_options":{"Include_Usage":true}}`, Request{Object: true, Ambiguous: true, IncludeUsage: true}},

		{"load", ollama, `{"model":"m"}`, Request{Object: true, Model: "m", Stream: true, Load: true}},
		{"load by empty list", ollama, `{"model":"m","messages":[ ]}`, Request{Object: true, Model: "m", Stream: true, Load: true}},
		{"load by null", ollama, `{"model":"m","messages":null}`, Request{Object: true, Model: "m", Stream: true, Load: true}},
		{"chat ignores prompt", ollama, `{"model":"m","prompt":"x"}`, Request{Object: true, Model: "m", Stream: true, Load: true}},
		{"generate load", generate, `{"model":"m"}`, Request{Object: true, Model: "m", Stream: true, Load: true}},
		{"unload", generate, `{"model":"m","prompt":"","keep_alive":0}`, Request{Object: true, Model: "m", Stream: true, Load: true}},
		{"generate", generate, `{"model":"m","prompt":"x"}`, Request{Object: true, Model: "m", Stream: true}},
		{"no load elsewhere", chat, `{"model":"m","messages":[]}`, Request{Object: true, Model: "m"}},

		{"store", chat, `{"store":true}`, Request{Object: true, Stateful: true}},
		{"not store", responses, `{"store":false,"background":false,"previous_response_id":null,"conversation":null}`, Request{Object: true}},
		{"previous", responses, `{"previous_response_id":"resp_1"}`, Request{Object: true, Stateful: true}},
		{"conversation", responses, `{"conversation":{"id":"c"}}`, Request{Object: true, Stateful: true}},
		{"conversation id", responses, `{"conversation":"c"}`, Request{Object: true, Stateful: true}},
		{"background", responses, `{"background":true,"store":false}`, Request{Object: true, Stateful: true}},

		{"server's tool", responses, `{"tools":[{"type":"function","name":"f"},{"type":"web_search"}]}`, Request{Object: true, Live: true}},
		{"client's tools", messages, `{"tools":[{"name":"f"},{"type":"custom","name":"g"}]}`, Request{Object: true}},
		{"search", chat, `{"web_search_options":{}}`, Request{Object: true, Live: true}},
		{"mcp", messages, `{"mcp_servers":[{"url":"x"}]}`, Request{Object: true, Live: true}},
		{"debug", ollama, `{"messages":[1],"_debug_render_only":true}`, Request{Object: true, Live: true, Stream: true}},
		{"image by url", chat, `{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]}`, Request{Object: true, Live: true}},
		{"image by escaped url", responses, `{"input":[{"content":[{"type":"input_image","image_url":"HTTPS:\/\/x"}]}]}`, Request{Object: true, Live: true}},
		{"image as data", chat, `{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}]}`, Request{Object: true}},
		{"url in text", chat, `{"messages":[{"content":"\"url\":\"https://x\""}]}`, Request{Object: true}},

		{"temperature 0", chat, `{"temperature":0}`, Request{Object: true, Deterministic: true}},
		{"temperature 0 in disguise", chat, `{"temperature":-0.0e5}`, Request{Object: true, Deterministic: true}},
		{"temperature", chat, `{"temperature":0.1}`, Request{Object: true}},
		{"temperature as text", chat, `{"temperature":"0"}`, Request{Object: true}},
		{"seed", chat, `{"seed":9007199254740993}`, Request{Object: true, Deterministic: true}},
		{"random seed", chat, `{"seed":-1}`, Request{Object: true}},
		{"no seed", chat, `{"seed":null}`, Request{Object: true}},
		{"several choices", chat, `{"temperature":0,"n":2}`, Request{Object: true}},
		{"best of", chat, `{"temperature":0,"n":1,"best_of":3}`, Request{Object: true}},
		{"ollama's options", ollama, `{"messages":[1],"options":{"temperature":0.0}}`, Request{Object: true, Stream: true, Deterministic: true}},
		{"ollama's seed", ollama, `{"messages":[1],"options":{"seed":1}}`, Request{Object: true, Stream: true, Deterministic: true}},

		{"empty", chat, ``, Request{}},
		{"empty at ollama", ollama, ``, Request{Stream: true}},
		{"array", chat, `[{"model":"m"}]`, Request{}},
		{"text", chat, `"model"`, Request{}},
		{"cut", chat, `{"model":"m","stream":true,"mess`, Request{Model: "m", Stream: true}},
		{"more behind", chat, `{"model":"m"} {"model":"n"}`, Request{Model: "m"}},
		{"wrong types", chat, `{"model":1,"stream":"yes","tools":{},"stream_options":[]}`, Request{Object: true}},
		{"no UTF-8", chat, "{\"model\":\"\xff\"}", Request{Object: true, Model: "\uFFFD"}},
		{"half a pair", chat, `{"model":"\ud800x"}`, Request{Object: true, Model: "\uFFFDx"}},
		{"NUL", chat, `{"model":"a\u0000"}`, Request{Object: true, Model: "a\x00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseRequest(RouteOf("POST", tt.path), []byte(tt.body)); got != tt.want {
				t.Errorf("%s\n got %+v\nwant %+v", tt.body, got, tt.want)
			}
		})
	}
}

func TestParseRequestClipsTheModel(t *testing.T) {
	body := `{"model":"` + strings.Repeat("x", 255) + "é" + `"}`
	got := ParseRequest(RouteOf("POST", "/v1/completions"), []byte(body))
	if want := strings.Repeat("x", 255); got.Model != want {
		t.Errorf("got a model of %d bytes, want 255", len(got.Model))
	}
}

// TestParseRequestOfRecordings holds the reading of the recorded requests
// against that of encoding/json.
func TestParseRequestOfRecordings(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.route.Kind != KindGenerate && f.route.Kind != KindEmbed {
			continue
		}
		var want struct {
			Model  string
			Stream *bool
		}
		if json.Unmarshal(f.request, &want) != nil {
			continue
		}
		stream := f.route.StreamDefault
		if want.Stream != nil {
			stream = *want.Stream
		}
		got := ParseRequest(f.route, f.request)
		load := strings.HasSuffix(f.name, "load")
		if !got.Object || got.Ambiguous || got.Model != want.Model || got.Stream != stream || got.Load != load {
			t.Errorf("%s: got %+v, want model %q, stream %v, load %v", f.name, got, want.Model, stream, load)
		}
	}
}

func TestModelOf(t *testing.T) {
	for body, want := range map[string]string{
		`{"model":"m"}`:                          "m",
		`{"name":"old"}`:                         "old",
		`{"name":"old","model":"m"}`:             "m",
		`{"model":"m","name":"old"}`:             "m",
		`{"Name":"old"}`:                         "old",
		`{"model":"a","MODEL":"b"}`:              "b",
		`{"model":"","name":"old"}`:              "old",
		`{"source":"a","destination":"b"}`:       "b",
		`{"model":7,"name":["x"]}`:               "",
		`{"details":{"model":"x"},"model":"m"}`:  "m",
		`{"model":"m","trailing":`:               "m",
		`["model","m"]`:                          "",
		``:                                       "",
		`{"model":"` + "\xff" + `"}`:             "\uFFFD",
		`{"model":"registry/a:b","stream":true}`: "registry/a:b",
	} {
		if got := ModelOf([]byte(body)); got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}
