package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come before it gives up.
const patience = 20 * time.Second

// text collects what a process writes. It is safe for concurrent use.
type text struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	news chan struct{} // closed at the next write
}

func newText() *text { return &text{news: make(chan struct{})} }

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.news)
	x.news = make(chan struct{})
	return x.buf.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.buf.String()
}

// line waits for the first whole line with all the parts, until end is closed.
func (x *text) line(end <-chan struct{}, parts ...string) (line string, found bool) {
	timeout := time.After(patience)
	for last := false; ; {
		x.mu.Lock()
		all, news := x.buf.String(), x.news
		x.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.HasSuffix(line, "\n") && containsAll(line, parts) {
				return line, true
			}
		}
		if last {
			return "", false
		}
		select {
		case <-news:
		case <-end:
			last = true
		case <-timeout:
			last = true
		}
	}
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// process is a running vega-proxy.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	out, log *text
	proxy    string // base URLs
	admin    string
	dataDir  string
	ended    chan struct{} // closed when it has ended
}

// environ is the tests' own environment without settings, and with what is given.
// Under the race detector a process would else sleep a second before it ends.
func environ(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "VEGA_") {
			env = append(env, v)
		}
	}
	return append(env, append([]string{"GORACE=halt_on_error=1 atexit_sleep_ms=0"}, more...)...)
}

// begin starts the program with the arguments as they are.
func begin(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return beginProgram(t, binary, env, args...)
}

func beginProgram(t testing.TB, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(t, args...), out: newText(), log: newText(), ended: make(chan struct{})}
	p.cmd.Path, p.cmd.Args[0] = program, program
	p.cmd.Env = environ(env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.log
	p.start()
	return p
}

// command is the program in a directory of its own.
func command(t testing.TB, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Dir = environ(), t.TempDir()
	return cmd
}

// start runs the process until the test ends, at the latest.
func (p *process) start() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the state tells how it ended
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has mostly ended by then
		<-p.ended
		if p.t.Failed() {
			p.t.Logf("%s\nstdout:\n%s\nstderr:\n%s", p.cmd, p.out, p.log)
		}
	})
}

// serve starts the program on free ports with a configuration file, and waits
// until it listens.
func serve(t testing.TB, yaml string, args ...string) *process {
	t.Helper()
	return serveIn(t, filepath.Join(t.TempDir(), "data"), nil, yaml, args...)
}

func serveIn(t testing.TB, dataDir string, env []string, yaml string, args ...string) *process {
	t.Helper()
	return serveProgram(t, binary, dataDir, env, yaml, args...)
}

// serveProgram is serveIn with another build of the program.
func serveProgram(t testing.TB, program, dataDir string, env []string, yaml string, args ...string) *process {
	t.Helper()
	p := beginProgram(t, program, env, append([]string{
		"serve", "--config", writeFile(t, "vega-proxy.yaml", yaml), "--data-dir", dataDir,
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
	}, args...)...)
	p.dataDir = dataDir
	p.listening()
	return p
}

// listening waits for the addresses.
func (p *process) listening() {
	p.t.Helper()
	p.admin = "http://" + p.wait(`"msg":"admin listening"`)["address"].(string)
	p.proxy = "http://" + p.wait(`"msg":"proxy listening"`)["address"].(string)
}

// wait returns the first line of the log with all the parts.
func (p *process) wait(parts ...string) map[string]any {
	p.t.Helper()
	line, ok := p.log.line(p.ended, parts...)
	if !ok {
		p.t.Fatalf("the log never had a line with %q", parts)
	}
	return parseLine(p.t, line)
}

func parseLine(t testing.TB, line string) map[string]any {
	t.Helper()
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatalf("the log has a line that is no JSON: %v\n%s", err, line)
	}
	return fields
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the process and returns how it ended.
func (p *process) end() syscall.WaitStatus {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("the process did not end")
	}
	return p.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// wantExit waits for the process and checks its exit code.
func (p *process) wantExit(code int) {
	p.t.Helper()
	if status := p.end(); !status.Exited() || status.ExitStatus() != code {
		p.t.Errorf("ended with %v (signal %v), want exit code %d", p.cmd.ProcessState, status.Signal(), code)
	}
}

// key is the admin key.
func (p *process) key() string {
	p.t.Helper()
	key, err := os.ReadFile(filepath.Join(p.dataDir, "admin-key"))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(key))
}

// execute runs a command that ends by itself.
func execute(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir = environ(env...), t.TempDir()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
