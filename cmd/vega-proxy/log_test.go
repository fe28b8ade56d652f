package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// quick is a log that is stored at once, of exchanges that all reach the backend.
const quick = "cache: {policy: 'off'}\nbatchlog: {flush_interval: 50ms}\n"

// columns are those of the table and of each line of an export.
var columns = []string{
	"id", "request_id", "session_id", "started_at", "dialect", "endpoint", "upstream", "model", "model_reported", "prompt",
	"messages", "params", "answer", "reasoning", "tool_calls", "choices", "finish_reason", "prompt_tokens",
	"completion_tokens", "tokens_estimated", "time_to_first_token_ms", "duration_ms", "cache_status", "http_status",
	"attempts", "outcome", "ended_by", "error", "streamed", "truncated", "incomplete", "altered", "dropped", "revision",
	"instance", "bytes_in", "bytes_out", "tenant",
}

const flushPath = "/admin/performance/batch/conversation-logger/flush"

// flush stores all that is spooled.
func (p *process) flush(c *http.Client) {
	p.t.Helper()
	var last reply
	until(p.t, "all is stored", func() bool {
		last = do(p.t, c, http.MethodPost, p.admin+flushPath, "", "X-API-Key", p.key())
		var done struct{ Flushed, Remaining int }
		if last.status != http.StatusOK {
			return false
		}
		if err := json.Unmarshal([]byte(last.body), &done); err != nil {
			p.t.Fatalf("%v: %s", err, last.body)
		}
		return done.Remaining == 0
	})
}

// run runs a command that must succeed.
func run(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	stdout, stderr, code := execute(t, nil, args...)
	if code != 0 {
		t.Fatalf("vega-proxy %q ended with %d: %s%s", args, code, stdout, stderr)
	}
	return stdout
}

// exported reads `logs export`.
func exported(t *testing.T, args ...string) (all []batchlog.Conversation) {
	t.Helper()
	for line := range strings.Lines(run(t, append([]string{"logs", "export"}, args...)...)) {
		var c batchlog.Conversation
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, c)
	}
	return all
}

