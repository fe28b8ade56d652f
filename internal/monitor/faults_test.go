package monitor

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

// What is planted here happens in real time, and lasts until it has been found.

var burned atomic.Int64

//go:noinline
func hogProcessor(stop *atomic.Bool) {
	n := int64(1)
	for !stop.Load() {
		for range 1_000_000 {
			n = n*6364136223846793005 + 1442695040888963407
		}
	}
	burned.Add(n)
}

func TestFaultHoggedProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	m := newMonitor(t, func(c *Config) { c.Thresholds = map[string]int{SchedulerStep: 30} })
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 8 { // each has its turn of 10 ms before the probe has
		wg.Go(func() { hogProcessor(&stop) })
	}
	stopMonitor := run(t, m)
	defer stopMonitor()
	defer wg.Wait()
	defer stop.Store(true)
	eventually(t, "a late scheduler, and who has the processor", func() bool {
		for _, c := range m.Status().RecentSlowCallbacks {
			if c.Name == SchedulerStep && strings.Contains(names(c.Stack), "monitor.hogProcessor faults_test.go:") {
				return true
			}
		}
		return false
	})
	if status, reasons := m.Health(); status == Healthy || !strings.Contains(names(reasons), SchedulerStep) {
		t.Errorf("health %s %q", status, reasons)
	}
}

//go:noinline
func waitForLock(mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
}

func TestFaultHeldLock(t *testing.T) {
	m := newMonitor(t, nil)
	defer run(t, m)()
	var mu sync.Mutex
	mu.Lock()
	var wg sync.WaitGroup
	wg.Go(func() {
		x := begin(m, "waits")
		defer x.End()
		x.Enter(dispatch)
		waitForLock(&mu)
	})
	eventually(t, "the step that waits for the lock, and where", func() bool {
		for _, c := range m.Status().RecentSlowCallbacks {
			if c.Name == "dispatch" && c.RequestID == "waits" && strings.Contains(names(c.Stack), "monitor.waitForLock faults_test.go:") {
				return true
			}
		}
		return false
	})
	mu.Unlock()
	wg.Wait()
}

func TestFaultForgottenDescriptors(t *testing.T) {
	m := newMonitor(t, func(c *Config) {
		c.CheckInterval, c.LeakCheckInterval, c.LeakThreshold = 20*time.Millisecond, 20*time.Millisecond, 50*time.Millisecond
	})
	name := filepath.Join(t.TempDir(), "forgotten")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range samePath {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	defer run(t, m)()
	eventually(t, "the descriptors", func() bool {
		s := m.Leaks().FileDescriptors.Suspects
		return len(s) == 1 && s[0].What == name && s[0].Count == samePath
	})
	if advice := names(m.DiagnoseMemory().Recommendations); !strings.Contains(advice, "8 descriptors of "+name) {
		t.Errorf("recommendations:\n%s", advice)
	}
	if status, reasons := m.MemoryHealth(); status != Warning || !strings.Contains(names(reasons), name) {
		t.Errorf("memory health %s %q", status, reasons)
	}
}

//go:noinline
func forgetGoroutine() { go waitForNobody(make(chan int)) }

//go:noinline
func waitForNobody(c chan int) { <-c }

// TestFaultLeakedGoroutine holds that the monitor knows what the build can, and
// that where it can a leaked goroutine is found.
func TestFaultLeakedGoroutine(t *testing.T) {
	m := newMonitor(t, nil)
	if pprof.Lookup(leakProfile) == nil {
		if l := m.DiagnoseMemory().Metrics.GoroutineLeaks; l.Available || l.Total != 0 || l.Places == nil {
			t.Errorf("without the runtime's profile: %+v", l)
		}
		return
	}
	forgetGoroutine()
	eventually(t, "the goroutine", func() bool {
		l := m.DiagnoseMemory().Metrics.GoroutineLeaks
		return l.Available && l.Total == 1 && strings.Contains(l.Places[0].Place, "monitor.waitForNobody faults_test.go:")
	})
}

func TestRunStartsAndStops(t *testing.T) {
	m := newMonitor(t, nil)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		for range 4 {
			wg.Go(func() {
				x := begin(m, "r")
				x.Enter(parse)
				m.Status()
				m.Leaks()
				x.Enter(dispatch)
				Track(x.place, progress.KindRecording, new(served), 1, "r")()
				x.End()
				m.Seen("a", 1, 1)
			})
		}
		cancel()
		wg.Wait()
	}
	if m.Status().Running {
		t.Error("still running")
	}
}
