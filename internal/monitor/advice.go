package monitor

import (
	"fmt"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

// MemoryDiagnostics is the memory figures with what they mean, for encoding/json.
type MemoryDiagnostics struct {
	Metrics         Leaks                     `json:"metrics"`
	LeaksByType     map[string][]LeakedObject `json:"leaks_by_type"`
	GC              Collector                 `json:"gc"`
	Recommendations []string                  `json:"recommendations"`
}

const (
	// maxGrowth is the growth of an hour, as a part, from which on it is a warning.
	maxGrowth = 0.10
	// maxCollectorShare is the collector's part of the processor time that is
	// still good.
	maxCollectorShare = 0.25
	// manyLeaks is from how many on they are no accident any more.
	manyLeaks = 20
)

// DiagnoseMemory looks for leaks now, whatever the interval, and returns all
// figures with recommendations. Where the build can find leaked goroutines it
// takes a garbage collection.
func (m *Monitor) DiagnoseMemory() MemoryDiagnostics {
	m.checkLeaks()
	d := MemoryDiagnostics{Metrics: m.Leaks(), LeaksByType: map[string][]LeakedObject{}, GC: m.collector()}
	for k, name := range kindNames {
		d.LeaksByType[name] = m.leaksOf(progress.Kind(k))
	}
	d.Recommendations = d.advice()
	return d
}

// advice says in words what the figures suggest, each with its evidence and
// where to turn.
func (d *MemoryDiagnostics) advice() []string {
	advice := []string{}
	say := func(format string, args ...any) { advice = append(advice, fmt.Sprintf(format, args...)) }
	for _, name := range kindNames {
		leaks := d.LeaksByType[name]
		if len(leaks) == 0 {
			continue
		}
		oldest, where := leaks[0], ""
		for _, l := range leaks {
			if l.CreatedAtPlace != "" {
				where = ", made at " + l.CreatedAtPlace
				break
			}
		}
		say("%d objects of type %s are still held long after their end; the oldest ended %.0f s ago (request %q)%s. "+
			"GET /admin/performance/memory/leaks/%s lists them; GET /admin/debug/pprof/heap shows what the memory was taken for. Please report it.",
			d.Metrics.ByType[name].Leaks, name, oldest.LetGoSeconds, oldest.RequestID, where, name)
	}
	for _, g := range d.Metrics.GoroutineLeaks.Places {
		say("%d goroutines can never go on; they wait at %s. GET /admin/debug/pprof/goroutineleak?debug=1 has their stacks. Please report it.", g.Count, g.Place)
	}
	f := d.Metrics.FileDescriptors
	for _, s := range f.Suspects {
		say("%d descriptors of %s have been open for up to %.0f s and seem to be forgotten. Please report it; a restart closes them.", s.Count, s.What, s.OldestSeconds)
	}
	if f.nearLimit() {
		say("%d of %d file descriptors are open: lower limits.max_connections, or raise the process' limit (ulimit -n).", f.Open, f.Limit)
	}
	if g := d.Metrics.GrowthPerHour; g.Ratio > maxGrowth {
		say("the resident memory grows by %.1f MB (%.0f %%) an hour: POST /admin/performance/memory/gc tells garbage from what is held; "+
			"cache.max_bytes and stream.total_buffer_bytes bound what the proxy keeps by intent.", g.MBPerHour, g.Ratio*100)
	}
	if d.GC.CPUFraction > maxCollectorShare {
		say("the garbage collector takes %.0f %% of the processor time: raise GOMEMLIMIT or the container's memory, or lower cache.max_bytes.", d.GC.CPUFraction*100)
	}
	if l := d.GC.LimitMB; l > 0 && d.Metrics.HeapLiveMB > 0.9*l {
		say("%.0f MB of the heap are alive with GOMEMLIMIT at %.0f MB: raise it, or lower cache.max_bytes and stream.total_buffer_bytes.", d.Metrics.HeapLiveMB, l)
	}
	return advice
}

func (f *Descriptors) nearLimit() bool {
	return f.Limit > 0 && float64(f.Open) > nearLimit*float64(f.Limit)
}

// MemoryHealth returns how the memory is and why it is not healthy, by the last
// leak check.
func (m *Monitor) MemoryHealth() (Health, []string) {
	status, reasons := Healthy, []string{}
	warn := func(format string, args ...any) {
		status = Warning
		reasons = append(reasons, fmt.Sprintf(format, args...))
	}
	leaks := m.memory.leaks.Load()
	me := &m.memory
	me.mu.Lock()
	defer me.mu.Unlock()
	if leaks > 0 {
		warn("%d objects are held long after their end", leaks)
	}
	if n := me.goroutines.Total; n > 0 {
		warn("%d goroutines can never go on", n)
	}
	f := &me.descriptors.last
	if len(f.Suspects) > 0 {
		warn("%d descriptors of %s seem to be forgotten", f.Suspects[0].Count, f.Suspects[0].What)
	}
	if f.nearLimit() {
		warn("%d of %d file descriptors are open", f.Open, f.Limit)
	}
	if g := me.trend.growth(); g.Ratio > maxGrowth {
		warn("the resident memory grows by %.0f %% an hour", g.Ratio*100)
	}
	if leaks > manyLeaks {
		status = Critical
	}
	return status, reasons
}
