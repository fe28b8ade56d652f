package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/doctor"
	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// fault is one thing that is wrong in a set-up that is else as it should be.
type fault struct {
	name string
	// plant makes it, in a data directory that is there. It adds settings, and
	// returns the URL of the upstream, "" for the one that is well.
	plant func(t *testing.T, dir string, with *setup) (upstream string)
	// What is to be found of it: the check, and words of the finding or the remedy.
	check string
	words []string
	as    doctor.Status // "" is wrong
}

// setup is what a fault may change.
type setup struct {
	yaml string // beside upstreams
	of   string // more of the upstream, in a flow mapping
	env  []string
	args []string

	pg *database // a server that all share
}

// setting plants a fault that is in the configuration alone.
func setting(yaml string) func(*testing.T, string, *setup) string {
	return func(_ *testing.T, _ string, with *setup) string {
		with.yaml = yaml
		return ""
	}
}

// at plants a fault that is in the upstream's URL alone.
func at(url string) func(*testing.T, string, *setup) string {
	return func(*testing.T, string, *setup) string { return url }
}

// secondTier plants the URL of a Redis that wants a password.
func secondTier(url string) func(*testing.T, string, *setup) string {
	return func(t *testing.T, _ string, with *setup) string {
		r := newRedis(t, "--requirepass", "right")
		with.yaml += "cache: {l2: {url: '" + strings.ReplaceAll(url, "{address}", r.address()) + "'}}\n"
		return ""
	}
}

// find runs the doctor on one fault.
func (f fault) find(t *testing.T, well string, pg *database) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	with := &setup{yaml: anyPorts, pg: pg}
	upstream := f.plant(t, dir, with)
	if upstream == "" {
		upstream = well
	}
	yaml := with.yaml
	if !strings.Contains(yaml, "upstreams:") {
		yaml += "\nupstreams: [{name: gpu, url: '" + upstream + "'" + with.of + "}]\n"
	}
	r := examined(t, dir, with.env, yaml, with.args...)
	want := f.as
	if want == "" {
		want = doctor.Wrong
	}
	for _, c := range r.Checks {
		if c.Check == f.check && c.Status == want && containsAll(c.Found+"; "+c.Remedy, f.words) {
			return
		}
	}
	for _, c := range r.Checks {
		if c.Check == f.check || c.Status == doctor.Wrong {
			t.Logf("%+v", c)
		}
	}
	t.Errorf("%s does not say %q", f.check, f.words)
}

// TestDoctorFindsFaults plants faults one by one.
func TestDoctorFindsFaults(t *testing.T) {
	t.Parallel()
	_, well := simulate(t, simllm.Config{Tokens: 3})
	pg := newPostgres(t)
	for _, faults := range [][]fault{upstreamFaults, tlsFaults, configFaults, directoryFaults, databaseFaults} {
		for _, f := range faults {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.find(t, well, pg)
			})
		}
	}
}