// audited holds that nothing is missing, and returns the balance.
func audited(t *testing.T, args ...string) (a batchlog.Audit) {
	t.Helper()
	out := run(t, append([]string{"audit", "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if sum := a.Inserted + a.Amended + a.Spooled + a.SetAside + a.Dropped; !a.Balanced || a.Accepted != sum {
		t.Errorf("%d were accepted, %d are accounted for: %s", a.Accepted, sum, out)
	}
	if a.InSink >= 0 && a.InSink+int64(a.Retired) < int64(a.Inserted) {
		t.Errorf("%d were inserted, the sink has %d: %s", a.Inserted, a.InSink, out)
	}
	return a
}

// TestLogsSaysWhatWaits: who looks before the first flush learns that there will be
// something.
func TestLogsSaysWhatWaits(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+"batchlog: {flush_interval: 1h}\n")
	do(t, newClient(t), http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusOK, "")
	const want = "no conversation was found; the spool holds 1, to be stored within 5s where a proxy runs\n"
	if out, stderr, code := execute(t, nil, "logs", "--data-dir", p.dataDir); out != "" || stderr != want || code != 0 {
		t.Errorf("%d, %q, %q", code, out, stderr)
	}
}

// TestLogCommands reads the log of a proxy that runs, and of one that has ended.
func TestLogCommands(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+quick)
	c := newClient(t)
	here := []string{"--data-dir", p.dataDir, "--utc"}
	ask := func(model, prompt, session string, headers ...string) {
		t.Helper()
		body := strings.Replace(strings.Replace(chat, `"demo"`, `"`+model+`"`, 1), "Tell me about the sea.", prompt, 1)
		do(t, c, http.MethodPost, p.proxy+chatPath, body, append([]string{"X-Session-Id", session}, headers...)...)
	}
	if out, stderr, code := execute(t, nil, append([]string{"logs"}, here...)...); out != "" || stderr != "no conversation was found\n" || code != 0 {
		t.Errorf("an empty log: %d, %q, %q", code, out, stderr)
	}
	ask("demo", "the first one", "a", "X-Request-Id", "r1")
	ask("demo?tokens=4", `the second\none, \u001b[31mred`, "b", "X-Request-Id", "r2")
	ask("demo", "100% of the third", "b", "X-Request-Id", "r3", "X-Sim-Fail", "500")
	p.flush(c)
	all := exported(t, "--data-dir", p.dataDir)
	if len(all) != 3 || all[0].RequestID != "r1" || all[2].RequestID != "r3" {
		t.Fatalf("exported, oldest first: %+v", all)
	}

	ids := func(out string) (found []string) {
		for line := range strings.Lines(out) {
			for i, c := range all {
				if strings.Contains(line, c.ID) {
					found = append(found, "r"+string(rune('1'+i)))
				}
			}
		}
		return found
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"r3", "r2", "r1"}},
		{[]string{"--limit", "2"}, []string{"r3", "r2"}},
		{[]string{"--session", "b"}, []string{"r3", "r2"}},
		{[]string{"--model", "demo"}, []string{"r3", "r1"}},
		{[]string{"--outcome", "upstream_error"}, []string{"r3"}},
		{[]string{"--search", "SECOND"}, []string{"r2"}},
		{[]string{"--search", "%"}, []string{"r3"}},
		{[]string{"list", "--limit", "2"}, []string{"r3", "r2"}},
		{[]string{"search", "SECOND"}, []string{"r2"}},
		{[]string{"search", "the first", "--session", "b"}, nil},
		{[]string{"--since", "1h"}, []string{"r3", "r2", "r1"}},
		{[]string{"--until", "1h"}, nil},
		{[]string{"--since", all[1].StartedAt.Format("2006-01-02T15:04:05.999999Z07:00")}, []string{"r3", "r2"}},
	} {
		if got := ids(run(t, append(append([]string{"logs"}, tt.args...), here...)...)); !slices.Equal(got, tt.want) {
			t.Errorf("logs %q lists %q, want %q", tt.args, got, tt.want)
		}
	}
	if out := run(t, append([]string{"logs", "--session", "b", "--outcome", "ok"}, here...)...); !strings.Contains(out, "the second one, \ufffd[31mred\n") ||
		!strings.Contains(out, all[1].StartedAt.Format("2006-01-02 15:04:05")) {
		t.Errorf("the list:\n%s", out)
	}

	p.signal(15)
	p.wantExit(0)
	if got := exported(t, "--data-dir", p.dataDir, "--session", "a", "--search", "first"); len(got) != 1 || got[0].ID != all[0].ID {
		t.Errorf("after the end: %+v", got)
	}
	out := run(t, append([]string{"logs", "show", all[1].ID}, here...)...)
	for _, want := range []string{
		"id         " + all[1].ID + "\n", "request    r2\n", "session    b\n", "\nuser:\n  the second\n  one, \ufffd[31mred\n", "\nassistant:\n  " + all[1].Answer + "\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("logs show has no %q:\n%s", want, out)
		}
	}
	if a := audited(t, "--data-dir", p.dataDir); a.Accepted != 3 || a.Inserted != 3 || a.InSink != 3 || a.Sink != "sqlite" {
		t.Errorf("the audit: %+v", a)
	}
	if out := run(t, "audit", "--data-dir", p.dataDir); !strings.Contains(out, "The sum is right") {
		t.Errorf("the audit:\n%s", out)
	}
}

