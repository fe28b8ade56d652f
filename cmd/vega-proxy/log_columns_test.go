package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

const weather = `"parameters":{"type":"object","properties":{"city":{"type":"string"}}}`

// TestExportColumns holds every column of an export, for exchanges of every
// API and every kind of end.
func TestExportColumns(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, `
upstreams:
  - {name: live, url: `+backend+`, models: ["demo*"], stream: {buffer_size: 10000, buffer_bytes: 64MiB}}
  - {name: dead, url: "http://127.0.0.1:1", models: [dead], breaker: {fail_threshold: 1}}
retry: {max_attempts: 1}
`+quick)
	c := newClient(t)
	ask := func(id, path, body string, headers ...string) {
		t.Helper()
		if _, err := try(t.Context(), c, http.MethodPost, p.proxy+path, body, append([]string{"X-Request-Id", id, "X-Session-Id", "s-" + id}, headers...)...); err != nil && id != "broken" {
			t.Fatal(err)
		}
	}
	ask("tools", chatPath, `{"model":"demo","stream":true,"stream_options":{"include_usage":true},"temperature":0.25,"stop":["END"],
		"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Is it warm in Rome?"}],
		"tools":[{"type":"function","function":{"name":"weather",`+weather+`}}]}`, "Authorization", "Bearer one", "X-Sim-TTFT", "20ms")
	ask("ollama", "/api/chat", `{"model":"demo","messages":[{"role":"user","content":"Sing."}],"options":{"temperature":0.5,"num_predict":9}}`)
	ask("anthropic", "/v1/messages", `{"model":"demo","max_tokens":50,"system":"Be brief.","messages":[{"role":"user","content":[{"type":"text","text":"Say something."}]}]}`, "X-Api-Key", "two")
	dead := strings.Replace(chat, "demo", "dead", 1)
	ask("unreachable", chatPath, dead)
	ask("refused", chatPath, dead)
	ask("broken", chatPath, strings.Replace(chatLive, "demo", "demo?tokens=9&fail=eof&fail_after=4", 1))
	ask("uncached", chatPath, strings.Replace(chat, "the sea", "nothing", 1), "Cache-Control", "only-if-cached")
	leaveInTheMiddle(t, p)
	leaveBeforeTheEnd(t, p, c)
	p.flush(c)

	// An amendment may come after the flush.
	lines := map[string]map[string]any{}
	until(t, "the amendment is stored", func() bool {
		p.flush(c)
		for line := range strings.Lines(run(t, "logs", "export", "--data-dir", p.dataDir)) {
			row := map[string]any{}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			lines[row["request_id"].(string)] = row
		}
		return lines["gone"]["revision"] == 1.0
	})
	wants := map[string]string{
		"tools": `{"session_id":"s-tools","dialect":"openai","endpoint":"/v1/chat/completions","upstream":"live","model":"demo","model_reported":"demo",
			"prompt":"Is it warm in Rome?","messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Is it warm in Rome?"}],
			"params":{"temperature":0.25,"stop":["END"],"stream":true},"answer":"","reasoning":"","choices":null,"finish_reason":"tool_calls",
			"cache_status":"BYPASS","http_status":200,"attempts":1,"outcome":"ok","ended_by":"upstream","error":"","streamed":true,"truncated":false,"revision":0}`,
		"ollama": `{"dialect":"ollama","endpoint":"/api/chat","prompt":"Sing.","messages":[{"role":"user","content":"Sing."}],
			"params":{"temperature":0.5,"max_tokens":9},"tool_calls":null,"finish_reason":"stop","completion_tokens":3,"outcome":"ok","streamed":true}`,
		"anthropic": `{"dialect":"anthropic","endpoint":"/v1/messages","prompt":"Say something.",
			"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"Say something."}]}],
			"params":{"max_tokens":50},"finish_reason":"end_turn","completion_tokens":3,"outcome":"ok","streamed":false,"time_to_first_token_ms":null}`,
		"unreachable": `{"upstream":"dead","attempts":1,"model":"dead","http_status":502,"outcome":"upstream_error","ended_by":"error","answer":"","truncated":false}`,
		"refused": `{"upstream":"","model":"dead","http_status":503,"outcome":"rejected","ended_by":"error","prompt":"","messages":null,"answer":"","truncated":false,
			"prompt_tokens":null,"completion_tokens":null,"attempts":0,"model_reported":"","finish_reason":""}`,
		"uncached": `{"upstream":"","http_status":504,"outcome":"rejected","ended_by":"error","cache_status":"BYPASS","prompt":"",
			"error":"not_cached: the answer is not in the cache, and only-if-cached was asked for"}`,
		"broken": `{"upstream":"live","http_status":200,"outcome":"upstream_error","ended_by":"error","finish_reason":"","streamed":true,"truncated":true,"prompt":"Tell me about the sea."}`,
		"left":   `{"upstream":"live","http_status":200,"outcome":"client_gone","ended_by":"client","finish_reason":"","streamed":true,"truncated":true,"revision":0}`,
		"gone":   `{"upstream":"live","http_status":200,"outcome":"client_gone","ended_by":"client","finish_reason":"stop","streamed":true,"truncated":false,"revision":1}`,
	}
	for id, want := range wants {
		row := lines[id]
		if names := slices.Sorted(maps.Keys(row)); !slices.Equal(names, slices.Sorted(slices.Values(columns))) {
			t.Errorf("%s has the columns %q", id, names)
			continue
		}
		wanted := map[string]any{}
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		for name, value := range wanted {
			if got, want := fmt.Sprint(row[name]), fmt.Sprint(value); got != want {
				t.Errorf("%s: %s is %s, want %s", id, name, got, want)
			}
		}
		checkAnyRow(t, id, row)
	}
	checkCalls(t, lines["tools"])
	for _, id := range []string{"ollama", "anthropic", "broken", "left", "gone"} {
		if lines[id]["answer"] == "" {
			t.Errorf("%s has no answer", id)
		}
	}
	for _, id := range []string{"unreachable", "refused", "broken"} {
		if lines[id]["error"] == "" {
			t.Errorf("%s has no error", id)
		}
	}
	if ttft := lines["tools"]["time_to_first_token_ms"]; ttft == nil || ttft.(float64) < 20 {
		t.Errorf("tools: the first token came after %v ms", ttft)
	}
	if one, two, none := lines["tools"]["tenant"], lines["anthropic"]["tenant"], lines["ollama"]["tenant"]; one == two || len(one.(string)) != 16 || len(two.(string)) != 16 || none != "" {
		t.Errorf("the tenants are %q, %q and %q", one, two, none)
	}
	if out := lines["gone"]["bytes_out"].(float64); out <= 0 || out >= 12e6 {
		t.Errorf("gone: %v bytes went out", out)
	}

	if found := do(t, c, http.MethodGet, p.admin+"/admin/conversations?q=rome&outcome=ok&session=s-tools", "", "X-API-Key", p.key()); !strings.Contains(found.body, `"request_id":"tools"`) || strings.Contains(found.body, "ollama") {
		t.Errorf("/admin/conversations found %d %s", found.status, found.body)
	}
	if a := audited(t, "--data-dir", p.dataDir); a.Inserted != uint64(len(wants)) || a.Amended != 1 {
		t.Errorf("the audit: %+v", a)
	}
}

