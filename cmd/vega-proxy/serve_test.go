package main

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

func TestProbesAndMetrics(t *testing.T) {
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+"metrics: {listen: '127.0.0.1:0'}\n")
	metrics := "http://" + p.wait(`"msg":"metrics listening"`)["address"].(string)
	c := newClient(t)
	do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusOK, "")
	openStream(t, c, p.proxy)

	for _, base := range []string{p.admin, metrics} {
		for path, want := range map[string]string{"/livez": `{"status":"ok"}`, "/readyz": `{"status":"ready"}`, "/metrics": "vega_requests_total{"} {
			if r := do(t, c, http.MethodGet, base+path, ""); r.status != http.StatusOK || !strings.Contains(r.body, want) {
				t.Errorf("%s%s: %d %s", base, path, r.status, r.body)
			}
		}
	}
	// The listener for metrics serves nothing else, even to who has the key, and
	// is asked under any name.
	for _, path := range []string{"/", "/admin/config", "/admin/openapi.json", "/admin/performance/circuit-breakers/all", chatPath} {
		if r := do(t, c, http.MethodGet, metrics+path, "", "X-API-Key", p.key()); r.status != http.StatusNotFound {
			t.Errorf("metrics.listen serves %s: %d", path, r.status)
		}
	}
	lint(t, do(t, c, http.MethodGet, metrics+"/metrics", "").body)
}

