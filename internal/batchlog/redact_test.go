package batchlog

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// secrets are planted, each put together here so that nobody's scanner finds
// them in this file. The second is what must be gone.
var secrets = [][2]string{
	{"my key is sk-" + "proj-abcDEF123456_7890xyzXYZ", "abcDEF123456_7890xyzXYZ"},
	{"sk-" + "ant-api03-AAAAbbbbCCCCdddd", "AAAAbbbbCCCCdddd"},
	{"stripe sk_" + "live_abcdefghijklmnop1234", "abcdefghijklmnop1234"},
	{"aws AKIA" + "IOSFODNN7EXAMPLE here", "IOSFODNN7EXAMPLE"},
	{`aws_secret_access_key = "` + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" + `"`, "wJalrXUtnFEMI"},
	{"ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a", "16C7e42F292c6912"},
	{"github_pat_" + "11ABCDEFG0abcdefghijkl_mnop", "11ABCDEFG0abcdef"},
	{"glpat-" + "abcdefghij1234567890", "abcdefghij1234567890"},
	{"xoxb-" + "123456789012-abcdefABCDEF", "123456789012-abcdef"},
	{"AIza" + "SyA-1234567890abcdefghijklmnopqrstu", "1234567890abcdefghij"},
	{"hf_" + "abcdefghijklmnopqrstuvwxyzABCDEF", "abcdefghijklmnopqrst"},
	{"jwt eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4", "SflKxwRJSMeKKF2QT4"},
	{"-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEA\nabc\n-----END RSA PRIVATE " + "KEY-----", "MIIEowIBAAKCAQEA"},
	{"-----BEGIN OPENSSH PRIVATE " + "KEY-----\nb3BlbnNzaC1rZXktdjE and no end", "b3BlbnNzaC1rZXktdjE"},
	{"Authorization: Bearer " + "abcdef0123456789abcdef", "abcdef0123456789abcdef"},
	{"Authorization: Basic " + "dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"},
	{"postgres://admin:" + "hunter2hunter2" + "@db/x", "hunter2hunter2"},
	{"redis://:" + "p4ss" + "@cache:6379", "p4ss"},
	{"GET /v1?api_key=" + "qwertyuiop1234&x=1", "qwertyuiop1234"},
	{`{"password": "` + "correct-horse" + `"}`, "correct-horse"},
	{"api-key: " + "0123456789abcdef0123456789abcdef", "0123456789abcdef"},
	{"DB_PASSWORD=" + "s3cr3tpassw0rd", "s3cr3tpassw0rd"},
	{"Cookie: session=" + "abcdef123456; theme=dark", "abcdef123456"},
	{"https://hooks.slack.com/services/" + "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "XXXXXXXXXXXX"},
}

// harmless texts must stay as they are.
var harmless = []string{
	"The task-force asked about risk-adjusted returns and desk-bound work.",
	"sk-learn is not a key; neither is sk_ nor ghp_.",
	"Bearer of good news; basic arithmetic; a bearer token is sent in a header.",
	"What is a password? Passwords are like underwear.",
	"https://example.com/a:b@c see user@example.com",
	"func main() { fmt.Println(\"hello, wörld\") } // 你好",
	"550e8400-e29b-41d4-a716-446655440000",
	"The API key goes into the header. max_tokens: 128, token_count = 99",
}

func TestBuiltinRedactions(t *testing.T) {
	for _, s := range secrets {
		got, found := builtin.text("before " + s[0] + " behind")
		if !found || strings.Contains(got, s[1]) || !strings.HasPrefix(got, "before ") {
			t.Errorf("%q became %q", s[0], got)
		}
		again, _ := builtin.text(got)
		if again != got {
			t.Errorf("redacted twice: %q became %q", got, again)
		}
	}
	for _, text := range harmless {
		if got, found := builtin.text(text); found || got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	for _, s := range BuiltinRedactions() {
		if _, err := regexp.Compile(s[1]); err != nil || s[0] == "" {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestRedactJSON(t *testing.T) {
	r, err := newRedactor([]string{"builtin", `project \w+`, `name=(\w+)`})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ in, want string }{
		{`{"a":"project Manhattan","b":[1,"name=Bob!"]}`, `{"a":"[redacted]","b":[1,"name=[redacted]!"]}`},
		{`{"password":"x","Authorization":"y","token_count":"3"}`, `{"password":"[redacted]","Authorization":"[redacted]","token_count":"3"}`},
		{`{"api_key":["k1","k2"],"n":"k3"}`, `{"api_key":["[redacted]","[redacted]"],"n":"k3"}`},
		{`{"project Manhattan":1}`, `{"[redacted]":1}`},
		{"[\"sk\\u002d" + `abcdefghijklmnop1234"]`, `["[redacted]"]`},
		{`["{\"api_key\":\"` + `abcdefgh\"}"]`, `["{\"api_key\":\"[redacted]\"}"]`},
		{`["\"quoted\" project X\n"]`, `["\"quoted\" [redacted]\n"]`},
		{`{"a":"fine"}`, `{"a":"fine"}`},
	}
	for _, tt := range tests {
		got, found := r.json(json.RawMessage(tt.in))
		if string(got) != tt.want || found != (tt.in != tt.want) || !json.Valid(got) {
			t.Errorf("%s\n got %s, %v\nwant %s", tt.in, got, found, tt.want)
		}
	}
	if _, err := newRedactor([]string{"("}); err == nil {
		t.Error("a wrong expression is taken")
	}
}

