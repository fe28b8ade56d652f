package monitor

import (
	"cmp"
	"path"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

// Leaks is the memory figures under the guide's names, for encoding/json.
type Leaks struct {
	ObjectsTracked        int64               `json:"objects_tracked"` // since the start
	ObjectsFreed          int64               `json:"objects_freed"`
	ObjectsCurrentlyAlive int64               `json:"objects_currently_alive"`
	ObjectsSkipped        int64               `json:"objects_skipped"` // not followed: the rate was too high
	PotentialLeaks        int64               `json:"potential_leaks"`
	MemoryTrackedMB       float64             `json:"memory_tracked_mb"`
	GCCollections         int64               `json:"gc_collections"`
	LastCheckTime         time.Time           `json:"last_check_time"`
	ByType                map[string]TypeSize `json:"by_type"`
	ProcessMemory         ProcessMemory       `json:"process_memory"`
	HeapMB                float64             `json:"heap_mb"`      // objects, garbage not yet swept included
	HeapLiveMB            float64             `json:"heap_live_mb"` // what the last collection left
	StackMB               float64             `json:"stack_mb"`
	Goroutines            int64               `json:"goroutines"`
	GoroutineLeaks        GoroutineLeaks      `json:"goroutine_leaks"`
	FileDescriptors       Descriptors         `json:"file_descriptors"`
	GrowthPerHour         Growth              `json:"growth_per_hour"` // of the resident memory
}

// TypeSize is the followed objects of a type that are alive.
type TypeSize struct {
	Count         int64   `json:"count"`
	TotalSizeMB   float64 `json:"total_size_mb"`
	AvgAgeSeconds float64 `json:"avg_age_seconds"`
	Leaks         int64   `json:"leaks"`
}

// ProcessMemory is the process' size as the system sees it.
type ProcessMemory struct {
	RSSMB float64 `json:"rss_mb"`
	VMSMB float64 `json:"vms_mb"`
}

// Leaks returns the memory figures.
func (m *Monitor) Leaks() Leaks {
	byKind, skipped := m.count(), m.pool.count().skipped
	resident, virtual := processMemory()
	h := readHeap()
	l := Leaks{
		PotentialLeaks:  m.memory.leaks.Load(),
		MemoryTrackedMB: float64(m.memory.bytes.Load()) / mb,
		GCCollections:   h.collections,
		ByType:          map[string]TypeSize{},
		ProcessMemory:   ProcessMemory{float64(resident) / mb, float64(virtual) / mb},
		HeapMB:          h.objects,
		HeapLiveMB:      h.live,
		StackMB:         h.stacks,
		Goroutines:      m.runtime.figures().goroutines,
	}
	for k, t := range byKind {
		c := &m.objects.byKind[k]
		l.ObjectsTracked += c.tracked.Load()
		l.ObjectsFreed += c.freed.Load()
		l.ObjectsSkipped += skipped[k]
		l.ObjectsCurrentlyAlive += t.count
		size := TypeSize{Count: t.count, TotalSizeMB: float64(t.bytes) / mb, Leaks: t.leaks}
		if t.count > 0 {
			size.AvgAgeSeconds = t.age.Seconds() / float64(t.count)
		}
		l.ByType[kindNames[k]] = size
	}
	me := &m.memory
	me.mu.Lock()
	defer me.mu.Unlock()
	l.LastCheckTime, l.GoroutineLeaks, l.FileDescriptors, l.GrowthPerHour = me.checked, me.goroutines, me.descriptors.last, me.trend.growth()
	return l
}

type heap struct {
	objects, live, stacks float64 // MiB
	collections           int64
}

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(s)
	size := func(i int) float64 { return float64(s[i].Value.Uint64()) / mb }
	return heap{size(0), size(1), size(2), int64(s[3].Value.Uint64())}
}

