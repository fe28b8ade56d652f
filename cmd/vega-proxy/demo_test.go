package main

import (
	"io/fs"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// demo starts the demo in the directory where its data goes, on free ports.
func demo(t *testing.T, args ...string) *process {
	t.Helper()
	p := begin(t, nil, append([]string{"demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)...)
	p.dataDir = filepath.Join(p.cmd.Dir, "data")
	p.listening()
	if _, ok := p.out.line(p.ended, "Ctrl-C stops it."); !ok {
		t.Fatal("the demo did not say how it is stopped")
	}
	return p
}

func TestDemoInvites(t *testing.T) {
	t.Parallel()
	p := demo(t)
	said := p.out.String()
	for _, part := range []string{p.proxy, p.admin, "admin key  data/admin-key"} {
		if !strings.Contains(said, part) {
			t.Errorf("the demo does not say %q", part)
		}
	}

	// The very line that it prints.
	line := regexp.MustCompile(`(?m)^  curl -N .*\\\n.*$`).FindString(said)
	out, err := shell(t, p.cmd.Dir, line)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	if events := strings.Count(out, "data: {"); events < 10 || !strings.HasSuffix(out, "data: [DONE]\n\n") {
		t.Errorf("%d events came, in\n%s", events, out)
	}

	c := newClient(t)
	if r := do(t, c, http.MethodGet, p.proxy+"/v1/models", ""); r.status != http.StatusOK || !strings.Contains(r.body, `"id":"demo:latest"`) {
		t.Errorf("/v1/models: %d %s", r.status, r.body)
	}
	// Its backend can be broken through the proxy, to see what that does.
	do(t, c, http.MethodPost, p.proxy+"/__sim/fault?fail=503&path=/v1", "")
	for range 5 {
		do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusServiceUnavailable, "")
	}
	do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusServiceUnavailable, "breaker_open")
	// An open breaker refuses the mending, too: it is reset first.
	do(t, c, http.MethodDelete, p.proxy+"/__sim/fault", "").want(t, http.StatusServiceUnavailable, "breaker_open")
	p.breaker(c, "default", "reset")
	if r := do(t, c, http.MethodDelete, p.proxy+"/__sim/fault", ""); r.status != http.StatusOK {
		t.Errorf("mending the backend: %d %s", r.status, r.body)
	}
	if r := do(t, c, http.MethodPost, p.proxy+chatPath, chat); r.status != http.StatusOK {
		t.Errorf("after it was mended: %d %s", r.status, r.body)
	}

	p.signal(syscall.SIGINT)
	p.wantExit(0)
}

// shell runs a script in which curl is our own.
func shell(t *testing.T, dir, script string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", script)
	cmd.Dir, cmd.Env = dir, environ(append(env, pathWithCurl(t))...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestDemoNeedsNoUpstream(t *testing.T) {
	_, stderr, code := execute(t, nil, "demo", "--upstream", "http://127.0.0.1:1")
	if code != exUsage || !strings.Contains(stderr, "vega-proxy serve --upstream URL") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// TestMakeRun holds what the README's first command does, without building.
func TestMakeRun(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"run"}, "exec bin/vega-proxy demo"},
		{[]string{"run", "UPSTREAM=http://127.0.0.1:11434"}, "exec bin/vega-proxy serve --upstream 'http://127.0.0.1:11434'"},
	}
	for _, tt := range tests {
		cmd := exec.CommandContext(t.Context(), "make", append([]string{"-n", "--no-print-directory", "-C", "../.."}, tt.args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if last := lines[len(lines)-1]; last != tt.want {
			t.Errorf("%v ends with %q, want %q", tt.args, last, tt.want)
		}
	}
}

// TestServeUpstreamFlag is what make run UPSTREAM=… starts.
func TestServeUpstreamFlag(t *testing.T) {
	backend, release := holding(t)
	p := begin(t, nil, "serve", "--upstream", backend, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	p.listening()
	c := newClient(t)
	_, stream := openStream(t, c, p.proxy)
	release()
	rest, err := readAll(stream)
	if err != nil || firstEvent+lastEvents != strings.SplitAfter(firstEvent, "\n")[0]+rest {
		t.Errorf("the rest of the stream is %q, %v", rest, err)
	}
	// The simulated backend is the demo's alone.
	if r := do(t, c, http.MethodGet, p.proxy+"/__sim/stats", ""); strings.Contains(r.body, "in_flight") {
		t.Errorf("serve has the simulated backend's routes: %s", r.body)
	}
}

func TestDataDirIsPrivate(t *testing.T) {
	backend, _ := holding(t)
	p := serve(t, upstreamAt(backend))
	err := filepath.WalkDir(p.dataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	_, stderr, code := execute(t, nil, "serve", "--data-dir", p.dataDir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if want := "another vega-proxy uses " + p.dataDir; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("a second process ended with %d and %s", code, stderr)
	}
}

func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	dir := t.TempDir()
	for key, args := range map[string][]string{
		"listen: listen tcp ":         {"--listen", taken, "--admin-listen", "127.0.0.1:0"},
		"admin.listen: listen tcp ":   {"--admin-listen", taken, "--listen", "127.0.0.1:0"},
		"metrics.listen: listen tcp ": {"--config", writeFile(t, "c.yaml", "metrics: {listen: "+taken+"}"), "--admin-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"},
	} {
		_, stderr, code := execute(t, []string{"VEGA_NONSENSE=1"}, append([]string{"serve", "--data-dir", dir}, args...)...)
		if code != 1 || !strings.Contains(stderr, "vega-proxy: "+key+taken) || !strings.Contains(stderr, "address already in use; end what uses the address, or set another") {
			t.Errorf("code %d, want %q in\n%s", code, key, stderr)
		}
		if !strings.Contains(stderr, "VEGA_NONSENSE") {
			t.Errorf("the warning before the failure is lost:\n%s", stderr)
		}
	}
}

// TestKillAndRestart takes the power of the last word from the process: what was
// answered is in the conversation log all the same, once.
func TestKillAndRestart(t *testing.T) {
	backend, _ := holding(t)
	c := newClient(t)
	dir := filepath.Join(t.TempDir(), "data")
	p := serveIn(t, dir, nil, upstreamAt(backend))
	openStream(t, c, p.proxy)
	do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-Request-Id", "answered-before").want(t, http.StatusOK, "")
	key := p.key()
	p.signal(syscall.SIGKILL)
	p.end()

	again := serveIn(t, dir, nil, upstreamAt(backend)+"batchlog: {flush_interval: 100ms}\n")
	if again.key() != key {
		t.Error("the admin key has changed")
	}
	do(t, c, http.MethodPost, again.proxy+chatPath, chat, "X-Request-Id", "answered-after").want(t, http.StatusOK, "")
	again.breaker(c, "default", "status")
	var body string
	until(t, "both conversations are there", func() bool {
		body = do(t, c, http.MethodGet, again.admin+"/admin/conversations", "", "X-API-Key", key).body
		return strings.Contains(body, "answered-before") && strings.Contains(body, "answered-after")
	})
	if n := strings.Count(body, "answered-before"); n != 1 {
		t.Errorf("the conversation is there %d times:\n%s", n, body)
	}
}
