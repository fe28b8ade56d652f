package config

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const exampleFile = "../../config/vega-proxy.yaml"

func TestNothingGivenIsDefault(t *testing.T) {
	c, warnings, err := Load("", nil, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load = %v, %v", warnings, err)
	}
	if d := Default(); !reflect.DeepEqual(*c, d) {
		t.Errorf("Load of nothing = %+v\nDefault = %+v", *c, d)
	}
}

func TestExampleFileIsDefault(t *testing.T) {
	c, warnings, err := Load(exampleFile, parseFlags(t), nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load = %v, %v", warnings, err)
	}
	if d := Default(); !reflect.DeepEqual(*c, d) {
		t.Errorf("the example file = %+v\nDefault = %+v", *c, d)
	}
}

// Every key of the structs stands in the example file and the other way round;
// an upstream's breaker and stream stand there as empty overrides.
func TestExampleFileHasEveryKey(t *testing.T) {
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	var inFile []string
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch n := node.(type) {
		case map[string]any:
			for k, v := range n {
				walk(join(path, k), v)
			}
			if len(n) > 0 {
				return
			}
		case []any:
			if path == "upstreams" {
				for i, v := range n {
					walk(item(path, i), v)
				}
				return
			}
		}
		inFile = append(inFile, path)
	}
	walk("", tree)

	var inStruct []string
	d := Default()
	for _, l := range leaves("", reflect.ValueOf(d)) {
		if _, upstream := overridden(l.path); upstream == "" {
			inStruct = append(inStruct, l.path)
		}
	}
	inStruct = append(inStruct, "upstreams[0].breaker", "upstreams[0].stream")
	slices.Sort(inFile)
	slices.Sort(inStruct)
	if !slices.Equal(inFile, inStruct) {
		t.Errorf("in the file:   %q\nin the struct: %q", inFile, inStruct)
	}
}

// What GET /admin/config shows can be given back as a file.
func TestMaskedLoadsAgain(t *testing.T) {
	c := mustLoad(t, "stream: {buffer_bytes: 1000}\nupstreams: [{url: 'http://a:1', headers: {X-Team: blue}, breaker: {max_timeout: 1h}}]\nmonitor: {thresholds: {dispatch: 7}}\n")
	data, err := yaml.Marshal(c.Masked())
	if err != nil {
		t.Fatal(err)
	}
	if again := mustLoad(t, string(data)); !reflect.DeepEqual(again, c) {
		t.Errorf("loaded again = %+v\nwant %+v", again, c)
	}
}