// TestNoSecretIsWritten looks for planted secrets in every byte of the data
// directory: in the question, in arguments of tools, and in answers that are
// split into events at every byte.
func TestNoSecretIsWritten(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig()
	cfg.Redact = []string{"builtin"}
	l := open(t, cfg, dir)
	for _, s := range secrets {
		r := chat("tell me "+s[0], "as you said: "+s[0])
		r.Error, r.Tenant, r.SessionID = s[0], s[0], s[0]
		l.Append(r, nil)
		for cut := range len(s[0]) {
			r := chat("p", "")
			r.Answer = [][]byte{event("say " + s[0][:cut]), event(s[0][cut:] + " end")}
			l.Append(r, nil)
		}
		r = chat("p", "")
		arguments, err := json.Marshal(map[string]string{"command": s[0]})
		if err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(string(arguments))
		if err != nil {
			t.Fatal(err)
		}
		r.Framing = dialect.FramingJSON
		r.Answer = [][]byte{[]byte(`{"choices":[{"message":{"tool_calls":[{"id":"c","function":{"name":"sh","arguments":` + string(quoted) + `}}]},"finish_reason":"tool_calls"}]}`)}
		l.Append(r, nil)
	}
	search := func(when string) {
		t.Helper()
		for name, content := range filesBelow(t, dir) {
			for _, s := range secrets {
				if strings.Contains(content, s[1]) {
					t.Errorf("%s: %q is in %s", when, s[1], name)
				}
			}
		}
	}
	search("spooled")
	flushAll(t, l)
	search("stored")
	if st := l.Stats(); st.SetAside != 0 || st.Inserted != st.Queued {
		t.Errorf("%+v", st)
	}
	if found := all(t, l.Log, Query{Text: "as you said: "}); len(found) < len(secrets)-5 || !found[0].Altered {
		t.Errorf("%d answers are left", len(found))
	}
}

func event(text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%s}}]}\n\n", quoted)
}

func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found[path] = string(content)
		return err
	})
	if err != nil || len(found) < 3 {
		t.Fatalf("%d files, %v", len(found), err)
	}
	return found
}

// TestContentLevels: hashed and off leave no text anywhere.
func TestContentLevels(t *testing.T) {
	record := func() *Record {
		r := chat("the prompt", "the answer")
		r.RequestBody = []byte(`{"model":"m","temperature":0.5,"stop":["the stop"],"seed":7,"messages":[{"role":"user","content":"the prompt"}]}`)
		r.Answer = [][]byte{event("the answer"), []byte(`data: {"choices":[{"index":0,"delta":{"reasoning":"the reason","tool_calls":[{"index":0,"id":"c","function":{"name":"the tool","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5}}` + "\n\n")}
		return r
	}
	words := []string{"the prompt", "the answer", "the stop", "the reason", "the tool"}
	for _, level := range []string{"hashed", "off"} {
		t.Run(level, func(t *testing.T) {
			dir := t.TempDir()
			cfg := testConfig()
			cfg.Content = level
			l := open(t, cfg, dir)
			l.Append(record(), nil)
			flushAll(t, l)
			for name, content := range filesBelow(t, dir) {
				for _, w := range words {
					if strings.Contains(content, w) {
						t.Errorf("%q is in %s", w, name)
					}
				}
			}
			c := all(t, l.Log, Query{})[0]
			if c.Model != "m" || c.FinishReason != "stop" || *c.CompletionTokens != 5 || string(c.Params) != `{"seed":7,"temperature":0.5}` {
				t.Errorf("what is no content is gone: %+v", c)
			}
			want := Conversation{}
			if level == "hashed" {
				want.Prompt, want.Answer, want.Reasoning = l.reducer().hash("the prompt"), l.reducer().hash("the answer"), l.reducer().hash("the reason")
				want.Messages = json.RawMessage(`"` + l.reducer().hash(`[{"role":"user","content":"the prompt"}]`) + `"`)
			}
			if c.Prompt != want.Prompt || c.Answer != want.Answer || c.Reasoning != want.Reasoning || string(c.Messages) != string(want.Messages) {
				t.Errorf("got %q %q %q %s", c.Prompt, c.Answer, c.Reasoning, c.Messages)
			}
			if level == "hashed" && (len(c.Prompt) != 64 || slices.Contains([]string{c.Answer, c.Reasoning}, c.Prompt)) {
				t.Errorf("hash %q", c.Prompt)
			}
			info, err := os.Stat(filepath.Join(dir, "log.key"))
			if err != nil || info.Mode().Perm() != 0o600 || info.Size() != keySize {
				t.Errorf("the key: %v, %v", info, err)
			}
			if err := l.stop(); err != nil {
				t.Fatal(err)
			}
			again := open(t, cfg, dir)
			if again.reducer().hash("x") != l.reducer().hash("x") {
				t.Error("the key is another one after a restart")
			}
		})
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "log.key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKey(dir); err == nil {
		t.Error("half a key is taken")
	}
}
