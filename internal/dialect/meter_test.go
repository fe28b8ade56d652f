package dialect

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const (
	chatPath      = "/v1/chat/completions"
	responsesPath = "/v1/responses"
	messagesPath  = "/v1/messages"
)

// chunk is an event of a chat stream with one choice.
func chunk(index int, content, finish string) string {
	reason := "null"
	if finish != "" {
		reason = `"` + finish + `"`
	}
	return fmt.Sprintf("data: {\"model\":\"m\",\"choices\":[{\"index\":%d,\"delta\":{\"content\":%q},\"finish_reason\":%s}]}\n\n",
		index, content, reason)
}

const done = "data: [DONE]\n\n"

func TestMeterStreams(t *testing.T) {
	role := "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	usage := "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5," +
		"\"prompt_tokens_details\":{\"cached_tokens\":1},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n"
	counted := Tokens{Known: true, Prompt: 3, Completion: 2, Cached: 1, Reasoning: 1}
	created := "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m\",\"status\":\"in_progress\",\"error\":null,\"usage\":null,\"incomplete_details\":null}}\n\n"
	delta := "event: response.output_text.delta\ndata: {\"delta\":\"x\",\"type\":\"response.output_text.delta\"}\n\n"
	start := "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":2,\"cache_creation_input_tokens\":1,\"output_tokens\":1}}}\n\n"
	text := "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n"
	stopping := "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n"
	stop := "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	ping := "event: ping\ndata: {\"type\":\"ping\"}\n\n"

	tests := []struct {
		name    string
		path    string
		framing Framing
		events  []string
		signals string
		want    Summary
	}{
		{"chat with usage", chatPath, FramingSSE,
			[]string{role, chunk(0, "a", ""), chunk(0, "b", ""), chunk(0, "", "stop"), usage, done},
			"- 2*c - u T",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 2, DoneMarker: true, Usage: counted}},
		{"any spelling of SSE", chatPath, FramingSSE,
			[]string{
				"\xef\xbb\xbf: hello\r\n\r\n",
				"data:{\"choices\":[{\"index\":0,\r\ndata: \"delta\":{\"content\":\"a\"}}\r\ndata:]}\r\n\r\n",
				"id: 7\rretry: 5\rdata: { \"choices\" : [ {\t\"delta\":{}, \"finish_reason\" : \"stop\" } ] }\r\r",
				": keep-alive\n\n",
				":\n\n",
				"data:[DONE]\n\n",
			},
			"- c 3*- T",
			Summary{Complete: true, FinishReason: "stop", ContentEvents: 1, DoneMarker: true}},
		{"running totals", chatPath, FramingSSE,
			[]string{
				strings.Replace(chunk(0, "a", ""), `{"model"`, `{"usage":{"prompt_tokens":3,"completion_tokens":1},"model"`, 1),
				strings.Replace(chunk(0, "b", "stop"), `{"model"`, `{"usage":{"prompt_tokens":3,"completion_tokens":2},"model"`, 1),
			},
			"2*cu",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 2, Usage: Tokens{Known: true, Prompt: 3, Completion: 2}}},
		{"error, then done (vLLM)", chatPath, FramingSSE,
			[]string{chunk(0, "a", ""), "data: {\"error\": {\"message\": \"engine died\", \"type\": \"x\", \"code\": 500}}\n\n", done},
			"c E T",
			Summary{HasError: true, Error: "engine died", Model: "m", ContentEvents: 1, DoneMarker: true}},
		{"cut behind the finish", chatPath, FramingSSE,
			[]string{chunk(0, "a", "stop"), usage[:40]},
			"c -",
			Summary{FinishReason: "stop", Model: "m", ContentEvents: 1}},
		{"cut in a field's name", chatPath, FramingSSE,
			[]string{chunk(0, "a", "stop"), "da"},
			"c -",
			Summary{FinishReason: "stop", Model: "m", ContentEvents: 1}},
		{"no blank line at the end", chatPath, FramingSSE,
			[]string{chunk(0, "a", "stop"), strings.TrimSpace(usage)},
			"c u",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 1, Usage: counted}},
		{"no blank line behind the marker", chatPath, FramingSSE,
			[]string{chunk(0, "a", "stop"), "data: [DONE]"},
			"c T",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 1, DoneMarker: true}},
		{"a comment at the end", chatPath, FramingSSE,
			[]string{chunk(0, "a", "stop"), ": bye"},
			"c -",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 1}},
		{"error after the finish", chatPath, FramingSSE,
			[]string{chunk(0, "a", "stop"), "data: {\"error\":{\"message\":\"late\"}}\n\n"},
			"c E",
			Summary{HasError: true, Error: "late", FinishReason: "stop", Model: "m", ContentEvents: 1}},
		{"empty delta and end (Ollama)", chatPath, FramingSSE,
			[]string{chunk(0, "a", ""), "data: {\"model\":\"\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}]}\n\n"},
			"c -",
			Summary{Model: "m", ContentEvents: 1}},
		{"done without a finish", chatPath, FramingSSE,
			[]string{chunk(0, "a", ""), done},
			"c T",
			Summary{Model: "m", ContentEvents: 1, DoneMarker: true}},
		{"finish without done", chatPath, FramingSSE,
			[]string{chunk(0, "a", "length")},
			"c",
			Summary{Complete: true, FinishReason: "length", Model: "m", ContentEvents: 1}},
		{"two choices, one cut", chatPath, FramingSSE,
			[]string{chunk(0, "a", ""), chunk(1, "b", ""), chunk(1, "", "length"), done},
			"2*c - T",
			Summary{FinishReason: "length", Model: "m", ContentEvents: 2, DoneMarker: true}},
		{"two choices", chatPath, FramingSSE,
			[]string{chunk(1, "b", ""), chunk(0, "a", ""), chunk(1, "", "length"), chunk(0, "", "stop"), done},
			"2*c 2*- T",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 2, DoneMarker: true}},
		{"the last choice followed", chatPath, FramingSSE,
			[]string{chunk(127, "a", "stop")}, "c",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 1}},
		{"too many choices", chatPath, FramingSSE,
			[]string{chunk(0, "a", "stop"), chunk(128, "a", "stop")}, "2*c",
			Summary{FinishReason: "stop", Model: "m", ContentEvents: 2}},
		{"an aborted choice", chatPath, FramingSSE,
			[]string{chunk(0, "a", "abort"), done}, "c T",
			Summary{FinishReason: "abort", Model: "m", ContentEvents: 1, DoneMarker: true}},
		{"parallel tool calls", chatPath, FramingSSE,
			[]string{
				"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
				"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":null,\"tool_calls\":[]}}]}\n\n",
				"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n",
				chunk(0, "", "tool_calls"),
			},
			"c - c -",
			Summary{Complete: true, FinishReason: "tool_calls", Model: "m", ContentEvents: 2}},
		{"reasoning, both names", chatPath, FramingSSE,
			[]string{
				"data: {\"choices\":[{\"delta\":{\"reasoning\":\"a\"}}]}\n\n",
				"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"a\",\"content\":null}}]}\n\n",
			},
			"2*c", Summary{ContentEvents: 2}},
		{"content that looks like signals", chatPath, FramingSSE,
			[]string{
				chunk(0, `"error":{"message":"no"},"finish_reason":"stop"`, ""),
				chunk(0, "data: [DONE]\n\nevent: error\n", ""),
				chunk(0, `{"choices":[{"index":5,"finish_reason":"stop"}]}`, ""),
				chunk(0, `\\\"`, ""),
			},
			"4*c", Summary{Model: "m", ContentEvents: 4}},
		{"no error", chatPath, FramingSSE,
			[]string{
				"data: {\"error\":null,\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{\"content\":\"a\"}}]}\n\n",
				"data: {\"error\":\"\"}\n\n", "data: {\"error\":{}}\n\n", "data: {\"error\":false}\n\n",
			},
			"c 3*-", Summary{Complete: true, FinishReason: "stop", ContentEvents: 1}},
		{"error as a text (TGI)", chatPath, FramingSSE,
			[]string{"data:{\"error\":\"overloaded\",\"error_type\":\"overloaded\"}\n\n"},
			"E", Summary{HasError: true, Error: "overloaded"}},
		{"flat error (older vLLM)", chatPath, FramingSSE,
			[]string{"data: {\"object\":\"error\",\"message\":\"bad\"}\n\n"},
			"E", Summary{HasError: true, Error: "bad"}},
		{"error as a field (older llama.cpp)", chatPath, FramingSSE,
			[]string{chunk(0, "a", ""), "error: {\"code\":500,\"message\":\"bad\"}\n\n"},
			"c E", Summary{HasError: true, Error: "bad", Model: "m", ContentEvents: 1}},
		{"error as an event that is no JSON", chatPath, FramingSSE,
			[]string{"event: error\ndata: all is lost \n\n"},
			"E", Summary{HasError: true, Error: "all is lost"}},
		{"error as an event that is cut", chatPath, FramingSSE,
			[]string{"event: error\ndata: {\"error\":{\"message\":\"b"},
			"E", Summary{HasError: true, Error: `{"error":{"message":"b`}},
		{"error as an event without data", chatPath, FramingSSE,
			[]string{"event: error\n\n"}, "E", Summary{HasError: true}},
		{"bare text (llama-server's router)", chatPath, FramingSSE,
			[]string{chunk(0, "a", ""), "proxy error: Failed to read connection"},
			"c E", Summary{HasError: true, Error: "proxy error: Failed to read connection", Model: "m", ContentEvents: 1}},
		{"cut within the last event", chatPath, FramingSSE,
			[]string{chunk(0, "a", ""), "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]"},
			"c -", Summary{Model: "m", ContentEvents: 1}},
		{"an event without its end", chatPath, FramingSSE,
			[]string{"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"},
			"-", Summary{Complete: true, FinishReason: "stop"}},
		{"two documents in one event", chatPath, FramingSSE,
			[]string{"data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\ndata: {}\n\n"},
			"-", Summary{}},
		{"NUL, surrogates, no UTF-8", chatPath, FramingSSE,
			[]string{
				"data: {\"choices\":[{\"delta\":{\"content\":\"\\u0000\"}}]}\n\n",
				"data: {\"choices\":[{\"delta\":{\"content\":\"\\ud800\"}}]}\n\n",
				"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\"}}]}\n\n",
				"data: {\"model\":\"\xff\\ud800\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
			},
			"3*c -", Summary{Complete: true, FinishReason: "stop", Model: "\uFFFD\uFFFD", ContentEvents: 3}},
		{"completions", "/v1/completions", FramingSSE,
			[]string{
				"data: {\"choices\":[{\"text\":\"a\",\"index\":0,\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n",
				"data: {\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}]}\n\n", done,
			},
			"c - T", Summary{Complete: true, FinishReason: "stop", ContentEvents: 1, DoneMarker: true}},

		{"responses completed", responsesPath, FramingSSE,
			[]string{created, delta, "event: response.completed\ndata: {\"response\":{\"status\":\"completed\",\"error\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":2,\"input_tokens_details\":{\"cached_tokens\":1},\"output_tokens_details\":{\"reasoning_tokens\":1}}},\"type\":\"response.completed\"}\n\n"},
			"- c Tu",
			Summary{Complete: true, FinishReason: "completed", Model: "m", ContentEvents: 1, Usage: counted}},
		{"responses incomplete", responsesPath, FramingSSE,
			[]string{created, delta, "data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n\n"},
			"- c T",
			Summary{Complete: true, FinishReason: "max_output_tokens", Model: "m", ContentEvents: 1}},
		{"responses failed", responsesPath, FramingSSE,
			[]string{created, "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"bad\"}}}\n\n"},
			"- TE",
			Summary{HasError: true, Error: "bad", FinishReason: "failed", Model: "m"}},
		{"responses failed without a word", responsesPath, FramingSSE,
			[]string{"data: {\"type\":\"response.failed\",\"response\":{}}\n\n"},
			"TE", Summary{HasError: true, FinishReason: "failed"}},
		{"responses error", responsesPath, FramingSSE,
			[]string{created, "event: error\ndata: {\"type\":\"error\",\"code\":\"x\",\"message\":\"bad\",\"param\":null}\n\n"},
			"- TE", Summary{HasError: true, Error: "bad", Model: "m"}},
		{"responses cut", responsesPath, FramingSSE,
			[]string{created, delta, delta}, "- 2*c", Summary{Model: "m", ContentEvents: 2}},
		{"responses done is not enough", responsesPath, FramingSSE,
			[]string{created, delta, done}, "- c T", Summary{Model: "m", ContentEvents: 1, DoneMarker: true}},

		{"messages", messagesPath, FramingSSE,
			[]string{start, ping, text, stopping, stop}, "2*- c u T",
			Summary{Complete: true, FinishReason: "end_turn", Model: "m", ContentEvents: 1,
				Usage: Tokens{Known: true, Prompt: 6, Completion: 7, Cached: 2}}},
		{"messages that think and call", messagesPath, FramingSSE,
			[]string{
				start,
				"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}\n\n",
				"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"x\"}}\n\n",
				"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"signature_delta\",\"signature\":\"x\"}}\n\n",
				"data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\n",
				"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n\n",
				"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}}\n\n",
			},
			"2*- c - c - c",
			Summary{Model: "m", ContentEvents: 3, Usage: Tokens{Prompt: 6, Cached: 2}}},
		{"messages stop without a reason", messagesPath, FramingSSE,
			[]string{start, text, stop}, "- c T",
			Summary{Model: "m", ContentEvents: 1, Usage: Tokens{Prompt: 6, Cached: 2}}},
		{"messages cut before the stop", messagesPath, FramingSSE,
			[]string{text, stopping}, "c u",
			Summary{FinishReason: "end_turn", ContentEvents: 1, Usage: Tokens{Known: true, Completion: 7}}},
		{"messages error", messagesPath, FramingSSE,
			[]string{text, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"},
			"c TE", Summary{HasError: true, Error: "Overloaded", ContentEvents: 1}},

		{"ollama", "/api/chat", FramingNDJSON,
			[]string{
				"{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"done\":false}\n",
				"{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"b\"},\"done\":false}\r\n",
				"\n",
				"{\"model\":\"m\",\"message\":{\"content\":\"\"}, \"done\": true, \"done_reason\": \"stop\", \"prompt_eval_count\": 3, \"eval_count\": 2}",
			},
			"2*c - Tu",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 2, Usage: Tokens{Known: true, Prompt: 3, Completion: 2}}},
		{"ollama error", "/api/chat", FramingNDJSON,
			[]string{"{\"message\":{\"content\":\"a\"},\"done\":false}\n", "{\"error\":\"unexpected EOF\"}\n"},
			"c E", Summary{HasError: true, Error: "unexpected EOF", ContentEvents: 1}},
		{"ollama cut within a line", "/api/generate", FramingNDJSON,
			[]string{"{\"response\":\"a\",\"done\":false}\n", "{\"response\":\"\",\"done\":true,\"done_rea"},
			"c -", Summary{ContentEvents: 1}},
		{"ollama's content is no signal", "/api/generate", FramingNDJSON,
			[]string{"{\"response\":\"\\\"done\\\":true,\\\"error\\\":\\\"x\\\"\",\"done\":false}\n"},
			"c", Summary{ContentEvents: 1}},
		{"ollama from elsewhere", "/api/generate", FramingNDJSON,
			[]string{"{\"remote_model\":\"x\",\"remote_host\":\"https://ollama.com\",\"response\":\"a\",\"done\":true}\n"},
			"cT", Summary{Complete: true, Remote: true, ContentEvents: 1}},

		{"progress of a pull is not metered", "/api/pull", FramingNDJSON,
			[]string{"{\"status\":\"success\"}\n", "{\"error\":\"x\"}\n"}, "2*-", Summary{}},
		{"no events in a body that has none", chatPath, FramingJSON,
			[]string{chunk(0, "a", "stop")}, "-", Summary{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Meter
			m.Reset(RouteOf("POST", tt.path), tt.framing)
			var signals []Signal
			for _, ev := range tt.events {
				bytes := []byte(ev)
				signals = append(signals, m.Event(bytes))
				for i := range bytes {
					bytes[i] = 'x' // what is kept must be a copy
				}
			}
			if got := spell(signals); got != tt.signals {
				t.Errorf("signals: got %q, want %q", got, tt.signals)
			}
			if got := m.Summary(); got != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestMeterWhole(t *testing.T) {
	tests := []struct {
		name, path, body string
		signals          string
		want             Summary
	}{
		{"chat", chatPath, `{"model":"m","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}` + "\n", "cTu",
			Summary{Complete: true, FinishReason: "stop", Model: "m", ContentEvents: 1, Usage: Tokens{Known: true, Prompt: 3, Completion: 2}}},
		{"one of two choices unfinished", chatPath, `{"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"message":{"content":"a"},"finish_reason":null}]}`, "c",
			Summary{FinishReason: "stop", ContentEvents: 1}},
		{"error in a 200", chatPath, `{"error":{"message":"bad"},"choices":[{"finish_reason":"stop"}]}`, "E",
			Summary{HasError: true, Error: "bad", FinishReason: "stop"}},
		{"no choices", chatPath, `{"choices":[]}`, "-", Summary{}},
		{"cut", chatPath, `{"choices":[{"finish_reason":"stop"}]`, "-", Summary{}},
		{"no JSON", chatPath, `{"choices":[{"finish_reason":"stop","x":nope}]}`, "-", Summary{FinishReason: "stop"}},
		{"more behind", chatPath, `{"choices":[{"finish_reason":"stop"}]}{}`, "-", Summary{}},
		{"empty", chatPath, ``, "-", Summary{}},
		{"text", chatPath, `Ollama is running`, "-", Summary{}},
		{"response", responsesPath, `{"status":"completed","error":null,"model":"m","output":[{"content":[]}],"usage":{"input_tokens":3,"output_tokens":2}}`, "cTu",
			Summary{Complete: true, FinishReason: "completed", Model: "m", ContentEvents: 1, Usage: Tokens{Known: true, Prompt: 3, Completion: 2}}},
		{"response cut by a filter", responsesPath, `{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[]}`, "T",
			Summary{Complete: true, FinishReason: "content_filter"}},
		{"response failed", responsesPath, `{"status":"failed","error":{"code":"x","message":"bad"},"output":[]}`, "E",
			Summary{HasError: true, Error: "bad", FinishReason: "failed"}},
		{"response in the background", responsesPath, `{"status":"queued","output":[]}`, "-", Summary{FinishReason: "queued"}},
		{"message", messagesPath, `{"type":"message","model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"max_tokens","usage":{"input_tokens":3,"output_tokens":2}}`, "cTu",
			Summary{Complete: true, FinishReason: "max_tokens", Model: "m", ContentEvents: 1, Usage: Tokens{Known: true, Prompt: 3, Completion: 2}}},
		{"message without an end", messagesPath, `{"type":"message","content":[],"stop_reason":null}`, "-", Summary{}},
		{"message error", messagesPath, `{"type":"error","error":{"type":"api_error","message":"bad"}}`, "E", Summary{HasError: true, Error: "bad"}},
		{"ollama", "/api/generate", `{"model":"m","response":"a","done":true,"done_reason":"length"}`, "cT",
			Summary{Complete: true, FinishReason: "length", Model: "m", ContentEvents: 1}},
		{"ollama not done", "/api/generate", `{"model":"m","response":"a","done":false}`, "c", Summary{Model: "m", ContentEvents: 1}},
		{"embeddings", "/v1/embeddings", `{"object":"list","data":[{"embedding":[0.1]}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}`, "Tu",
			Summary{Complete: true, Model: "m", Usage: Tokens{Known: true, Prompt: 3}}},
		{"embed", "/api/embed", `{"model":"m","embeddings":[[0.1]],"prompt_eval_count":3}`, "Tu",
			Summary{Complete: true, Model: "m", Usage: Tokens{Known: true, Prompt: 3}}},
		{"older embeddings", "/api/embeddings", `{"embedding":[0.1]}`, "T", Summary{Complete: true}},
		{"embeddings with an error", "/v1/embeddings", `{"data":[],"error":"bad"}`, "E", Summary{HasError: true, Error: "bad"}},
		{"no embeddings", "/v1/embeddings", `{"data":null}`, "-", Summary{}},
		{"not metered", "/v1/models", `{"error":"x"}`, "-", Summary{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Meter
			m.Reset(RouteOf("POST", tt.path), FramingJSON)
			signal := m.Whole([]byte(tt.body))
			if got := letters(signal); got != tt.signals {
				t.Errorf("signals: got %q, want %q", got, tt.signals)
			}
			if got := m.Summary(); got != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestMeterIsReusable(t *testing.T) {
	var m Meter
	for range 2 {
		m.Reset(RouteOf("POST", chatPath), FramingSSE)
		m.Event([]byte("data: {\"error\":\ndata: \"x\"}\n\n"))
		if s := m.Summary(); s.Error != "x" {
			t.Fatalf("got %+v, want an error", s)
		}
		m.Reset(RouteOf("POST", "/api/chat"), FramingNDJSON)
		m.Event([]byte(`{"message":{"content":"a"},"done":true}`))
		if s := m.Summary(); s != (Summary{Complete: true, ContentEvents: 1}) {
			t.Fatalf("got %+v, want a whole answer and nothing of the one before", s)
		}
	}
	var zero Meter
	if sig := zero.Event([]byte(done)) | zero.Whole([]byte(`{"error":"x"}`)); sig != 0 {
		t.Errorf("a meter before Reset: got %v, want nothing", sig)
	}
}

func TestMeterBoundsWhatItKeeps(t *testing.T) {
	long := strings.Repeat("é", 1000)
	var m Meter
	m.Reset(RouteOf("POST", chatPath), FramingSSE)
	m.Event([]byte(`data: {"model":"` + long + `","choices":[{"finish_reason":"` + long + `"}]}` + "\n\n"))
	m.Event([]byte(`data: {"error":"x` + long + `"}` + "\n\n"))
	s := m.Summary()
	if len(s.Model) != maxModel || len(s.FinishReason) != maxReason || s.Error != "x"+long[:498] {
		t.Errorf("kept %d bytes of the model, %d of the reason, %d of the error", len(s.Model), len(s.FinishReason), len(s.Error))
	}
	m.Event(bytes.Repeat([]byte("data: "+long+"\n"), 100))
	m.Reset(RouteOf("POST", chatPath), FramingSSE)
	if cap(m.joined) > maxJoined {
		t.Errorf("kept %d bytes of joined data, want at most %d", cap(m.joined), maxJoined)
	}
}

func TestEventDoesNotAllocate(t *testing.T) {
	for _, s := range steady {
		if s.name == "chat last" {
			continue // it comes once
		}
		var m Meter
		m.Reset(RouteOf("POST", s.path), s.framing)
		m.Event(s.event)
		if n := testing.AllocsPerRun(100, func() { m.Event(s.event) }); n != 0 {
			t.Errorf("%s: %v allocations, want none", s.name, n)
		}
	}
}

// TestAnswersWithoutEndAreNeverComplete holds for every recorded failure, and
// for every recorded stream of which the last event that says something is lost.
func TestAnswersWithoutEndAreNeverComplete(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.status != 200 || f.route.Kind != KindGenerate {
			continue
		}
		_, s := meter(f)
		failed := strings.Contains(f.name, "/fail-")
		if s.Complete == failed {
			t.Errorf("%s: complete is %v", f.name, s.Complete)
		}
		if failed || f.framing == FramingJSON {
			continue
		}
		cut := f
		for _, end := range []string{`"finish_reason":"`, `"done":true`, "event: message_stop", "event: response.completed"} {
			if i := bytes.Index(f.body, []byte(end)); i >= 0 {
				cut.body = f.body[:i]
				break
			}
		}
		if len(cut.body) == len(f.body) {
			t.Errorf("%s: no end found", f.name)
		}
		if _, s := meter(cut); s.Complete {
			t.Errorf("%s: complete without its end", f.name)
		}
	}
}