func TestPrecedence(t *testing.T) {
	const file = "listen: 127.0.0.1:1001\ndata_dir: /from/file\nlog: {level: warn}\nadmin: {listen: '127.0.0.1:1002'}\nbatchlog: {database: 'sqlite:file.db'}\n"
	env := []string{
		"VEGA_LISTEN=127.0.0.1:2001", "VEGA_DATA_DIR=/from/env", "VEGA_LOG_LEVEL=error",
		"VEGA_ADMIN_LISTEN=127.0.0.1:2002", "VEGA_BATCHLOG_DATABASE=sqlite:env.db",
	}
	flags := []string{
		"--listen=127.0.0.1:3001", "--data-dir=/from/flag", "--log-level=debug",
		"--admin-listen=127.0.0.1:3002", "--database=sqlite:flag.db",
	}
	for _, tc := range []struct {
		name       string
		file       string
		env, flags []string
		want       []string // listen, data_dir, log.level, admin.listen, batchlog.database
	}{
		{"defaults", "", nil, nil, []string{"127.0.0.1:8080", "./data", "info", "127.0.0.1:8081", ""}},
		{"file over defaults", file, nil, nil, []string{"127.0.0.1:1001", "/from/file", "warn", "127.0.0.1:1002", "sqlite:file.db"}},
		{"environment over file", file, env, nil, []string{"127.0.0.1:2001", "/from/env", "error", "127.0.0.1:2002", "sqlite:env.db"}},
		{"flags over environment", file, env, flags, []string{"127.0.0.1:3001", "/from/flag", "debug", "127.0.0.1:3002", "sqlite:flag.db"}},
		{"an empty variable is not set", file, []string{"VEGA_LISTEN=", "VEGA_LOG_LEVEL="}, nil, []string{"127.0.0.1:1001", "/from/file", "warn", "127.0.0.1:1002", "sqlite:file.db"}},
		{"an empty flag is set", file, env, []string{"--database="}, []string{"127.0.0.1:2001", "/from/env", "error", "127.0.0.1:2002", ""}},
		{"of two equal variables the last", "", []string{"VEGA_DATA_DIR=/a", "VEGA_DATA_DIR=/b"}, nil, []string{"127.0.0.1:8080", "/b", "info", "127.0.0.1:8081", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _, err := Load(writeFile(t, "f.yaml", tc.file), parseFlags(t, tc.flags...), tc.env)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{c.Listen, c.DataDir, c.Log.Level, c.Admin.Listen, c.Batchlog.Database}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestUpstreamFlagReplacesTheList(t *testing.T) {
	file := writeFile(t, "f.yaml", "breaker: {fail_threshold: 9}\nupstreams: [{name: a, url: 'http://a:1', queue: 3}, {name: b, url: 'http://b:1'}]\n")
	c, _, err := Load(file, parseFlags(t, "--upstream=http://c:1/base"), []string{"VEGA_UPSTREAMS_1_QUEUE=7"})
	if err != nil {
		t.Fatal(err)
	}
	want := defaultItem()
	want.Name, want.URL, want.Breaker.FailThreshold = "default", "http://c:1/base", 9
	if !reflect.DeepEqual(c.Upstreams, []Upstream{want}) {
		t.Errorf("upstreams = %+v", c.Upstreams)
	}

	_, _, err = Load("", parseFlags(t, "--upstream=nonsense", "--log-level=loud"), nil)
	if err == nil {
		t.Fatal("bad flags were accepted")
	}
	wantText(t, err.Error(), "upstreams[0].url: (from --upstream) ", "log.level: (from --log-level) ")
}

func TestItemsTakeDefaultsAndOverrides(t *testing.T) {
	c := mustLoad(t, `
breaker: {fail_threshold: 7, failure_statuses: [500]}
stream: {buffer_size: 50}
upstreams:
  - url: http://a:1
  - url: http://b:1
    queue: 0
    breaker: {base_timeout: 1s, failure_statuses: []}
    stream: {adaptive: {enabled: true}}
`)
	a := defaultItem()
	a.Name, a.URL = "default", "http://a:1"
	a.Breaker.FailThreshold, a.Breaker.FailureStatuses = 7, []int{500}
	a.Stream.BufferSize = 50
	b := a
	b.Name, b.URL, b.Queue = "b-1", "http://b:1", 0
	b.Breaker.BaseTimeout, b.Breaker.FailureStatuses = time.Second, []int{}
	b.Stream.Adaptive.Enabled = true
	if !reflect.DeepEqual(c.Upstreams, []Upstream{a, b}) {
		t.Errorf("got  %+v\nwant %+v", c.Upstreams, []Upstream{a, b})
	}
}

func TestNamesOfUpstreams(t *testing.T) {
	c := mustLoad(t, "upstreams: [{url: 'http://a:1'}, {url: 'http://10.0.0.7:11434'}, {url: 'https://api.example.com/v1'}, {url: 'http://[::1]:80'}, {name: own, url: 'http://a:1'}]")
	want := []string{"default", "10.0.0.7-11434", "api.example.com", "---1--80", "own"}
	if got := names(c.Upstreams); !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}

func TestEmptySectionKeepsDefaults(t *testing.T) {
	c := mustLoad(t, "cache:\nlimits: {}\nupstreams:\nlisten:\nbreaker: {fail_threshold: }\nbatchlog: {spool: }\n")
	if d := Default(); !reflect.DeepEqual(*c, d) {
		t.Errorf("got %+v, want the defaults", *c)
	}
	for _, nothing := range []string{"", "\n", "# only a comment\n", "---\n", "{}", "null"} {
		if c := mustLoad(t, nothing); c.Listen != "127.0.0.1:8080" {
			t.Errorf("file %q: listen %q", nothing, c.Listen)
		}
	}
}

func TestExplicitZeroStaysZero(t *testing.T) {
	c := mustLoad(t, `
limits: {idle_timeout: 0}
upstreams: [{idle_timeout: 0s, queue: 0, queue_timeout: 0}]
retry: {budget_percent: 0}
breaker: {enabled: false, failure_statuses: []}
telemetry: {sample_ratio: 0}
shutdown: {drain_timeout: 0s}
batchlog: {session_headers: []}
`)
	u := c.Upstreams[0]
	if c.Limits.IdleTimeout != 0 || u.IdleTimeout != 0 || u.Queue != 0 || u.QueueTimeout != 0 || c.Retry.BudgetPercent != 0 ||
		c.Breaker.Enabled || len(c.Breaker.FailureStatuses) != 0 || len(u.Breaker.FailureStatuses) != 0 ||
		c.Telemetry.SampleRatio != 0 || c.Shutdown.DrainTimeout != 0 || len(c.Batchlog.SessionHeaders) != 0 {
		t.Errorf("a zero was replaced: %+v", *c)
	}
}

func TestFailedLoadLeavesNothingBehind(t *testing.T) {
	before := Default()
	refusals(t, "listen: nowhere\nbreaker: {fail_threshold: 99, failure_statuses: [1]}\nupstreams: [{url: x, headers: {A: b}}]\n",
		"VEGA_BREAKER_FAILURE_STATUSES_1=2", "VEGA_MONITOR_THRESHOLDS_STEP=0")
	if after := Default(); !reflect.DeepEqual(before, after) {
		t.Errorf("Default changed to %+v", after)
	}
	c := mustLoad(t, "")
	if !reflect.DeepEqual(*c, before) {
		t.Errorf("the next Load gives %+v", *c)
	}
}

func TestTwoLoadsShareNothing(t *testing.T) {
	const file = "upstreams: [{headers: {X-Team: blue}}, {url: 'http://b:1'}]"
	a, b := mustLoad(t, file), mustLoad(t, file)
	a.Breaker.FailureStatuses[0] = 1
	a.Upstreams[0].Headers["X-Team"] = "red"
	a.Batchlog.SessionHeaders[0] = "X"
	if a.Upstreams[0].Breaker.FailureStatuses[0] == 1 || a.Upstreams[1].Breaker.FailureStatuses[0] == 1 {
		t.Error("an upstream shares the list of statuses with the section")
	}
	if !reflect.DeepEqual(b, mustLoad(t, file)) {
		t.Error("changing one configuration changed another")
	}
}

func TestUnreadableFile(t *testing.T) {
	for _, tc := range []struct{ name, path, says string }{
		{"missing", "/nowhere/vega.yaml", "no such file"},
		{"a directory", t.TempDir(), "is a directory"},
		{"too long", writeFile(t, "big.yaml", strings.Repeat("#", maxFileBytes+1)), "longer than 4MiB"},
		{"not YAML", writeFile(t, "bad.yaml", "listen: [\n"), "not valid YAML"},
		{"text", writeFile(t, "text.yaml", "hello"), "is text, not a section"},
		{"two documents", writeFile(t, "two.yaml", "listen: ':1'\n---\nlisten: ':2'\n"), "more than one YAML document"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _, err := Load(tc.path, nil, nil)
			if err == nil || c != nil {
				t.Fatalf("Load = %v, %v", c, err)
			}
			wantText(t, err.Error(), tc.path+": ", tc.says)
		})
	}
}