var configFaults = []fault{
	{name: "a variable that is none", check: "config.valid", as: doctor.Warning, words: []string{"VEGA_LISTN", "VEGA_LISTEN"},
		plant: func(_ *testing.T, _ string, with *setup) string {
			with.env = []string{"VEGA_LISTN=:1"}
			return ""
		}},
	{name: "no tries", check: "config.failover", as: doctor.Warning, words: []string{"retry.max_attempts"},
		plant: setting(anyPorts + "retry: {max_attempts: 1}\nupstreams: [{name: a, url: 'http://127.0.0.1:1'}, {name: b, url: 'http://127.0.0.1:2'}]")},
	{name: "one server twice", check: "config.failover", as: doctor.Warning, words: []string{"a and b are the same server"},
		plant: setting(anyPorts + "upstreams: [{name: a, url: 'http://127.0.0.1:1'}, {name: b, url: 'http://127.0.0.1:1/'}]")},
	{name: "the proxy itself", check: "upstream.loop", words: []string{"the proxy's own listen", "the backend's address"},
		plant: setting("listen: 127.0.0.1:8089\nadmin: {listen: '127.0.0.1:0'}\nupstreams: [{name: gpu, url: 'http://localhost:8089'}]")},
	{name: "a short deadline", check: "upstream.timeouts", as: doctor.Warning, words: []string{"first_byte_timeout is 5s"},
		plant: func(_ *testing.T, _ string, with *setup) string {
			with.of = ", first_byte_timeout: 5s"
			return ""
		}},
	{name: "large answers in a small cache", check: "config.cache", as: doctor.Warning, words: []string{"max_entry_bytes"},
		plant: setting(anyPorts + "cache: {max_bytes: 1MiB, max_entry_bytes: 2MiB}")},
	{name: "streams are cut", check: "config.drain", as: doctor.Warning, words: []string{"drain_timeout is 0"},
		plant: setting(anyPorts + "shutdown: {drain_timeout: 0s}")},
	{name: "records larger than the spool takes", check: "config.records", as: doctor.Warning, words: []string{"spool.max_bytes"},
		plant: setting(anyPorts + "batchlog: {spool: {max_bytes: 32MiB}}")},
	{name: "more memory than there is", check: "process.memory", words: []string{"total_buffer_bytes"},
		plant: setting(anyPorts + "stream: {total_buffer_bytes: 100TiB}")},
	{name: "a memory limit below the caches", check: "process.collector", as: doctor.Warning, words: []string{"GOMEMLIMIT is 128.0 MiB"},
		plant: func(_ *testing.T, _ string, with *setup) string {
			with.env = []string{"GOMEMLIMIT=128MiB"}
			return ""
		}},
	{name: "no second cache tier", check: "others.cache_l2", words: []string{"refuses connections", "correct cache.l2.url"},
		plant: setting(anyPorts + "cache: {l2: {url: 'redis://127.0.0.1:1'}}")},
	{name: "a wrong password of the second cache tier", check: "others.cache_l2", words: []string{"WRONGPASS", "redis://USER:PASSWORD@HOST"}, plant: secondTier("redis://:wrong@{address}")},
	{name: "no password of the second cache tier", check: "others.cache_l2", words: []string{"NOAUTH"}, plant: secondTier("redis://{address}")},
	{name: "no such database of the second cache tier", check: "others.cache_l2", words: []string{"DB index is out of range"}, plant: secondTier("redis://:right@{address}/99")},
	{name: "a second cache tier that is well", check: "others.cache_l2", as: doctor.OK, words: []string{"answers, in"}, plant: secondTier("redis://:right@{address}/1")},
	{name: "no collector of traces", check: "others.traces", words: []string{"refuses connections", "4318"},
		plant: setting(anyPorts + "telemetry: {otlp_endpoint: 'http://127.0.0.1:1'}")},
	{name: "a collector of something else", check: "others.traces", words: []string{"status 404"},
		plant: func(t *testing.T, _ string, with *setup) string {
			with.yaml += "telemetry: {otlp_endpoint: '" + handled(t, http.NotFound) + "'}"
			return ""
		}},
	{name: "a listener that all reach", check: "listen.exposed", as: doctor.Warning, words: []string{"client_keys"},
		plant: setting("listen: 0.0.0.0:0\nadmin: {listen: '127.0.0.1:0'}")},
	{name: "port taken", check: "listen.ports", words: []string{"taken by another process", "admin.listen"},
		plant: func(t *testing.T, _ string, with *setup) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			with.yaml = "listen: 127.0.0.1:0\nadmin: {listen: '" + ln.Addr().String() + "'}\n"
			return ""
		}},
	{name: "an address of another machine", check: "listen.ports", words: []string{"no address of this machine"},
		plant: setting("listen: 192.0.2.1:8080\nadmin: {listen: '127.0.0.1:0'}\n")},
	{name: "a secret that all read", check: "keys.files", as: doctor.Warning, words: []string{"a secret in it", "chmod 600"},
		plant: func(t *testing.T, _ string, with *setup) string {
			file := writeFile(t, "open.yaml", anyPorts+"client_keys: [planted-client-key]\n")
			if err := os.Chmod(file, 0o644); err != nil {
				t.Fatal(err)
			}
			with.args = []string{"--config", file}
			return ""
		}},
}

