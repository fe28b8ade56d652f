package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/doctor"
	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// examined runs the doctor on a configuration, in a data directory, and holds that
// it ends in time and by the exit code that its words mean.
func examined(t *testing.T, dataDir string, env []string, yaml string, args ...string) doctor.Report {
	t.Helper()
	args = append([]string{"doctor", "--json", "--config", writeFile(t, "c.yaml", yaml), "--data-dir", dataDir}, args...)
	out, stderr, code := execute(t, env, args...)
	return diagnosis(t, out, stderr, code)
}

func diagnosis(t *testing.T, out, stderr string, code int) (r doctor.Report) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("no report but %v\n%s\n%s", err, out, stderr)
	}
	want := 0
	if r.Counts[doctor.Wrong] > 0 {
		want = 1
	}
	if code != want || r.Duration > 3 {
		t.Errorf("exit code %d after %.1f s with %v: %s", code, r.Duration, r.Counts, stderr)
	}
	for _, c := range r.Checks {
		judged := c.Status == doctor.Wrong || c.Status == doctor.Warning
		if c.Found == "" || judged != (c.Meaning != "") || judged != (c.Remedy != "") {
			t.Errorf("a check that does not explain itself: %+v", c)
		}
	}
	return r
}

// anyPorts listens where nothing else does.
const anyPorts = "listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\n"

// TestDoctorFindsNothing: with all as it should be, before the first start and
// beside a running proxy; and nothing is left behind.
func TestDoctorFindsNothing(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 20, Delay: 5e6})
	dir := filepath.Join(t.TempDir(), "data")
	healthy := func(r doctor.Report) {
		t.Helper()
		for _, c := range r.Checks {
			if c.Status == doctor.Wrong {
				t.Errorf("%+v", c)
			}
		}
	}
	healthy(examined(t, dir, nil, upstreamAt(backend)+anyPorts))
	if _, err := os.Stat(dir); err == nil {
		t.Error("the doctor has made the data directory")
	}

	p := serveIn(t, dir, nil, upstreamAt(backend)+quick)
	c := newClient(t)
	do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusOK, "")
	p.flush(c)
	before := tree(t, dir)
	addresses := []string{"--listen", strings.TrimPrefix(p.proxy, "http://"), "--admin-listen", strings.TrimPrefix(p.admin, "http://"), "--generate"}
	r := examined(t, dir, nil, upstreamAt(backend)+quick, addresses...)
	healthy(r)
	for name, want := range map[string]string{
		"upstream.kind":   "Ollama",
		"upstream.stream": "one by one",
		"log.rights":      "stored and taken back",
		"data.lock":       fmt.Sprintf("the running proxy uses it (process %d)", p.cmd.Process.Pid),
		"log.lost":        "no conversation has been lost",
	} {
		if !slices.ContainsFunc(r.Checks, func(c doctor.Result) bool {
			return c.Check == name && c.Status == doctor.OK && strings.Contains(c.Found, want)
		}) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
	// The proxy was started on port 0, and so has another configuration.
	if s := status(r, "listen.running"); s != doctor.Warning {
		t.Errorf("listen.running is %s", s)
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("files before: %q\nand after: %q", before, after)
	}
	if rows := exported(t, "--data-dir", dir); len(rows) != 1 {
		t.Errorf("%d conversations are in the log", len(rows))
	}
	if n := strings.Count(p.log.String(), `"msg":"exchange"`); n != 1 {
		t.Errorf("the proxy had %d exchanges", n)
	}
}

// tree lists the files that are there to stay: a database that is open has others
// beside it.
func tree(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !strings.HasSuffix(path, "-wal") && !strings.HasSuffix(path, "-shm") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// status is the worst of a check.
func status(r doctor.Report, name string) doctor.Status {
	order := []doctor.Status{doctor.Skipped, doctor.OK, doctor.Warning, doctor.Wrong}
	worst := -1
	for _, c := range r.Checks {
		if c.Check == name {
			worst = max(worst, slices.Index(order, c.Status))
		}
	}
	if worst < 0 {
		return "missing"
	}
	return order[worst]
}

// TestDoctorText: for people, by groups; what there is nothing to say about is
// left out unless it is asked for.
func TestDoctorText(t *testing.T) {
	t.Parallel()
	config := writeFile(t, "c.yaml", anyPorts+"upstreams: [{name: gpu, url: 'http://127.0.0.1:1'}]\n")
	out, stderr, code := execute(t, nil, "doctor", "--config", config)
	for _, want := range []string{
		"\nUpstreams\n", "\nConversation log\n", "\nData directory\n", "\nListeners\n", "\nProcess\n",
		"\n  WRONG    connects     gpu: 127.0.0.1:1 refuses connections\n", "means: nothing listens there", "do:    start the backend",
		"\n1 wrong, ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the doctor does not say %q", want)
		}
	}
	if code != 1 || !strings.Contains(stderr, "something is wrong") {
		t.Errorf("code %d, %s", code, stderr)
	}
	if strings.Contains(out, "\n  -  ") {
		t.Error("what was not looked at is shown")
	}
	all, _, _ := execute(t, nil, "doctor", "--all", "--config", config)
	if t.Failed() || !strings.Contains(all, "\n  -        traces ") {
		t.Log(out, all)
		t.Error("what was not looked at is not shown with --all")
	}
}

// TestDoctorRefusedConfiguration: all problems are named at once, as validate
// names them, but with the doctor's exit code.
func TestDoctorRefusedConfiguration(t *testing.T) {
	t.Parallel()
	r := examined(t, t.TempDir(), nil, "lisen: x\nlimits: {idle_timeout: 30}\n")
	if len(r.Checks) != 2 || r.Checks[0].Check != "config.valid" || r.Status != doctor.Wrong {
		t.Errorf("%+v", r)
	}
	_, stderr, code := execute(t, nil, "doctor", "--key-file", "/nowhere")
	if code != 1 || !strings.Contains(stderr, "--key-file") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// TestDoctorPage holds that docs/doctor.md explains each check, in the order of a
// report, and no other.
func TestDoctorPage(t *testing.T) {
	t.Parallel()
	var checks, explained []string
	for _, c := range examined(t, t.TempDir(), nil, anyPorts).Checks {
		if !slices.Contains(checks, c.Check) {
			checks = append(checks, c.Check)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z_0-9]+)` \\|").FindAllStringSubmatch(readDoc(t, "docs/doctor.md"), -1) {
		explained = append(explained, m[1])
	}
	if !slices.Equal(checks, explained) {
		t.Errorf("the checks are\n%q\ndocs/doctor.md explains\n%q", checks, explained)
	}
	if len(checks) < 20 {
		t.Errorf("there are only %d checks", len(checks))
	}
}
