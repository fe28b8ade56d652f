package doctor

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// process is what this process may use: the proxy may use as much, if it is
// started from the same place.
type process struct {
	descriptors uint64
	memory      int64 // that it may use, by its control group or the machine; 0 is unknown
	limited     bool  // by a control group
	cpus        float64
	quota       bool // cpus is a control group's
	goMemLimit  string
	goMaxProcs  string
	kubernetes  bool
}

// readProcess reads below a root, which is "/" but for tests.
func readProcess(root string) *process {
	p := &process{
		cpus:       float64(runtime.NumCPU()),
		goMemLimit: os.Getenv("GOMEMLIMIT"), goMaxProcs: os.Getenv("GOMAXPROCS"),
		kubernetes: os.Getenv("KUBERNETES_SERVICE_HOST") != "",
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		p.descriptors = uint64(limit.Cur) // signed on FreeBSD; the runtime has raised it as far as it may
	}
	p.memory = machineMemory(root)
	p.readGroups(root)
	return p
}

// machineMemory is 0 where it is not known.
func machineMemory(root string) int64 {
	for line := range strings.Lines(readText(root, "proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64) // 0 is unknown
			return kib << 10
		}
	}
	return 0
}

// readGroups takes the tightest limits of the process's control groups and of
// those above them.
func (p *process) readGroups(root string) {
	for line := range strings.Lines(readText(root, "proc/self/cgroup")) {
		// 0::/path in version 2, 4:memory:/path in version 1
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base := "sys/fs/cgroup"
		if parts[1] != "" {
			base = filepath.Join(base, parts[1])
		}
		for dir := parts[2]; ; dir = filepath.Dir(dir) {
			at := func(name string) string { return readText(root, filepath.Join(base, dir, name)) }
			p.bound(at("memory.max"))
			p.bound(at("memory.limit_in_bytes"))
			p.share(at("cpu.max"))
			p.share(at("cpu.cfs_quota_us") + " " + at("cpu.cfs_period_us"))
			if dir == "/" || dir == "." {
				break
			}
		}
	}
}

// bound takes a limit of memory, in bytes; "max" and what is nearly as much as can
// be written are none.
func (p *process) bound(text string) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n >= math.MaxInt64>>1 || p.memory > 0 && n >= p.memory {
		return
	}
	p.memory, p.limited = n, true
}

// share takes a quota and its period, in microseconds.
func (p *process) share(text string) {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return
	}
	quota, err := strconv.ParseFloat(fields[0], 64)
	period, err2 := strconv.ParseFloat(fields[1], 64)
	if err != nil || err2 != nil || quota <= 0 || period <= 0 || quota/period >= p.cpus {
		return
	}
	p.cpus, p.quota = quota/period, true
}

// readText is a small file's text without blanks around it, "" where there is
// none.
func readText(root, name string) string {
	text, _ := os.ReadFile(filepath.Join(root, name)) // not there is none
	return strings.TrimSpace(string(text))
}