var directoryFaults = []fault{
	{name: "data_dir is a file", check: "data.directory", words: []string{"no directory"},
		plant: func(t *testing.T, _ string, with *setup) string {
			with.args = []string{"--data-dir", writeFile(t, "file", "")}
			return ""
		}},
	{name: "data_dir cannot be made", check: "data.directory", words: []string{"cannot be made in /proc", "install -d"},
		plant: func(_ *testing.T, _ string, with *setup) string {
			with.args = []string{"--data-dir", "/proc/vega-proxy"}
			return ""
		}},
	{name: "data_dir is open", check: "data.mode", as: doctor.Warning, words: []string{"0755", "chmod 700"},
		plant: func(t *testing.T, dir string, _ *setup) string {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			return ""
		}},
	{name: "data_dir is another's", check: "data.lock", words: []string{"holds it"},
		plant: func(t *testing.T, dir string, with *setup) string {
			with.yaml = "listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:1'}\n" // a port that nobody has
			f, err := os.Create(filepath.Join(dir, "lock"))
			if err == nil {
				err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return ""
		}},
	{name: "the admin key is open", check: "keys.admin", words: []string{"mode 0644", "chmod 600"},
		plant: func(t *testing.T, dir string, _ *setup) string {
			file := filepath.Join(dir, "admin-key")
			if err := os.WriteFile(file, []byte("planted-admin-key\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			return ""
		}},
	{name: "the admin key is empty", check: "keys.admin", words: []string{"holds no key"},
		plant: func(t *testing.T, dir string, _ *setup) string {
			if err := os.WriteFile(filepath.Join(dir, "admin-key"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return ""
		}},
	{name: "a damaged spool", check: "log.spool", as: doctor.Warning, words: []string{"damaged"},
		plant: func(t *testing.T, dir string, _ *setup) string {
			if err := os.Mkdir(filepath.Join(dir, "spool"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "spool", "x-1.damaged"), []byte("torn"), 0o600); err != nil {
				t.Fatal(err)
			}
			return ""
		}},
}

// TestDoctorFewDescriptors needs a limit that only a shell sets.
func TestDoctorFewDescriptors(t *testing.T) {
	t.Parallel()
	_, well := simulate(t, simllm.Config{Tokens: 3})
	config := writeFile(t, "c.yaml", anyPorts+upstreamAt(well))
	cmd := command(t, "doctor", "--json", "--config", config)
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `ulimit -n 60; exec "$0" "$@"`, binary}, cmd.Args[1:]...)
	out, _ := cmd.Output() // the exit code is looked at below
	r := diagnosis(t, string(out), "", cmd.ProcessState.ExitCode())
	if s := status(r, "process.descriptors"); s != doctor.Wrong {
		t.Errorf("process.descriptors is %s", s)
	}
}

// TestDoctorAnotherProxy: the port is a proxy's, and not this one's.
func TestDoctorAnotherProxy(t *testing.T) {
	t.Parallel()
	backend, _ := holding(t)
	p := serve(t, upstreamAt(backend))
	f := fault{name: "another proxy", check: "listen.ports", words: []string{"another data_dir or key"},
		plant: setting("listen: 127.0.0.1:0\nadmin: {listen: '" + strings.TrimPrefix(p.admin, "http://") + "'}\n")}
	f.find(t, backend, nil)
}

// TestDoctorKeepsSecrets: no report shows a secret, whatever refuses it.
func TestDoctorKeepsSecrets(t *testing.T) {
	t.Parallel()
	refuse := handled(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "no")
	})
	r := examined(t, t.TempDir(), nil, anyPorts+`
client_keys: [planted-client-key]
batchlog: {database: "postgres://vega:planted-password@127.0.0.1:1/vega"}
upstreams: [{name: gpu, url: '`+refuse+`', headers: {Authorization: "Bearer planted-backend-key"}}]
`)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "planted") {
		t.Errorf("the report shows a secret: %s", text)
	}
}
