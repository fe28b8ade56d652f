package simllm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// contentOf is the text of a chat completion.
func contentOf(t *testing.T, body string) string {
	t.Helper()
	var r struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil || len(r.Choices) == 0 {
		t.Fatalf("not a chat completion: %q: %v", body, err)
	}
	return r.Choices[0].Message.Content
}

// streamedContent joins the deltas of a chat stream.
func streamedContent(t *testing.T, body string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || data == "[DONE]\n" {
			continue
		}
		var r struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &r); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		for _, c := range r.Choices {
			b.WriteString(c.Delta.Content)
		}
	}
	return b.String()
}

func TestSamePromptSameAnswer(t *testing.T) {
	_, first := start(t, Config{Seed: 1})
	_, second := start(t, Config{Seed: 1})
	_, other := start(t, Config{Seed: 2})
	const path = "/v1/chat/completions"
	want := contentOf(t, send(t, first, "POST", path, chatBody).body)
	if len(strings.Fields(want)) != 48 {
		t.Errorf("%d words, want the default 48: %q", len(strings.Fields(want)), want)
	}
	for name, got := range map[string]string{
		"again":          contentOf(t, send(t, first, "POST", path, chatBody).body),
		"another server": contentOf(t, send(t, second, "POST", path, chatBody).body),
		"streamed":       streamedContent(t, send(t, first, "POST", path, chatStreamBody).body),
		"as vllm":        streamedContent(t, send(t, first, "POST", path, chatStreamBody, "X-Sim-Like: vllm").body),
	} {
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for name, got := range map[string]string{
		"another seed":        contentOf(t, send(t, other, "POST", path, chatBody).body),
		"another prompt":      contentOf(t, send(t, first, "POST", path, strings.Replace(chatBody, "sea", "lake", 1)).body),
		"another temperature": contentOf(t, send(t, first, "POST", path, strings.Replace(chatBody, `{`, `{"temperature":0.5,`, 1)).body),
		"a sampling seed":     contentOf(t, send(t, first, "POST", path, strings.Replace(chatBody, `{`, `{"seed":9007199254740993,`, 1)).body),
	} {
		if got == want {
			t.Errorf("%s gave the same answer", name)
		}
	}
	cut := contentOf(t, send(t, first, "POST", path, strings.Replace(chatBody, `{`, `{"max_tokens":5,`, 1)).body)
	if len(strings.Fields(cut)) != 5 || !strings.HasPrefix(want, cut) {
		t.Errorf("max_tokens 5 gave %q, want the first five words of %q", cut, want)
	}
}

func TestFixedGivesTheSameBytes(t *testing.T) {
	_, ts := start(t, Config{})
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", chatBody}, {"/v1/chat/completions", chatStreamBody},
		{"/api/chat", chatBody}, {"/v1/responses", `{"model":"demo","input":"x","stream":true}`},
		{"/v1/messages", strings.Replace(chatStreamBody, `{`, `{"max_tokens":9,`, 1)},
	} {
		one := send(t, ts, "POST", c.path, c.body, "X-Sim-Fixed: true")
		two := send(t, ts, "POST", c.path, c.body, "X-Sim-Fixed: true")
		if one.status != 200 || one.body != two.body {
			t.Errorf("%s %s: %d, the two answers differ:\n%s\n%s", c.path, c.body, one.status, one.body, two.body)
		}
	}
	if one, two := send(t, ts, "POST", "/v1/chat/completions", chatBody), send(t, ts, "POST", "/v1/chat/completions", chatBody); one.body == two.body {
		t.Error("without fixed two answers have the same id")
	}
}

func TestAnswerRepeatsTheMarker(t *testing.T) {
	const mark = "[[p:0123456789abcdef]]"
	_, ts := start(t, Config{})
	messages := fmt.Sprintf(`"messages":[{"role":"user","content":"[[p:fedcba9876543210]] old"},{"role":"user","content":"Hello %s there"}]`, mark)
	tools := `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"q":{"type":"string"}}}}}]`
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", `{"model":"demo",` + messages + `}`},
		{"/v1/chat/completions", `{"model":"demo","response_format":{"type":"json_object"},` + messages + `}`},
		{"/v1/chat/completions", `{"model":"demo",` + tools + `,` + messages + `}`},
		{"/v1/completions", `{"model":"demo","prompt":"` + mark + `"}`},
		{"/v1/responses", `{"model":"demo","input":"` + mark + `"}`},
		{"/v1/messages", `{"model":"demo","max_tokens":9,` + messages + `}`},
		{"/api/chat", `{"model":"demo","stream":false,` + messages + `}`},
		{"/api/generate", `{"model":"demo?size=200","stream":false,"prompt":"` + mark + `"}`},
	} {
		got := send(t, ts, "POST", c.path, c.body)
		if got.status != 200 || strings.Count(got.body, mark) != 1 || strings.Contains(got.body, "fedcba") {
			t.Errorf("%s %s: %d %s", c.path, c.body, got.status, got.body)
		}
	}
	if got := marker("short [[p:0123"); got != "" {
		t.Errorf("marker of too few characters is %q", got)
	}
}

