package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
	"github.com/vega-proxy/vega-proxy/internal/testkit/postgres"
)

// hunt reports each secret that is in a text.
func hunt(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s has the secret %q: …%q", where, secret, text[max(0, at-60):min(len(text), at+len(secret)+20)])
		}
	}
}

// huntFiles does so with all files below a directory.
func huntFiles(t *testing.T, dir string, secrets []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		hunt(t, path, string(content), secrets)
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files of %s were read: %v", files, dir, err)
	}
}

// huntEverywhere looks wherever a proxy writes, also into the spool before it is
// stored, and ends the proxy.
func huntEverywhere(t *testing.T, p *process, c *http.Client, secrets []string, where ...string) {
	t.Helper()
	huntFiles(t, p.dataDir, secrets)
	p.flush(c)
	hunt(t, "metrics", do(t, c, http.MethodGet, p.admin+"/metrics", "").body, secrets)
	for _, path := range []string{"/admin/config", "/admin/conversations", "/admin/performance/batch/conversation-logger/stats"} {
		hunt(t, path, do(t, c, http.MethodGet, p.admin+path, "", "X-API-Key", p.key()).body, secrets)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	huntFiles(t, p.dataDir, secrets)
	hunt(t, "the log output", p.log.String(), secrets)
	hunt(t, "the export", run(t, append([]string{"logs", "export"}, where...)...), secrets)
	audited(t, where...)
}

// TestCredentialsAreNotLogged plants credentials wherever a request or a
// configuration has a place for one, with the default settings and Postgres.
func TestCredentialsAreNotLogged(t *testing.T) {
	t.Parallel()
	pg := newPostgres(t)
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serveIn(t, filepath.Join(t.TempDir(), "data"), []string{"BACKEND_KEY=planted-variable"}, `
upstreams:
  - name: good
    url: `+backend+`
    models: ["demo*"]
    headers: {Authorization: "Bearer ${BACKEND_KEY}", X-Secret: "file:`+writeFile(t, "key", "planted-key-file\n")+`"}
  - {name: dead, url: "http://127.0.0.1:1", models: [dead]}
client_keys: ["file:`+writeFile(t, "client", "planted-client-file\n")+`"]
admin: {api_key: "file:`+writeFile(t, "admin", "planted-admin-file\n")+`"}
batchlog: {flush_interval: 1h}
`, "--log-level", "debug", "--database", pg.URL("log"))
	if err := os.WriteFile(filepath.Join(p.dataDir, "admin-key"), []byte("planted-admin-file"), 0o600); err != nil { // for key
		t.Fatal(err)
	}
	c := newClient(t)
	secrets := []string{
		"planted-variable", "planted-key-file", "planted-client-file", "planted-header", "planted-cookie", "planted-query", "planted-wrong",
		"planted-proxy", "planted-google", "planted-azure", postgres.Password,
	}
	asked := 0
	ask := func(path, body string, headers ...string) {
		t.Helper()
		asked++
		do(t, c, http.MethodPost, p.proxy+path+"?key=planted-query&api_key=planted-query", body, append([]string{
			"Authorization", "Bearer planted-client-file", "Cookie", "session=planted-cookie", "X-Custom-Token", "planted-header",
			"Proxy-Authorization", "Basic planted-proxy", "X-Goog-Api-Key", "planted-google", "Api-Key", "planted-azure",
		}, headers...)...)
	}
	for _, s := range shapes {
		ask(s.path, fmt.Sprintf(s.body, "marker"))
		ask(s.path, strings.Replace(fmt.Sprintf(s.body, "marker"), "demo", "dead", 1))
		ask(s.path, fmt.Sprintf(s.body, "marker"), "Authorization", "Bearer planted-wrong")
		ask(s.path, fmt.Sprintf(s.body, "marker"), "X-Sim-Fail", "500")
		ask(s.path, fmt.Sprintf(s.body, "marker"), "X-Sim-Fail", "error-event")
	}
	where := []string{"--data-dir", p.dataDir, "--database", pg.URL("log")}
	if err := os.Remove(filepath.Join(p.dataDir, "admin-key")); err != nil {
		t.Fatal(err)
	}
	huntFiles(t, p.dataDir, append(secrets, "planted-admin-file"))
	if err := os.WriteFile(filepath.Join(p.dataDir, "admin-key"), []byte("planted-admin-file"), 0o600); err != nil {
		t.Fatal(err)
	}
	huntEverywhere(t, p, c, secrets, where...)
	if all := exported(t, where...); len(all) != asked {
		t.Errorf("%d requests are %d conversations", asked, len(all))
	}
	pg.Kill()
	huntFiles(t, filepath.Join(pg.Dir(), "data"), secrets)
	pg.restart()
}

// credentials have the shapes that `redact: [builtin]` knows; where there is a
// word before the secret, it alone is to be gone.
var credentials = []struct{ text, secret string }{
	{"sk-proj-PLANTED0123456789abcdef", ""},
	{"sk-ant-api03-PLANTED0123456789abc", ""},
	{"AKIAPLANTED012345678", ""},
	{"ghp_PLANTED0123456789abcdefghijklmnop", ""},
	{"github_pat_PLANTED0123456789_abcdefgh", ""},
	{"glpat-PLANTED0123456789abcd", ""},
	{"xoxb-PLANTED01234-abcdefg", ""},
	{"AIzaPLANTED0123456789abcdefghijklmnopqr", ""},
	{"hf_PLANTED0123456789abcdefgh", ""},
	{"eyJhbGciOiJIUzI1NiJ9.eyJQTEFOVEVEIjoxfQ.PLANTEDsignature0123", ""},
	{"Authorization: Bearer PLANTEDbearer0123456789", "PLANTEDbearer0123456789"},
	{"postgres://user:PLANTEDinurl0123@db.example/x", "PLANTEDinurl0123"},
	{"password=PLANTEDpassword0123", "PLANTEDpassword0123"},
	{`"api_key": "PLANTEDnamed0123456"`, "PLANTEDnamed0123456"},
	{"-----BEGIN RSA PRIVATE KEY-----\nPLANTEDprivate0123456789\n-----END RSA PRIVATE KEY-----", "PLANTEDprivate0123456789"},
}

// telling is a backend that repeats the prompt, a byte of it in each event, or as
// an error.
func telling(t *testing.T) string {
	quoted := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Model    string
			Stream   *bool
			Messages []struct{ Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Messages) == 0 {
			io.WriteString(w, "{}")
			return
		}
		prompt := req.Messages[0].Content
		ollama := strings.HasPrefix(r.URL.Path, "/api/")
		switch {
		case req.Model == "failing":
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, `{"error":{"message":%s}}`, quoted("Unsayable: "+prompt))
		case ollama:
			w.Header().Set("Content-Type", "application/x-ndjson")
			for _, b := range prompt {
				fmt.Fprintf(w, `{"model":"m","message":{"role":"assistant","content":%s},"done":false}`+"\n", quoted(string(b)))
			}
			io.WriteString(w, `{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}`+"\n")
		case req.Stream == nil:
			fmt.Fprintf(w, `{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}]}`, quoted(prompt))
		default:
			w.Header().Set("Content-Type", "text/event-stream")
			for _, b := range prompt {
				fmt.Fprintf(w, "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%[1]s,\"reasoning\":%[1]s,\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":%[1]s}}]}}]}\n\n", quoted(string(b)))
			}
			if req.Model == "breaking" {
				fmt.Fprintf(w, "data: {\"error\":{\"message\":%s}}\n\n", quoted("Unsayable: "+prompt))
				return
			}
			io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
		}
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

