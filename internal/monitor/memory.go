package monitor

import (
	"context"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

// memory is what the leak checks found.
type memory struct {
	leaks, bytes atomic.Int64

	mu          sync.Mutex
	trend       trend
	descriptors descriptors
	goroutines  GoroutineLeaks
	checked     time.Time

	collecting sync.Mutex // one forced collection at a time
}

// GoroutineLeaks is goroutines that can never go on: they wait for something
// that nothing else can reach.
type GoroutineLeaks struct {
	// Available tells that the build has the runtime's profile of them.
	Available bool            `json:"available"`
	Total     int             `json:"total"`
	Places    []GoroutineLeak `json:"places"` // the most first, at most 20
}

// GoroutineLeak is the leaked goroutines that share a stack.
type GoroutineLeak struct {
	Count int      `json:"count"`
	Place string   `json:"place"` // where they wait
	Stack []string `json:"stack"` // innermost first
}

// leakProfile is the runtime's name for leaked goroutines.
const leakProfile = "goroutineleak"

// maxLeakPlaces is how many places of leaked goroutines are shown.
const maxLeakPlaces = 20

func (me *memory) init() {
	me.goroutines = GoroutineLeaks{Available: pprof.Lookup(leakProfile) != nil, Places: []GoroutineLeak{}}
	me.descriptors.last = Descriptors{ByKind: map[string]int{}, Suspects: []DescriptorLeak{}}
}

// watchMemory looks after each collection for what is gone, and in each leak
// check interval for leaks.
func (m *Monitor) watchMemory(ctx context.Context) {
	every := m.leakTick()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	m.checkLeaks()
	last := m.now()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if tick := m.leakTick(); tick != every {
			every = tick
			ticker.Reset(every)
		}
		m.objects.collected()
		if now := m.now(); now-last >= m.cfg.Load().LeakCheckInterval {
			last = now
			m.checkLeaks()
		}
	}
}

// leakTick is how often the watch looks after collections.
func (m *Monitor) leakTick() time.Duration {
	cfg := m.cfg.Load()
	return min(cfg.CheckInterval, cfg.LeakCheckInterval)
}

// checkLeaks judges everything that can leak.
func (m *Monitor) checkLeaks() {
	now := m.now()
	if m.objects.suspects(now, m.cfg.Load().LeakThreshold) {
		// Only a full collection can clear or convict them; an idle process may
		// have none for minutes.
		m.objects.collect()
	}
	m.count()
	leaked := leakedGoroutines()
	resident, _ := processMemory()
	open, limit := openDescriptors(), descriptorLimit()

	me := &m.memory
	me.mu.Lock()
	defer me.mu.Unlock()
	me.goroutines = leaked
	me.trend.add(now, float64(resident))
	me.descriptors.look(now, m.cfg.Load().LeakThreshold, open, limit)
	me.checked = time.Now()
}

// count brings the gauges up to date.
func (m *Monitor) count() (byKind [progress.Kinds]kindTotals) {
	now, judged := m.now(), m.objects.judgedUntil()
	m.objects.each(func(e *object) {
		t := &byKind[e.kind]
		t.count++
		t.bytes += e.size
		t.age += now - e.born
		if e.leaked(now, m.cfg.Load().LeakThreshold, judged) {
			t.leaks++
		}
	})
	leaks, bytes := int64(0), int64(0)
	for _, t := range byKind {
		leaks, bytes = leaks+t.leaks, bytes+t.bytes
	}
	m.memory.leaks.Store(leaks)
	m.memory.bytes.Store(bytes)
	return byKind
}

type kindTotals struct {
	count, bytes, leaks int64
	age                 time.Duration
}

// leakedGoroutines asks the runtime, where the build can tell; that is a full
// collection.
func leakedGoroutines() GoroutineLeaks {
	groups := profile(leakProfile, "")
	l := GoroutineLeaks{Available: pprof.Lookup(leakProfile) != nil, Places: []GoroutineLeak{}}
	for _, g := range groups {
		l.Total += g.count
		l.Places = append(l.Places, GoroutineLeak{g.count, g.place(), g.frames})
	}
	slices.SortStableFunc(l.Places, func(a, b GoroutineLeak) int { return b.Count - a.Count })
	l.Places = l.Places[:min(len(l.Places), maxLeakPlaces)]
	return l
}

func (me *memory) growth() Growth {
	me.mu.Lock()
	defer me.mu.Unlock()
	return me.trend.growth()
}

// Collection is what a forced garbage collection did.
type Collection struct {
	FreedObjects int64   `json:"freed_objects"`
	FreedMB      float64 `json:"freed_mb"`
	DurationMS   float64 `json:"duration_ms"`
}

// GC runs a full garbage collection, and looks for leaks after it. It takes
// some ms for each 10 MB that are alive; a second call waits for the first.
func (m *Monitor) GC() Collection {
	m.memory.collecting.Lock()
	defer m.memory.collecting.Unlock()
	freed := []metrics.Sample{{Name: "/gc/heap/frees:objects"}, {Name: "/gc/heap/frees:bytes"}}
	metrics.Read(freed)
	objects, bytes := freed[0].Value.Uint64(), freed[1].Value.Uint64()
	start := time.Now()
	m.objects.collect()
	took := time.Since(start)
	metrics.Read(freed)
	m.count()
	return Collection{
		FreedObjects: int64(freed[0].Value.Uint64() - objects),
		FreedMB:      float64(freed[1].Value.Uint64()-bytes) / mb,
		DurationMS:   milliseconds(took),
	}
}