// lint checks the real output by Prometheus' own rules.
func lint(t *testing.T, exposition string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(exposition)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Metric == "memory_tracked_mb" { // users' dashboards know it by this name
			continue
		}
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestNoSecretLeaves plants secrets in every place a request or a configuration
// has for them, and looks for them wherever the program writes.
func TestNoSecretLeaves(t *testing.T) {
	const planted = "planted"
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	c := newClient(t)
	p := serveIn(t, filepath.Join(t.TempDir(), "data"), []string{"BACKEND_KEY=planted-backend-key"}, `
upstreams:
  - {name: good, url: `+backend+`, models: [demo], headers: {Authorization: "Bearer ${BACKEND_KEY}"}}
  - {name: dead, url: "http://127.0.0.1:1", models: [dead]}
client_keys: [planted-client-key]
admin: {api_key: planted-admin-key}
`, "--log-level", "debug")
	headers := []string{
		"Authorization", "Bearer planted-client-key", "X-Custom", "planted-header", "Cookie", "session=planted-cookie",
		"X-API-Key", "planted-admin-key",
	}
	ask := func(target, body string, headers ...string) reply {
		return do(t, c, http.MethodPost, p.proxy+target, strings.ReplaceAll(body, "the sea", "planted-prompt"), headers...)
	}
	ask(chatPath+"?key=planted-query", chat, headers...).want(t, http.StatusOK, "")
	ask(chatPath+"?key=planted-query", chatLive, headers...).want(t, http.StatusOK, "")
	ask(chatPath, strings.Replace(chat, "demo", "dead", 1), headers...).want(t, http.StatusBadGateway, "upstream_unreachable")
	ask(chatPath, chat, "Authorization", "Bearer planted-wrong").want(t, http.StatusUnauthorized, "unauthorized")
	ask("/v1/nothing?key=planted-query", "planted-body", headers...)
	for _, key := range []string{"planted-admin-key", "planted-wrong"} {
		r := do(t, c, http.MethodGet, p.admin+"/admin/config?key=planted-query", "", "X-API-Key", key)
		if strings.Contains(r.body, planted) {
			t.Errorf("/admin/config shows a secret:\n%s", r.body)
		}
	}
	if r := do(t, c, http.MethodGet, p.admin+"/metrics", ""); strings.Contains(r.body, planted) {
		t.Error("/metrics shows a secret")
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, planted) {
			t.Errorf("the log shows a secret: %s", line)
		}
	}
	err := filepath.WalkDir(p.dataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		// Prompts are what the conversation log is for.
		rest := strings.ReplaceAll(string(content), "planted-prompt", "")
		if at := strings.Index(rest, planted); at >= 0 {
			t.Errorf("%s holds a secret: %q", path, rest[at:min(at+30, len(rest))])
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestExchangeLine holds that an exchange is one line with the fields that the
// documentation names.
func TestExchangeLine(t *testing.T) {
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+"cache: {policy: 'off'}\n")
	c := newClient(t)
	do(t, c, http.MethodPost, p.proxy+chatPath, chatLive[:len(chatLive)-1]+`,"stream_options":{"include_usage":true}}`, "X-Request-Id", "mine").want(t, http.StatusOK, "")
	do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-Request-Id", "busy", "X-Sim-Fail", "503").want(t, http.StatusServiceUnavailable, "")
	p.signal(syscall.SIGTERM)
	p.wantExit(0)

	if n := strings.Count(p.log.String(), `"msg":"exchange"`); n != 2 {
		t.Errorf("2 exchanges wrote %d lines", n)
	}
	line := p.wait(`"msg":"exchange"`, `"request_id":"mine"`)
	for field, want := range map[string]any{
		"level": "INFO", "method": "POST", "path": chatPath, "status": 200.0, "ended_by": "upstream",
		"upstream": "default", "model": "demo", "attempts": 1.0, "streamed": true, "finish_reason": "stop",
		"completion_tokens": 3.0,
	} {
		if line[field] != want {
			t.Errorf("%s is %v, want %v", field, line[field], want)
		}
	}
	for _, field := range []string{"duration_ms", "time_to_first_token_ms", "bytes_in", "bytes_out", "prompt_tokens"} {
		if n, ok := line[field].(float64); !ok || n <= 0 {
			t.Errorf("%s is %v", field, line[field])
		}
	}
	doc := readDoc(t, "docs/proxy.md")
	for line := range strings.Lines(p.log.String()) {
		if !strings.Contains(line, `"msg":"exchange"`) {
			continue
		}
		for field := range parseLine(t, line) {
			if !strings.Contains(doc, "| `"+field+"`") {
				t.Errorf("docs/proxy.md does not explain the field %s", field)
			}
		}
	}
}

func TestConfigurationEndToEnd(t *testing.T) {
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	c := newClient(t)

	// The defaults as users' files have them.
	contract, err := os.ReadFile("testdata/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := serve(t, string(contract))
	if r := do(t, c, http.MethodGet, p.admin+"/admin/config", "", "X-API-Key", p.key()); r.status != http.StatusOK {
		t.Errorf("/admin/config: %d %s", r.status, r.body)
	}

	// Flags win over the environment, the environment over the file.
	p = serveIn(t, filepath.Join(t.TempDir(), "data"), []string{
		"VEGA_UPSTREAMS_0_URL=" + backend, "VEGA_UPSTREAMS_0_NAME=from-env", "VEGA_LOG_LEVEL=error", "VEGA_LISTEN=127.0.0.1:1", "VEGA_LISTN=x",
	}, "upstreams: [{name: from-file, url: 'http://127.0.0.1:1'}]\nroutes: {deny: ['/api/**']}\n", "--log-level", "info")
	r := do(t, c, http.MethodPost, p.proxy+chatPath, chat)
	r.want(t, http.StatusOK, "")
	if name := r.header.Get("X-Vega-Upstream"); name != "from-env" {
		t.Errorf("the upstream is %q", name)
	}
	do(t, c, http.MethodGet, p.proxy+"/api/tags", "").want(t, http.StatusForbidden, "route_closed")
	p.wait(`"level":"WARN"`, "VEGA_LISTN", "VEGA_LISTEN")

	setLevel(t, p, c, "warn")
	do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-Request-Id", "unseen").want(t, http.StatusOK, "")
	setLevel(t, p, c, "info")
	do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-Request-Id", "seen").want(t, http.StatusOK, "")
	p.wait(`"msg":"exchange"`, `"request_id":"seen"`)
	if strings.Contains(p.log.String(), "unseen") {
		t.Error("level warn still writes the exchanges' lines")
	}
}