// TestLogCommandLines holds what is refused, and what needs no log.
func TestLogCommandLines(t *testing.T) {
	t.Parallel()
	nowhere := filepath.Join(t.TempDir(), "data")
	const id = "01a214d1-d66a-7a3e-ab87-08d7a110363b"
	for _, tt := range []struct {
		args string
		code int
		want string // in what it writes
	}{
		{"logs --since yesterday", exUsage, `--since: "yesterday" is neither a time`},
		{"logs --outcome fine", exUsage, `there is no "fine"; there are ok client_gone`},
		{"logs --limit -1", exUsage, "--limit: -1 is below 0"},
		{"logs folow", exUsage, `takes no arguments, not "folow"`},
		{"logs show", exUsage, "takes one id"},
		{"logs show x", exUsage, `the id "x" is no UUID`},
		{"logs show " + id, 1, "there is no conversation " + id},
		{"logs retry", exUsage, "name the ids"},
		{"logs retry --all " + id, exUsage, "name the ids"},
		{"logs retry --all", 0, "0 marked"},
		{"logs retry " + id, 1, "1 of the 1 ids are not set aside"},
		{"logs set-aside", 0, "nothing is set aside"},
		{"logs export", 0, ""},
		{"audit", 0, "The sum is right"},
		{"audit --format xml", exUsage, `there is no "xml"`},
		{"logs --database postgres://u:hush@127.0.0.1:1/db", 1, `connect to Postgres at 127.0.0.1:1, database "db", as "u"`},
		{"audit --database postgres://u:hush@127.0.0.1:1/db", 0, "in the sink now: connect to Postgres at 127.0.0.1:1"},
	} {
		out, stderr, code := execute(t, nil, append(strings.Fields(tt.args), "--data-dir", nowhere)...)
		if code != tt.code || !strings.Contains(out+stderr, tt.want) || strings.Contains(out+stderr, "hush") {
			t.Errorf("vega-proxy %s: code %d, want %d and %q in\n%s%s", tt.args, code, tt.code, tt.want, out, stderr)
		}
	}
	if entries, err := filepath.Glob(nowhere); err != nil || entries != nil {
		t.Errorf("reading has made %q, %v", entries, err)
	}
	for args, want := range map[string]string{
		"schema --dialect sqlite": "started_at             TEXT NOT NULL", "schema": "started_at             timestamptz NOT NULL",
		"validate -v": `tokens of GitHub`,
	} {
		if out := run(t, strings.Fields(args)...); !strings.Contains(out, want) {
			t.Errorf("%s prints no %q:\n%s", args, want, out)
		}
	}
	schema := run(t, "schema")
	for _, name := range columns {
		if !strings.Contains(schema, "\n    "+name+" ") {
			t.Errorf("the schema has no %s", name)
		}
	}
}

// TestLogsFollow: what is stored later is shown, also an exchange that began
// before those which were shown already.
func TestLogsFollow(t *testing.T) {
	t.Parallel()
	backend, release := holding(t)
	p := serve(t, upstreamAt(backend)+quick)
	c := newClient(t)
	ask := func(session string) {
		t.Helper()
		do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-Session-Id", session).want(t, http.StatusOK, "")
	}
	_, long := openStream(t, c, p.proxy)
	ask("s")
	p.flush(c)
	first := exported(t, "--data-dir", p.dataDir)
	follow := begin(t, nil, "logs", "follow", "--data-dir", p.dataDir)
	shows := func(c batchlog.Conversation) {
		t.Helper()
		if _, ok := follow.out.line(follow.ended, c.ID); !ok {
			t.Errorf("follow never showed %+v:\n%s", c, follow.out)
		}
	}
	shows(first[0])
	release()
	if _, err := readAll(long); err != nil {
		t.Fatal(err)
	}
	ask("s")
	p.flush(c)
	all := exported(t, "--data-dir", p.dataDir)
	if len(all) != 3 || all[0].ID >= first[0].ID {
		t.Fatalf("the log has %+v", all)
	}
	shows(all[0])
	shows(all[2])
	follow.signal(15)
	follow.wantExit(0)
	for _, c := range all {
		if n := strings.Count(follow.out.String(), c.ID); n != 1 {
			t.Errorf("%s was shown %d times", c.ID, n)
		}
	}
}

// TestLogOfALongEvent: an event that is too long to be read in passing is kept, and
// its answer was no worse than any other.
func TestLogOfALongEvent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 5000)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", long)
	}))
	t.Cleanup(backend.Close)
	p, c := serve(t, upstreamAt(backend.URL)+quick+"stream: {max_event_bytes: 4KiB}\n"), newClient(t)
	do(t, c, http.MethodPost, p.proxy+chatPath, chatLive).want(t, http.StatusOK, "")
	p.flush(c)
	all := exported(t, "--data-dir", p.dataDir)
	if len(all) != 1 || all[0].Outcome != string(batchlog.OK) || all[0].Truncated || all[0].Answer != long || all[0].FinishReason != "stop" {
		t.Errorf("logged: %d, %+v", len(all), all)
	}
}
