package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/config"
)

// TestRareFacts: what a test cannot plant is judged all the same. What the
// program does with faults that can be planted is tested with the program.
func TestRareFacts(t *testing.T) {
	const gib = 1 << 30
	full := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	tests := []struct {
		name  string
		facts func(*facts)
		check string
		want  Status
		words string
	}{
		{"full disk", func(f *facts) { f.data = &directory{write: full} }, "data.directory", Wrong, "the disk is full"},
		{"no right to write", func(f *facts) { f.data = &directory{write: syscall.EACCES} }, "data.directory", Wrong, "chown"},
		{"a disk that hangs", func(f *facts) { f.data = nil }, "data.directory", Wrong, "did not answer in time"},
		{"a disk nearly full", func(f *facts) { f.data = &directory{free: 1 << 20} }, "data.space", Wrong, "nearly full"},
		{"less than the spool", func(f *facts) { f.data = &directory{free: gib / 2} }, "data.space", Warning, "spool.max_bytes"},
		{"room for the spool", func(f *facts) { f.data = &directory{free: gib / 2, used: gib - 1} }, "data.space", OK, "free"},
		{"files of root", func(f *facts) { f.data = &directory{foreign: []string{"log.key"}} }, "data.owner", Wrong, "log.key"},
		{"in memory", func(f *facts) { f.data = &directory{kind: "tmpfs"} }, "data.volume", Warning, "memory"},
		{"over the network", func(f *facts) { f.data = &directory{kind: "nfs"} }, "data.volume", Warning, "nfs"},
		{"a slow disk in the way", func(f *facts) {
			f.cfg.Batchlog.Spool.Fsync, f.data = "always", &directory{sync: 50 * time.Millisecond}
		}, "data.sync", Warning, "each answer waits"},
		{"the same disk out of it", func(f *facts) { f.data = &directory{sync: 50 * time.Millisecond} }, "data.sync", OK, ""},
		{"killed for memory", func(f *facts) { f.process = &process{memory: gib / 4, limited: true} }, "process.memory", Wrong, "the limit is 256.0 MiB"},
		{"a collector that knows nothing", func(f *facts) { f.process = &process{memory: gib, limited: true} }, "process.collector", Warning, "GOMEMLIMIT=921MiB"},
		{"a collector that knows too much", func(f *facts) { f.process = &process{memory: gib, goMemLimit: "2GiB"} }, "process.collector", Wrong, "2.0 GiB"},
		{"a limit that is none", func(f *facts) { f.process = &process{goMemLimit: "much"} }, "process.collector", Wrong, "450MiB"},
		{"too many threads", func(f *facts) { f.process = &process{cpus: 2, quota: true, goMaxProcs: "64"} }, "process.cpu", Warning, "GOMAXPROCS"},
		{"little processor", func(f *facts) { f.process = &process{cpus: 0.25, quota: true} }, "process.cpu", Warning, "0.25"},
		{"in Kubernetes", func(f *facts) { f.process = &process{kubernetes: true} }, "config.drain", OK, "terminationGracePeriodSeconds"},
		{"a low port", func(f *facts) { f.ports = []*port{{listener{"listen", ":80"}, syscall.EACCES}, nil} }, "listen.ports", Wrong, "CAP_NET_BIND_SERVICE"},
		{"a spool nearly full", func(f *facts) { f.spool = &spool{spooled: 9, bytes: gib - 1} }, "log.backlog", Wrong, "raise batchlog.spool.max_bytes"},
		{"losses", func(f *facts) { f.spool = &spool{dropped: 3} }, "log.lost", Warning, "vega-proxy audit"},
		{"set aside", func(f *facts) { f.spool = &spool{aside: 3, lastError: "too large"} }, "log.set_aside", Warning, "too large"},
		{"a spool of another user", func(f *facts) { f.spool = &spool{err: fs.ErrPermission} }, "log.spool", Wrong, "permission"},
		{"a database that hangs", func(f *facts) { f.sink = nil }, "log.database", Wrong, "did not answer"},
		{"a slow database", func(f *facts) { f.sink = &batchlog.Examination{Took: 2 * time.Second} }, "log.speed", Warning, "2s"},
		{"a database in the clear", func(f *facts) { f.sink = &batchlog.Examination{Sink: "postgres", Remote: true} }, "log.encrypted", Warning, "sslmode"},
		{"a database behind its time", func(f *facts) { f.sink = &batchlog.Examination{Sink: "postgres", Clock: -30 * time.Second} }, "log.clock", Warning, "behind"},
		{"an upstream that hangs", func(f *facts) { f.backends = []*backend{nil} }, "upstream.connects", Wrong, "in time"},
		{"a tier that refuses", func(f *facts) {
			f.cfg.Cache.L2.URL, f.second = "redis://x", &contact{where: "x:6379", err: errors.New("WRONGPASS invalid")}
		}, "others.cache_l2", Wrong, "WRONGPASS"},
		{"a collector of traces that is not there", func(f *facts) {
			f.cfg.Telemetry.OTLPEndpoint, f.traces = "http://x", &contact{where: "http://x", err: syscall.ECONNREFUSED}
		}, "others.traces", Wrong, "4318"},
		{"a proxy that hangs", func(f *facts) { f.proxy = nil }, "listen.running", Warning, "hangs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &facts{
				cfg: new(config.Default()), backends: make([]*backend, 1), ports: make([]*port, 2), data: &directory{}, spool: &spool{},
				sink: &batchlog.Examination{Sink: "sqlite", Table: true}, proxy: &running{}, process: &process{}, files: &files{},
			}
			tt.facts(f)
			for _, c := range checks {
				for _, r := range c.judge(f) {
					if c.Name == tt.check && r.Status == tt.want && strings.Contains(r.Found+r.Meaning+r.Remedy, tt.words) {
						return
					}
					if c.Name == tt.check {
						t.Logf("%+v", r)
					}
				}
			}
			t.Errorf("%s is not %s with %q", tt.check, tt.want, tt.words)
		})
	}
}

// TestControlGroups reads limits as both versions write them, the tightest one of
// the process's group and those above it.
func TestControlGroups(t *testing.T) {
	tests := []struct {
		name   string
		files  map[string]string
		memory int64
		cpus   float64
	}{
		{"version 2", map[string]string{
			"proc/self/cgroup":                    "0::/pod/proxy\n",
			"sys/fs/cgroup/pod/proxy/memory.max":  "max\n",
			"sys/fs/cgroup/pod/memory.max":        "268435456\n",
			"sys/fs/cgroup/pod/proxy/cpu.max":     "50000 100000\n",
			"sys/fs/cgroup/pod/cpu.max":           "max 100000\n",
			"sys/fs/cgroup/pod/proxy/memory.high": "1\n",
		}, 256 << 20, 0.5},
		{"version 1", map[string]string{
			"proc/self/cgroup": "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes":  "134217728\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us":  "25000\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":           "9223372036854771712\n",
		}, 128 << 20, 0.25},
	}
	for _, tt := range tests {
		root := t.TempDir()
		for name, content := range tt.files {
			path := filepath.Join(root, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if p := readProcess(root); p.memory != tt.memory || p.cpus != tt.cpus || !p.limited || !p.quota {
			t.Errorf("%s: %+v", tt.name, p)
		}
	}
}
