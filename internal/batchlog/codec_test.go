package batchlog

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

func TestPayload(t *testing.T) {
	r := chat("p", "a")
	r.Revision, r.Error, r.Truncated, r.Incomplete = 3, "e", true, true
	payload := slices.Concat(new(payload).raw(r, "hash")...)
	got, err := parseRaw(payload[1:])
	if err != nil {
		t.Fatal(err)
	}
	want := *r
	want.Tenant = "hash"
	want.StartedAt = r.StartedAt.Truncate(time.Microsecond)
	want.Answer = [][]byte{joined(r.Answer)}
	want.Route = dialect.Route{Dialect: r.Route.Dialect, Kind: r.Route.Kind, Op: r.Route.Op}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("\n got %+v\nwant %+v", *got, want)
	}
	for n := range payload {
		if _, err := parsePayload(r.ID, payload[:n], "here"); !errors.Is(err, errPayload) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := parsePayload(r.ID, append(payload, 0), "here"); err == nil {
		t.Error("a byte too many is taken")
	}
	if _, err := parsePayload(uuid.New(), payload, "here"); err == nil {
		t.Error("another id is taken")
	}
	if _, err := parsePayload(r.ID, []byte{formRow, '{'}, "here"); err == nil {
		t.Error("half a row is taken")
	}
}

// TestPayloadFormat: the bytes of a form are for ever.
func TestPayloadFormat(t *testing.T) {
	r := &Record{
		ID: uuid.UUID{1, 2, 3}, Revision: 1, RequestID: "r", SessionID: "s", StartedAt: time.UnixMicro(5), Endpoint: "e", Upstream: "u", Model: "m",
		Route: dialect.Route{Dialect: dialect.Ollama, Kind: dialect.KindGenerate, Op: dialect.OpOllamaChat}, Framing: dialect.FramingNDJSON,
		RequestBody: []byte("{}"), Answer: [][]byte{[]byte("x"), []byte("y")}, TTFT: 1, Duration: 2, CacheStatus: "HIT", HTTPStatus: 3, Attempts: 4,
		Outcome: "ok", EndedBy: "b", Error: "!", Streamed: true, Dropped: 5, BytesIn: 6, BytesOut: 7,
	}
	const want = "\x01" + "\x01\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x01\x02\x01\x05\x03" +
		"\x02\x0a\x02\x04\x06\x08\x0a\x0c\x0e" + "\x01r\x01s\x01e\x01u\x01m\x03HIT\x02ok\x01b\x01!\x01t" + "\x02{}" + "\x02xy"
	if got := string(slices.Concat(new(payload).raw(r, "t")...)); got != want {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func FuzzPayload(f *testing.F) {
	r := chat("p", "a")
	f.Add(slices.Concat(new(payload).raw(r, "t")...))
	row, err := new(payload).row(readRecord(r, "here"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Concat(row...))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var id uuid.UUID
		if len(payload) > 17 {
			copy(id[:], payload[1:])
		}
		c, err := parsePayload(id, payload, "here")
		if err != nil || payload[0] != formRaw {
			return
		}
		for _, value := range []json.RawMessage{c.Messages, c.Params, c.ToolCalls, c.Choices} {
			if len(value) > 0 && !json.Valid(value) {
				t.Errorf("no JSON: %s", value)
			}
		}
		if strings.ContainsRune(c.Prompt+c.Answer+c.Model+c.Error, 0) {
			t.Error("NUL is left")
		}
	})
}

func TestClean(t *testing.T) {
	picture := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("picture", 30))) // 210 bytes
	const sum = "6888627cbdb1b7100fdaafbd6d4c807bb4e0a4023479a26e7d62fa123af32135"
	tests := []struct{ in, want string }{
		{`{"a":"b"}`, `{"a":"b"}`},
		{`["\u0000","\\u0000","\\\u0000"]`, `["\ufffd","\\u0000","\\\ufffd"]`},
		{`["\ud83d\ude00","\ud83d","\ude00\ud83d","\ud83d\ud83d\ude00"]`, `["\ud83d\ude00","\ufffd","\ufffd\ufffd","\ufffd\ud83d\ude00"]`},
		{"[\"a\xffb\"]", "[\"a\uFFFDb\"]"},
		{`{"\u0000":1}`, `{"\ufffd":1}`},
		{`{"url":"https://example.com/` + strings.Repeat("x", 200) + `"}`, `{"url":"https://example.com/` + strings.Repeat("x", 200) + `"}`},
		{`{"text":"` + picture + `"}`, `{"text":"` + picture + `"}`},
		{`{"url":"data:image/png;base64,` + picture + `"}`, `{"url":"[image/png, 210 bytes, sha256 SUM]"}`},
		{`{"type":"base64","data":"` + strings.ReplaceAll(picture, "/", `\/`) + `"}`, `{"type":"base64","data":"[data, 210 bytes, sha256 SUM]"}`},
		{`{"role":"user","images":["` + picture + `","` + picture + `"]}`, `{"role":"user","images":["[data, 210 bytes, sha256 SUM]","[data, 210 bytes, sha256 SUM]"]}`},
	}
	for _, tt := range tests {
		cl := cleaner{}
		got := string(cl.json([]byte(tt.in)))
		tt.want = strings.ReplaceAll(tt.want, "SUM", sum)
		if got != tt.want || cl.altered != (got != tt.in) {
			t.Errorf("%.60s\n got %.300s, altered %v\nwant %.300s", tt.in, got, cl.altered, tt.want)
		}
	}
	for in, want := range map[string]string{"a\x00b": "a\uFFFDb", "a\xff\xfeb": "a\uFFFDb", "fine é": "fine é"} {
		cl := cleaner{}
		if got := cl.text(in); got != want || cl.altered != (in != want) {
			t.Errorf("%q became %q, altered %v", in, got, cl.altered)
		}
	}
}

func TestWhatStandsBesideTheMessages(t *testing.T) {
	tests := []struct{ path, body, prompt, messages string }{
		{"/v1/messages", `{"system":"be brief","messages":[{"role":"user","content":"hi"}]}`, "hi",
			`[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]`},
		{"/v1/messages", `{"system":"be brief","messages":[ ]}`, "", `[{"role":"system","content":"be brief"}]`},
		{"/api/generate", `{"system":"s","prompt":"p"}`, "p", `[{"role":"system","content":"s"},{"role":"user","content":"p"}]`},
		{"/v1/completions", `{"prompt":"p","suffix":"x"}`, "p", `[{"role":"user","content":"p"},{"role":"suffix","content":"x"}]`},
		{"/v1/completions", `{"prompt":"p"}`, "p", ``},
		{"/v1/responses", `{"instructions":"i","input":"q"}`, "q", `[{"role":"system","content":"i"},{"role":"user","content":"q"}]`},
		{"/v1/embeddings", `{"input":["a","b"]}`, "a\nb", `["a","b"]`},
		{"/v1/chat/completions", `{no JSON`, "{no JSON", ``},
	}
	for _, tt := range tests {
		c := readRecord(&Record{Route: dialect.RouteOf("POST", tt.path), RequestBody: []byte(tt.body)}, "")
		if c.Prompt != tt.prompt || string(c.Messages) != tt.messages {
			t.Errorf("%s %s: %q, %s", tt.path, tt.body, c.Prompt, c.Messages)
		}
	}
}