// TestContentIsKeptOut plants credentials in what is said, by whom and in which
// form ever, and looks for them where they should have been taken out; or for any
// word, where no text is to be kept.
func TestContentIsKeptOut(t *testing.T) {
	var shaped []string
	for _, c := range credentials {
		if c.secret == "" {
			c.secret = c.text
		}
		shaped = append(shaped, c.secret)
	}
	for _, tt := range []struct {
		name     string
		settings string
		keeps    string // a word of the prompt that the log has
		secrets  []string
	}{
		{"builtin", "redact: [builtin]", "Marker", shaped},
		{"own expressions", "redact: ['Mar(ker)', 'PLANTED[A-Za-z0-9]*']", "please", []string{"Marker", "PLANTED0", "PLANTEDpassword"}},
		{"hashed", "content: hashed", "", append([]string{"Marker", "PLANTED", "please", "Unsayable"}, shaped...)},
		{"off", "content: off", "", append([]string{"Marker", "PLANTED", "please", "Unsayable"}, shaped...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, upstreamAt(telling(t))+"cache: {policy: 'off'}\nbreaker: {enabled: false}\nlog: {level: debug}\nbatchlog: {flush_interval: 1h, "+tt.settings+"}\n")
			c := newClient(t)
			asked := 0
			for _, cred := range credentials {
				prompt, err := json.Marshal("Marker please keep " + cred.text + " for me.")
				if err != nil {
					t.Fatal(err)
				}
				for _, body := range []string{
					`{"model":"m","stream":true,"messages":[{"role":"user","content":%s}]}`, `{"model":"m","messages":[{"role":"user","content":%s}]}`,
					`{"model":"failing","messages":[{"role":"user","content":%s}]}`, `{"model":"breaking","stream":true,"messages":[{"role":"user","content":%s}]}`,
				} {
					asked++
					do(t, c, http.MethodPost, p.proxy+chatPath, fmt.Sprintf(body, prompt))
				}
				asked++
				do(t, c, http.MethodPost, p.proxy+"/api/chat", fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%s}]}`, prompt))
			}
			where := []string{"--data-dir", p.dataDir}
			huntEverywhere(t, p, c, tt.secrets, where...)
			all := exported(t, where...)
			if len(all) != asked {
				t.Errorf("%d requests are %d conversations", asked, len(all))
			}
			for _, c := range all {
				if !strings.Contains(c.Prompt, tt.keeps) || (c.Prompt == "") != (tt.name == "off") {
					t.Errorf("the prompt is %q", c.Prompt)
				}
				if c.Model == "m" && (!strings.Contains(c.Answer, tt.keeps) || (c.Answer == "") != (tt.name == "off")) {
					t.Errorf("the answer is %q", c.Answer)
				}
			}
		})
	}
}