// checkAnyRow holds what is true of every exchange here.
func checkAnyRow(t *testing.T, id string, row map[string]any) {
	t.Helper()
	if parsed, err := uuid.Parse(row["id"].(string)); err != nil || parsed.Version() != 7 {
		t.Errorf("%s: the id is %v", id, row["id"])
	}
	if at, err := time.Parse(time.RFC3339Nano, row["started_at"].(string)); err != nil || at.Location() != time.UTC || time.Since(at) > patience {
		t.Errorf("%s: started at %v", id, row["started_at"])
	}
	for _, name := range []string{"duration_ms", "bytes_in", "bytes_out"} {
		if n, ok := row[name].(float64); !ok || n <= 0 {
			t.Errorf("%s: %s is %v", id, name, row[name])
		}
	}
	for _, name := range []string{"tokens_estimated", "incomplete", "altered"} {
		if row[name] != false {
			t.Errorf("%s: %s is %v", id, name, row[name])
		}
	}
	if row["dropped"] != 0.0 || row["instance"] == "" || row["cache_status"] != "BYPASS" {
		t.Errorf("%s: dropped %v, instance %q, cache %q", id, row["dropped"], row["instance"], row["cache_status"])
	}
}

func checkCalls(t *testing.T, row map[string]any) {
	t.Helper()
	calls, _ := row["tool_calls"].([]any)
	if len(calls) != 1 {
		t.Fatalf("the tool calls are %v", row["tool_calls"])
	}
	call, _ := calls[0].(map[string]any)
	arguments, _ := call["arguments"].(map[string]any)
	if call["name"] != "weather" || call["id"] == "" || arguments["city"] == nil {
		t.Errorf("the call is %v", call)
	}
	for _, name := range []string{"prompt_tokens", "completion_tokens"} {
		if n, ok := row[name].(float64); !ok || n <= 0 {
			t.Errorf("%s is %v", name, row[name])
		}
	}
}

// leaveInTheMiddle reads the first event of an answer whose others take their time,
// and leaves.
func leaveInTheMiddle(t *testing.T, p *process) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.proxy+chatPath, strings.NewReader(strings.Replace(chatLive, "demo", "demo?tokens=1000&delay=20ms", 1)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "left")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() // before the end: the connection ends
	if _, err := bufio.NewReader(res.Body).ReadString('}'); err != nil {
		t.Error(err)
	}
}

// leaveBeforeTheEnd reads the first event of a large answer, waits until the
// log has it whole, and leaves.
func leaveBeforeTheEnd(t *testing.T, p *process, c *http.Client) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := errors.Join(conn.SetDeadline(time.Now().Add(patience)), conn.(*net.TCPConn).SetReadBuffer(64<<10)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: gone\r\nX-Session-Id: s-gone\r\n"+
		"X-Sim-Tokens: 120\r\nX-Sim-Token-Bytes: 100000\r\nContent-Length: %d\r\n\r\n%s", chatPath, len(chatLive), chatLive)
	r := bufio.NewReader(conn)
	for line := ""; !strings.HasPrefix(line, "data: {"); {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the log has the answer", func() bool {
		found := do(t, c, http.MethodGet, p.admin+"/admin/conversations?session=s-gone", "", "X-API-Key", p.key())
		return strings.Contains(found.body, `"revision":0`)
	})
}
