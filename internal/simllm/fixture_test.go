package simllm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recorded is an answer of a real server, with the request that led to it.
type recorded struct {
	Method, Path string
	Headers      map[string]string
	Body         json.RawMessage
	status       int
	header       http.Header
	body         string
	err          error // of reading the body: a recorded failure may have cut it
}

// recordedFaults are the knobs that cause what was done to the real server.
var recordedFaults = map[string][]string{
	"fail-queue-full":                        {"X-Sim-Fail: busy"},
	"fail-runner-killed-api-chat-stream":     {"X-Sim-Fail: error-event", "X-Sim-Fail-After: 3"},
	"fail-runner-killed-v1-chat-stream":      {"X-Sim-Fail: empty-delta", "X-Sim-Fail-After: 3"},
	"fail-runner-killed-v1-messages-stream":  {"X-Sim-Fail: clean-eof", "X-Sim-Fail-After: 6"},
	"fail-runner-killed-v1-responses-stream": {"X-Sim-Fail: clean-eof", "X-Sim-Fail-After: 6"},
	"fail-server-kill":                       {"X-Sim-Fail: eof", "X-Sim-Fail-After: 3"},
}

func readRecorded(t *testing.T, base string) recorded {
	t.Helper()
	var r recorded
	b, err := os.ReadFile(base + ".request.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(base + ".http"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), &http.Request{Method: r.Method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	r.status, r.header, r.body, r.err = resp.StatusCode, resp.Header, string(body), err
	return r
}

// ours turns the recorded request into one for the simulator's models.
func (r recorded) ours() string {
	var text string
	if json.Unmarshal(r.Body, &text) != nil {
		text = string(r.Body)
	}
	if text == "null" {
		text = ""
	}
	return ourModels.Replace(text)
}

var ourModels = strings.NewReplacer("vega-tiny", "demo", "vega-think", "demo-think", "vega-embed", "demo-embed",
	"vega-endless", "demo", "vega-slow", "demo", "vega-copy", "demo-copy")

// opaqueKeys hold what the client or the model chose, not the protocol.
var opaqueKeys = []string{"arguments", "input", "parameters", "model_info", "properties"}

// shape adds the path of every key in v to into.
func shape(into map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			into[path+"."+k] = true
			if !slices.Contains(opaqueKeys, k) {
				shape(into, path+"."+k, inner)
			}
		}
	case []any:
		for _, inner := range v {
			shape(into, path+"[]", inner)
		}
	}
}

// shapeOf is the key paths of a body: of its JSON, or of all its events
// together, each under its event's name. names are the events in order, a run
// of equal ones once.
func shapeOf(t *testing.T, contentType, body string) (keys, names []string) {
	t.Helper()
	set := map[string]bool{}
	add := func(name, data string) {
		if data == "[DONE]" {
			name = data
		} else {
			var v any
			if err := json.Unmarshal([]byte(data), &v); err != nil {
				t.Fatalf("not JSON: %q: %v", data, err)
			}
			shape(set, name, v)
		}
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	switch {
	case strings.HasPrefix(contentType, typeSSE):
		for event := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
			name := ""
			for line := range strings.SplitSeq(event, "\n") {
				if n, ok := strings.CutPrefix(line, "event: "); ok {
					name = n
				} else {
					add(name, strings.TrimPrefix(line, "data: "))
				}
			}
		}
	case strings.HasPrefix(contentType, typeNDJSON):
		for line := range strings.Lines(body) {
			add("", line)
		}
	case strings.HasPrefix(contentType, "application/json") && body != "":
		add("", body)
	default:
		set[body] = true
	}
	return slices.Sorted(maps.Keys(set)), names
}

// TestAnswersLikeTheRealServers sends each recorded request to the simulator
// and compares status, content type and JSON keys with what was recorded.
func TestAnswersLikeTheRealServers(t *testing.T) {
	for _, server := range []string{"ollama", "llama-server"} {
		files, err := filepath.Glob("testdata/" + server + "/*.http")
		if err != nil || len(files) == 0 {
			t.Fatalf("no recordings of %s: %v", server, err)
		}
		for _, file := range files {
			base := strings.TrimSuffix(file, ".http")
			t.Run(strings.TrimPrefix(base, "testdata/"), func(t *testing.T) {
				want := readRecorded(t, base)
				_, ts := start(t, Config{Tokens: 9, Models: []string{"demo", "demo-think", "demo-embed", "demo-copy"}})
				var headers []string
				for k, v := range want.Headers {
					headers = append(headers, k+": "+v)
				}
				if server == "llama-server" {
					headers = append(headers, "X-Sim-Like: llama")
				}
				for prefix, knobs := range recordedFaults {
					if strings.HasPrefix(filepath.Base(base), prefix) {
						headers = append(headers, knobs...)
					}
				}
				if want.Path == "/api/ps" {
					send(t, ts, "POST", "/api/chat", `{"model":"demo"}`)
				}
				got := send(t, ts, want.Method, ourModels.Replace(want.Path), want.ours(), headers...)
				if (got.err == nil) != (want.err == nil) {
					t.Fatalf("reading the body: %v, recorded: %v", got.err, want.err)
				}
				if got.status != want.status {
					t.Errorf("status %d, recorded %d: %s", got.status, want.status, got.body)
				}
				contentType := want.header.Get("Content-Type")
				if g := got.header.Get("Content-Type"); g != contentType && !(strings.HasPrefix(g, "application/json") && strings.HasPrefix(contentType, "application/json")) {
					t.Errorf("Content-Type %q, recorded %q", g, contentType)
				}
				gotKeys, gotNames := shapeOf(t, got.header.Get("Content-Type"), got.body)
				wantKeys, wantNames := shapeOf(t, contentType, want.body)
				if !slices.Equal(gotKeys, wantKeys) {
					t.Errorf("keys\n %v\nrecorded\n %v", gotKeys, wantKeys)
				}
				if !slices.Equal(gotNames, wantNames) {
					t.Errorf("events\n %v\nrecorded\n %v", gotNames, wantNames)
				}
			})
		}
	}
}