// LeakedObject is an object that its owner let go of and that something holds.
type LeakedObject struct {
	ID         int64   `json:"id"`
	AgeSeconds float64 `json:"age_seconds"` // since it was made
	SizeBytes  int64   `json:"size_bytes"`
	// CreatedAtPlace is the calls that made it, innermost first; it is noted for
	// a sample at high rates and else empty.
	CreatedAtPlace string  `json:"created_at_place"`
	RequestID      string  `json:"request_id,omitempty"`
	LetGoSeconds   float64 `json:"let_go_seconds"` // since its owner let go of it
}

// maxListed is how many leaked objects of a type are listed, the oldest ones.
const maxListed = 1000

// LeakList is the leaked objects of a type, the oldest first, for encoding/json.
type LeakList struct {
	ObjectType string         `json:"object_type"`
	Objects    []LeakedObject `json:"objects"` // never null, at most 1000
}

// LeaksOf lists the leaked objects of a type. It is false if there is no such type.
func (m *Monitor) LeaksOf(objectType string) (LeakList, bool) {
	k := slices.Index(kindNames[:], objectType)
	if k < 0 {
		return LeakList{}, false
	}
	return LeakList{objectType, m.leaksOf(progress.Kind(k))}, true
}

func (m *Monitor) leaksOf(k progress.Kind) []LeakedObject {
	now, judged := m.now(), m.objects.judgedUntil()
	list := []LeakedObject{}
	var places [][3]uintptr
	m.objects.each(func(e *object) {
		if e.kind != k || !e.leaked(now, m.cfg.Load().LeakThreshold, judged) {
			return
		}
		list = append(list, LeakedObject{
			ID: e.id, AgeSeconds: (now - e.born).Seconds(), SizeBytes: e.size, RequestID: e.requestID,
			LetGoSeconds: (now - time.Duration(e.letGo.Load())).Seconds(),
		})
		places = append(places, e.place)
	})
	for i := range list {
		list[i].CreatedAtPlace = place(places[i])
	}
	slices.SortFunc(list, func(a, b LeakedObject) int { return cmp.Compare(b.AgeSeconds, a.AgeSeconds) })
	return list[:min(len(list), maxListed)]
}

// place writes callers out, innermost first.
func place(callers [3]uintptr) string {
	if callers[0] == 0 {
		return ""
	}
	var b strings.Builder
	frames := runtime.CallersFrames(slices.DeleteFunc(callers[:], func(pc uintptr) bool { return pc == 0 }))
	for {
		f, more := frames.Next()
		if f.Function != "" {
			if b.Len() > 0 {
				b.WriteString(" < ")
			}
			b.WriteString(f.Function + " " + path.Base(f.File) + ":" + strconv.Itoa(f.Line))
		}
		if !more {
			return b.String()
		}
	}
}

// Collector is the garbage collector's figures.
type Collector struct {
	Collections  int64   `json:"collections"`
	PauseP99MS   float64 `json:"pause_p99_ms"` // of the last minute
	PauseTotalMS float64 `json:"pause_total_ms"`
	CPUFraction  float64 `json:"cpu_fraction"` // of the processor time used since the start
	GoalMB       float64 `json:"goal_mb"`      // size of the heap at which the next collection begins to hurry
	LimitMB      float64 `json:"limit_mb"`     // GOMEMLIMIT; 0 is none
	LastTime     string  `json:"last_time"`    // RFC 3339, empty before the first
}

func (m *Monitor) collector() Collector {
	s := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"},
		{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/gomemlimit:bytes"},
	}
	metrics.Read(s)
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	c := Collector{
		Collections:  int64(s[0].Value.Uint64()),
		PauseP99MS:   milliseconds(m.runtime.figures().gcP99),
		PauseTotalMS: milliseconds(stats.PauseTotal),
		GoalMB:       float64(s[4].Value.Uint64()) / mb,
	}
	if used := s[2].Value.Float64() - s[3].Value.Float64(); used > 0 {
		c.CPUFraction = s[1].Value.Float64() / used
	}
	if limit := s[5].Value.Uint64(); limit < 1<<62 {
		c.LimitMB = float64(limit) / mb
	}
	if stats.NumGC > 0 {
		c.LastTime = stats.LastGC.UTC().Format(time.RFC3339)
	}
	return c
}
