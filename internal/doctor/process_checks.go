package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// ofProcess makes a check of what the process may use.
func ofProcess(judge func(f *facts, p *process) Result) func(*facts) []Result {
	return func(f *facts) []Result {
		if f.process == nil {
			return []Result{skipped("this system did not say")}
		}
		return []Result{judge(f, f.process)}
	}
}

const (
	perConnection  = 2   // the client's and the upstream's
	ownDescriptors = 100 // files, listeners, databases
	few            = 256
	usual          = 1024
)

func checkDescriptors(f *facts, p *process) Result {
	found := fmt.Sprintf("%d files may be open", p.descriptors)
	need := uint64(f.cfg.Limits.MaxConnections*perConnection + ownDescriptors)
	const meaning = "a connection takes two: beyond that clients are refused, and the log cannot open its files"
	const remedy = "raise the limit where the proxy is started: ulimit -n, LimitNOFILE in systemd"
	switch {
	case p.descriptors == 0:
		return skipped("this system does not say how many files may be open")
	case f.cfg.Limits.MaxConnections > 0 && p.descriptors < need:
		return wrong(fmt.Sprintf("%s, and limits.max_connections %d needs %d", found, f.cfg.Limits.MaxConnections, need), meaning, remedy+"; or lower the setting")
	case p.descriptors < few:
		return wrong(found, meaning, remedy)
	case p.descriptors < usual:
		return warning(found, meaning, remedy)
	}
	return ok(found)
}

// ownMemory is what the proxy takes beside caches and buffers, under load.
const ownMemory = 64 << 20

// budget is what the settings let the proxy hold.
func (f *facts) budget() int64 {
	n := f.cfg.Stream.TotalBufferBytes + ownMemory
	if f.cfg.Cache.Policy != "off" {
		n += f.cfg.Cache.MaxBytes
	}
	return n
}

func checkMemory(f *facts, p *process) Result {
	if p.memory == 0 {
		return skipped("this system does not say how much memory there is")
	}
	where := "the machine has"
	if p.limited {
		where = "the limit is"
	}
	found := fmt.Sprintf("%s %s, and cache and streams may take %s with the rest", where, bytesText(p.memory), bytesText(f.budget()))
	if f.budget() > p.memory {
		return wrong(found, "the process is killed for its memory when many clients are slow, and streams are cut",
			"lower stream.total_buffer_bytes or cache.max_bytes, or raise the limit")
	}
	return ok(found)
}

func checkGoMemory(f *facts, p *process) Result {
	const meaning = "the collector does not know when it must hurry, and the process may be killed for its memory"
	limit, err := parseMemory(p.goMemLimit)
	remedy := fmt.Sprintf("set GOMEMLIMIT=%dMiB, nine tenths of the limit", p.memory*9/10>>20)
	switch {
	case p.goMemLimit == "" && p.limited:
		return warning("GOMEMLIMIT is not set, and a limit of memory is", meaning, remedy)
	case p.goMemLimit == "" || p.goMemLimit == "off":
		return ok("GOMEMLIMIT is not set, and no limit of memory either")
	case err != nil:
		return wrong(fmt.Sprintf("GOMEMLIMIT is %q", p.goMemLimit), "the proxy does not start", "write it like 450MiB")
	case p.memory > 0 && limit > p.memory:
		return wrong(fmt.Sprintf("GOMEMLIMIT is %s, and there is %s", bytesText(limit), bytesText(p.memory)), meaning, remedy)
	case limit < f.budget():
		return warning(fmt.Sprintf("GOMEMLIMIT is %s, and cache and streams may take %s with the rest", bytesText(limit), bytesText(f.budget())),
			"near it the collector runs all the time, and everything is slow", "raise it, or lower stream.total_buffer_bytes or cache.max_bytes")
	}
	return ok("GOMEMLIMIT is " + bytesText(limit))
}

// parseMemory reads what the runtime takes: a number with B, KiB, MiB, GiB, TiB.
func parseMemory(text string) (int64, error) {
	digits, shift := strings.TrimSuffix(text, "B"), 0
	for i, unit := range []string{"Ki", "Mi", "Gi", "Ti"} {
		if rest, ok := strings.CutSuffix(digits, unit); ok {
			digits, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n << shift, err
}

func checkCPU(_ *facts, p *process) Result {
	threads, err := strconv.Atoi(p.goMaxProcs)
	found := fmt.Sprintf("%.3g processors may be used", p.cpus)
	switch {
	case err == nil && float64(threads) > p.cpus+1:
		return warning(fmt.Sprintf("%s, and GOMAXPROCS is %d", found, threads), "the process uses its share up early and stands still for the rest of each period: streams stall",
			"leave GOMAXPROCS away: the program sees the quota itself")
	case p.quota && p.cpus < 0.5:
		return warning(found, "under load streams stall until the next period", "raise the CPU limit to 1, or set a request and no limit")
	}
	return ok(found)
}
