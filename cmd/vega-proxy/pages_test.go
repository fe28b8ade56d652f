package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// pages are those whose commands are run, each block marked `sh`, in their order.
// What a block has in it tells what it must print.
var pages = []struct {
	name string
	want map[string][]string
	// notRun are the beginnings of the blocks marked `console`: those that need
	// what a test has not.
	notRun []string
}{
	{"README.md", map[string][]string{
		"curl -N ":  {`data: {"id"`, "data: [DONE]", `"done":true`},
		"__sim":     {"HTTP/1.1 503", "X-Vega-Error: breaker_open", `"state":"open"`, `"state":"closed"`, "circuit_breaker_state{"},
		" validate": {"the configuration is valid"},
		" doctor":   {"0 wrong"},
		" logs":     {"rejected", "Tell me about the sea."},
	}, []string{"make test "}},
	{"docs/quickstart.md", map[string][]string{
		"curl -N ":      {`data: {"id"`, "data: [DONE]"},
		" logs":         {`{"flushed":1,"remaining":0}`, "demo"},
		"comprehensive": {`"status":"healthy"`, "conversation_log"},
		" doctor":       {"it is Ollama", "0 wrong"},
	}, []string{"git clone "}},
}

// terminal is where a reader of a page types.
type terminal struct {
	t   *testing.T
	dir string // as a clone after make build
	env []string
	// backend stands for those that the pages name.
	backend string
	running *process // in another terminal; nil if nothing is
}

// TestPages runs what the pages say, as a reader would.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, page := range pages {
		t.Run(page.name, func(t *testing.T) {
			t.Parallel()
			text := readDoc(t, page.name)
			_, backend := simulate(t, simllm.Config{Tokens: 5})
			term := newTerminal(t, backend)
			term.files(text)
			met := map[string]bool{}
			for _, block := range blocks(text, "sh") {
				out := term.run(block)
				for part, wants := range page.want {
					if !strings.Contains(block, part) {
						continue
					}
					met[part] = true
					for _, want := range wants {
						if !strings.Contains(out, want) {
							t.Errorf("%s\nsaid nothing of %q:\n%s", block, want, out)
						}
					}
				}
			}
			for part := range page.want {
				if !met[part] {
					t.Errorf("no block has %q", part)
				}
			}
			checkNotRun(t, text, page.notRun)
		})
	}
}

// checkNotRun holds that no command is left out but on purpose.
func checkNotRun(t *testing.T, text string, want []string) {
	t.Helper()
	shown := blocks(text, "console")
	ok := len(shown) == len(want)
	for i := range min(len(shown), len(want)) {
		ok = ok && strings.HasPrefix(shown[i], want[i])
	}
	if !ok {
		t.Errorf("these blocks are not run: %q; expected were those that begin with %q", shown, want)
	}
	for _, m := range regexp.MustCompile("(?m)^```(.*)\n(?s:.*?)^```$").FindAllStringSubmatch(text, -1) {
		if known := []string{"sh", "console", "yaml", "json", "python", "js"}; !slices.Contains(known, m[1]) {
			t.Errorf("a block is marked %q, not one of %q", m[1], known)
		}
	}
}

func newTerminal(t *testing.T, backend string) *terminal {
	t.Helper()
	x := &terminal{t: t, dir: t.TempDir(), backend: backend, env: []string{"VEGA_LISTEN=127.0.0.1:0", "VEGA_ADMIN_LISTEN=127.0.0.1:0"}}
	bin := filepath.Join(x.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(bin, "vega-proxy")); err != nil {
		t.Fatal(err)
	}
	return x
}

// files writes the configuration that a page shows.
func (x *terminal) files(page string) {
	x.t.Helper()
	for _, block := range blocks(page, "yaml") {
		if err := os.WriteFile(filepath.Join(x.dir, "vega-proxy.yaml"), []byte(x.here(block)), 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
}

// here replaces the addresses that the pages name by those of this test.
func (x *terminal) here(block string) string {
	pairs := []string{"http://127.0.0.1:11434", x.backend, "http://10.0.0.7:8000", x.backend + "/"}
	if x.running != nil {
		pairs = append(pairs, "http://127.0.0.1:8080", x.running.proxy, "http://127.0.0.1:8081", x.running.admin)
	}
	return strings.NewReplacer(pairs...).Replace(block)
}

// run types a block. A last line that serves goes on in a terminal of its own,
// until the next one of that kind.
func (x *terminal) run(block string) (out string) {
	x.t.Helper()
	lines := strings.Split(strings.TrimSpace(x.here(block)), "\n")
	last := lines[len(lines)-1]
	serves := regexp.MustCompile(`^(make run|bin/vega-proxy (demo|serve))\b`).MatchString(last)
	if serves {
		x.stop()
		lines = lines[:len(lines)-1]
	}
	if len(lines) > 0 {
		var err error
		if out, err = shell(x.t, x.dir, strings.Join(lines, "\n"), x.env...); err != nil {
			x.t.Errorf("%s\n%v\n%s", block, err, out)
		}
	}
	if serves {
		// What make run starts is held by a test of its own.
		x.serve(strings.Replace(last, "make run", "bin/vega-proxy demo", 1))
	}
	return out
}

func (x *terminal) serve(line string) {
	x.t.Helper()
	p := &process{t: x.t, cmd: command(x.t), out: newText(), log: newText(), ended: make(chan struct{})}
	p.cmd.Path, p.cmd.Args = "/bin/sh", []string{"sh", "-euc", "exec " + line}
	p.cmd.Dir, p.cmd.Env = x.dir, environ(x.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.log
	p.start()
	p.listening()
	x.running = p
}

func (x *terminal) stop() {
	if x.running == nil {
		return
	}
	x.running.signal(syscall.SIGINT)
	x.running.wantExit(0)
	x.running = nil
}