func TestLengthKnobs(t *testing.T) {
	_, ts := start(t, Config{Tokens: 7})
	for _, c := range []struct {
		knobs string
		check func(text string) bool
	}{
		{"", func(s string) bool { return len(strings.Fields(s)) == 7 }},
		{"tokens=3", func(s string) bool { return len(strings.Fields(s)) == 3 }},
		{"tokens=4&token_bytes=100", func(s string) bool { return len(s) == 400 }},
		{"tokens=4&token_bytes=1", func(s string) bool { return len(s) == 4 }},
		{"size=12345", func(s string) bool { return len(s) == 12345 }},
		{"words=cjk&tokens=40", func(s string) bool { return utf8.ValidString(s) && len(s) > utf8.RuneCountInString(s)+20 }},
		{"tokens=0", func(s string) bool { return s == "" }},
	} {
		for _, body := range []string{chatBody, chatStreamBody} {
			got := send(t, ts, "POST", "/v1/chat/completions", strings.Replace(body, "demo", "demo?"+c.knobs, 1))
			text := streamedContent(t, got.body)
			if body == chatBody {
				text = contentOf(t, got.body)
			}
			if !c.check(text) {
				t.Errorf("%q: %d bytes: %q", c.knobs, len(text), text[:min(len(text), 200)])
			}
		}
	}
}

func TestStopSequence(t *testing.T) {
	for _, c := range []struct {
		stop []string
		want string
	}{
		{nil, "The old boat waits."},
		{[]string{"boat"}, "The old "},
		{[]string{"zebra", " waits", "boat waits"}, "The old "},
		{[]string{"The"}, ""},
		{[]string{""}, "The old boat waits."},
	} {
		a := &answer{words: []string{"The", " old", " boat", " waits."}}
		a.stopAt(c.stop)
		if a.text() != c.want {
			t.Errorf("stop %q: %q, want %q", c.stop, a.text(), c.want)
		}
	}
}

func TestSchemaIsObeyed(t *testing.T) {
	_, ts := start(t, Config{})
	const schema = `{"type":"object","required":["city"],"$defs":{"step":{"type":"object","properties":{"next":{"$ref":"#/$defs/step"},"n":{"type":"integer","maximum":3}}}},
		"properties":{"city":{"enum":["Oslo"]},"ok":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"},"minItems":3,"maxItems":3},
		"kind":{"const":"x"},"either":{"anyOf":[{"type":"number","minimum":7},{"type":"null"}]},"first":{"$ref":"#/$defs/step"},"maybe":{"type":["null","string"]}}}`
	got := send(t, ts, "POST", "/api/chat", `{"model":"demo","stream":false,"format":`+schema+`,"messages":[{"role":"user","content":"x"}]}`)
	var r struct{ Message struct{ Content string } }
	var v struct {
		City, Kind, Maybe string
		OK                *bool
		Tags              []string
		Either            int
		First             struct{ N *int }
	}
	if err := json.Unmarshal([]byte(got.body), &r); err != nil {
		t.Fatal(got.body, err)
	}
	if err := json.Unmarshal([]byte(r.Message.Content), &v); err != nil {
		t.Fatal(r.Message.Content, err)
	}
	if v.City != "Oslo" || v.Kind != "x" || v.Maybe == "" || v.OK == nil || len(v.Tags) != 3 || v.Either != 7 || v.First.N == nil || *v.First.N > 3 {
		t.Errorf("the schema is not obeyed: %s", r.Message.Content)
	}
}

func TestToolChoice(t *testing.T) {
	two := []tool{{name: "a"}, {name: "b"}}
	no := false
	for _, c := range []struct {
		choice   string
		parallel *bool
		want     string
	}{
		{``, nil, "ab"},
		{`"auto"`, nil, "ab"},
		{`"none"`, nil, ""},
		{`{"type":"none"}`, nil, ""},
		{`{"type":"function","function":{"name":"b"}}`, nil, "b"},
		{`{"type":"function","name":"b"}`, nil, "b"},
		{`{"type":"tool","name":"a"}`, nil, "a"},
		{`"auto"`, &no, "a"},
	} {
		var got strings.Builder
		for _, one := range chosen([]tool{two[0], two[1]}, json.RawMessage(c.choice), c.parallel) {
			got.WriteString(one.name)
		}
		if got.String() != c.want {
			t.Errorf("tool_choice %s: calls %q, want %q", c.choice, got.String(), c.want)
		}
	}
}

func TestToolArgumentsInPieces(t *testing.T) {
	_, ts := start(t, Config{})
	body := `{"model":"demo","stream":true,"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"größe":{"type":"string"},"ort":{"type":"string"}}}}}]}`
	got := send(t, ts, "POST", "/v1/chat/completions", body, "X-Sim-Like: vllm")
	var args strings.Builder
	for line := range strings.Lines(got.body) {
		var r struct {
			Choices []struct {
				Delta struct {
					ToolCalls []struct{ Function struct{ Arguments string } } `json:"tool_calls"`
				}
			}
		}
		if json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &r) == nil && len(r.Choices) > 0 {
			for _, c := range r.Choices[0].Delta.ToolCalls {
				args.WriteString(c.Function.Arguments)
			}
		}
	}
	var v map[string]string
	if err := json.Unmarshal([]byte(args.String()), &v); err != nil || v["größe"] == "" || v["ort"] == "" {
		t.Errorf("arguments %q: %v\n%s", args.String(), err, got.body)
	}
}
