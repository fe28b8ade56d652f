package main

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	good := writeFile(t, "good.yaml", "listen: 127.0.0.1:1234\n")
	bad := writeFile(t, "bad.yaml", "lisen: 127.0.0.1:1234\nlimits: {idle_timeout: 30}\n")
	tests := []struct {
		name           string
		env            []string
		args           []string
		code           int
		stdout, stderr []string
	}{
		{name: "version", args: []string{"version"}, stdout: []string{"vega-proxy v0-test " + runtime.Version()}},
		{name: "help", args: []string{"--help"}, stdout: []string{"serve", "demo", "validate", "healthcheck", "version", "completion", "logs", "audit", "schema", "doctor"}},
		{name: "valid", args: []string{"validate", "--config", good}, stdout: []string{"the configuration is valid"}},
		{name: "everything that is wrong", args: []string{"validate", "--config", bad}, code: exConfig, stderr: []string{
			"lisen: is not a setting; did you mean listen?", "limits.idle_timeout: 30 has no unit; write 30s if you mean seconds"}},
		{name: "serve with a bad file", args: []string{"serve", "--config", bad}, code: exConfig, stderr: []string{
			"lisen: is not a setting; did you mean listen?", "limits.idle_timeout: 30 has no unit"}},
		{name: "serve is the default", args: []string{"--config", bad}, code: exConfig, stderr: []string{"lisen: is not a setting"}},
		{name: "demo with a bad file", args: []string{"demo", "--config", bad}, code: exConfig, stderr: []string{"lisen: is not a setting"}},
		{name: "no such file", args: []string{"serve", "--config", "/nowhere/vega.yaml"}, code: exConfig, stderr: []string{"/nowhere/vega.yaml"}},
		{name: "unset variable", args: []string{"validate", "--config", writeFile(t, "unset.yaml", "upstreams: [{url: http://127.0.0.1:1, headers: {X-Key: '${NOT_SET_AT_ALL}'}}]\n")},
			code: exConfig, stderr: []string{"upstreams[0].headers.X-Key", "NOT_SET_AT_ALL"}},
		{name: "a bad value in the environment", env: []string{"VEGA_LOG_LEVEL=loud"}, args: []string{"validate"}, code: exConfig,
			stderr: []string{`log.level: (from VEGA_LOG_LEVEL) is "loud"`}},
		{name: "an unknown variable warns", env: []string{"VEGA_LISTN=:1"}, args: []string{"validate"},
			stdout: []string{"the configuration is valid"}, stderr: []string{"warning: VEGA_LISTN", "VEGA_LISTEN"}},
		{name: "unknown command", args: []string{"serv"}, code: exUsage, stderr: []string{`no command "serv"; did you mean serve?`, "see vega-proxy --help"}},
		{name: "unknown flag", args: []string{"serve", "--lisen", "x"}, code: exUsage, stderr: []string{"--lisen", "see vega-proxy serve --help"}},
		{name: "an argument", args: []string{"validate", "x.yaml"}, code: exUsage, stderr: []string{`takes no arguments, not "x.yaml"`, "see vega-proxy validate --help"}},
		{name: "schema", args: []string{"schema"}, stdout: []string{"timestamptz"}},
		{name: "schema of a kind", args: []string{"schema", "--dialect", "sqlite", "--config", good}, stdout: []string{"for SQLite."}},
		{name: "schema of a file that names no database", args: []string{"schema", "--config", good}, stdout: []string{"for SQLite."}},
		{name: "schema of a database", args: []string{"schema", "--database", "postgres://u:p@127.0.0.1/d"}, stdout: []string{"timestamptz"}},
		{name: "search without a text", args: []string{"logs", "search"}, code: exUsage, stderr: []string{"takes one text", "see vega-proxy logs search --help"}},
		{name: "bash", args: []string{"completion", "bash"}, stdout: []string{"__start_vega-proxy"}},
		{name: "zsh", args: []string{"completion", "zsh"}, stdout: []string{"#compdef vega-proxy"}},
		{name: "fish", args: []string{"completion", "fish"}, stdout: []string{"complete -c vega-proxy"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := execute(t, tt.env, tt.args...)
			if code != tt.code || !containsAll(stdout, tt.stdout) || !containsAll(stderr, tt.stderr) {
				t.Errorf("code %d, want %d\nstdout: %s\nwant %q\nstderr: %s\nwant %q", code, tt.code, stdout, tt.stdout, stderr, tt.stderr)
			}
		})
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	backend, _ := holding(t)
	check := func(code int, want string, args ...string) {
		t.Helper()
		_, stderr, got := execute(t, nil, append([]string{"healthcheck"}, args...)...)
		if got != code || !strings.Contains(stderr, want) {
			t.Errorf("%v: code %d, want %d and %q in %s", args, got, code, want, stderr)
		}
	}
	p := serve(t, upstreamAt(backend))
	check(0, "", "--url", p.admin+"/readyz")
	check(0, "", "--admin-listen", strings.TrimPrefix(p.admin, "http://"))
	check(0, "", "--config", writeFile(t, "c.yaml", "admin: {listen: '"+strings.TrimPrefix(p.admin, "http://")+"'}\n"))
	check(1, "the proxy does not answer", "--url", "http://127.0.0.1:1/readyz")
	check(exConfig, "is not a setting", "--config", writeFile(t, "c.yaml", "lisen: x\n"))

	closed := serve(t, upstreamAt(backend)+"admin: {open_metrics: false}\n")
	config := writeFile(t, "c.yaml", "data_dir: "+closed.dataDir+"\nadmin: {open_metrics: false, listen: '"+strings.TrimPrefix(closed.admin, "http://")+"'}\n")
	check(0, "", "--config", config)
	check(1, "401", "--url", closed.admin+"/readyz")

	unready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "draining", http.StatusServiceUnavailable)
	}))
	defer unready.Close()
	check(1, "the proxy is not ready: 503 Service Unavailable draining", "--url", unready.URL)
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8081": "127.0.0.1:8081",
		":8081":          "127.0.0.1:8081",
		"0.0.0.0:8081":   "127.0.0.1:8081",
		"[::]:8081":      "127.0.0.1:8081",
		"[::1]:8081":     "[::1]:8081",
		"localhost:8081": "localhost:8081",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("reachable(%q) = %q, want %q", listen, got, want)
		}
	}
}
