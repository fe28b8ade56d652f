package monitor

import (
	"bytes"
	"math"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestGrowth(t *testing.T) {
	const unit = 1 << 20
	flat := func(int) float64 { return 100 * unit }
	tests := []struct {
		name      string
		minutes   int
		size      func(minute int) float64
		mb, ratio float64
	}{
		{"no samples", 0, flat, 0, 0},
		{"under an hour", 60, func(i int) float64 { return float64(100+i) * unit }, 0, 0},
		{"flat", 61, flat, 0, 0},
		{"steady", 61, func(i int) float64 { return (100 + float64(i)) * unit }, 60, 60. / 130},
		{"a spike", 90, func(i int) float64 {
			if i == 40 {
				return 5000 * unit
			}
			return 100 * unit
		}, 0, 0},
		{"the last two hours", 300, func(i int) float64 {
			if i < 180 {
				return float64(i) * unit
			}
			return 180 * unit
		}, 0, 0},
		{"shrinking", 121, func(i int) float64 { return (400 - float64(i)) * unit }, -60, -60. / 339.5},
	}
	for _, tt := range tests {
		var tr trend
		for i := range tt.minutes {
			tr.add(time.Duration(i)*time.Minute, tt.size(i))
		}
		got := tr.growth()
		if math.Abs(got.MBPerHour-tt.mb) > 1e-9 || math.Abs(got.Ratio-tt.ratio) > 1e-9 {
			t.Errorf("%s: %+v, want %v MB, %v", tt.name, got, tt.mb, tt.ratio)
		}
	}
}

func TestP99IsOfTheLastMinute(t *testing.T) {
	h := &metrics.Float64Histogram{Counts: []uint64{1000, 0, 50}, Buckets: []float64{0, 0.001, 0.1, math.Inf(1)}}
	var d delta
	d.move(0, h)
	if got := d.p99(h); got != 0 {
		t.Errorf("nothing new: %v", got)
	}
	h.Counts[0] += 99
	h.Counts[1]++
	if got := d.p99(h); got != time.Millisecond {
		t.Errorf("99 of 100 under a millisecond: %v", got)
	}
	h.Counts[1]++
	if got := d.p99(h); got != 100*time.Millisecond {
		t.Errorf("99 of 101: %v", got)
	}
	h.Counts[2] += 1000
	if got := d.p99(h); got != 100*time.Millisecond {
		t.Errorf("beyond the last bound: %v", got)
	}
	d.move(40*time.Second, h)
	d.move(50*time.Second, h) // too soon
	if got := d.p99(h); got != 100*time.Millisecond {
		t.Errorf("half a minute later: %v", got)
	}
	d.move(80*time.Second, h)
	if got := d.p99(h); got != 0 {
		t.Errorf("a minute later: %v", got)
	}
}

func TestDescriptors(t *testing.T) {
	const threshold = 5 * time.Minute
	var d descriptors
	open := map[string]string{"0": "/dev/null", "3": "anon_inode:[eventpoll]"}
	for i := range 10 {
		open[strconv.Itoa(10+i)] = "/data/forgotten"
		open[strconv.Itoa(30+i)] = "socket:[" + strconv.Itoa(i) + "]"
	}
	d.look(0, threshold, open, 1024)
	d.look(threshold-time.Second, threshold, open, 1024)
	if len(d.last.Suspects) != 0 {
		t.Errorf("too young: %+v", d.last.Suspects)
	}
	d.look(threshold, threshold, open, 1024)
	if s := d.last.Suspects; len(s) != 1 || s[0] != (DescriptorLeak{"/data/forgotten", 10, 300}) {
		t.Errorf("suspects %+v", s)
	}
	if got := d.last.ByKind; got["file"] != 11 || got["socket"] != 10 || got["eventpoll"] != 1 || d.last.Open != 22 || d.last.Limit != 1024 {
		t.Errorf("descriptors %+v", d.last)
	}
	for i := range 10 { // the same numbers, opened anew
		open[strconv.Itoa(10+i)] = "/data/" + strconv.Itoa(i)
	}
	d.look(threshold+time.Minute, threshold, open, 1024)
	if len(d.last.Suspects) != 0 {
		t.Errorf("others by now: %+v", d.last.Suspects)
	}
}

func TestRisingSockets(t *testing.T) {
	tests := []struct {
		name    string
		opened  func(minute int) int // how many there are from then on
		suspect bool
	}{
		{"many and steady", func(int) int { return 500 }, false},
		{"more and more", func(i int) int { return 5 * i }, true},
		{"a little more", func(i int) int { return i }, false},
		{"a step", func(i int) int { return 50 + 50*(i/10) }, false},
	}
	for _, tt := range tests {
		var d descriptors
		found := false
		open := map[string]string{}
		for minute := range 30 {
			for i := len(open); i < tt.opened(minute); i++ {
				open[strconv.Itoa(i)] = "socket:[" + strconv.Itoa(i) + "]"
			}
			d.look(time.Duration(minute)*time.Minute, 5*time.Minute, open, 0)
			found = found || len(d.last.Suspects) > 0 && d.last.Suspects[0].What == "socket"
		}
		if found != tt.suspect {
			t.Errorf("%s: suspect %v", tt.name, found)
		}
	}
}

func TestParseProfile(t *testing.T) {
	const text = `goroutine profile: total 4
3 @ 0x1 0x2
# labels: {"slot":"7", "task":"exchange"}
#	0x1	sync.(*Mutex).Lock+0x10				/usr/go/src/sync/mutex.go:46
#	0x2	example.com/x/proxy.(*exchange).run+0x20	/src/proxy/exchange.go:12
#	0x3	runtime.goexit+0x1				/usr/go/src/runtime/asm.s:1

1 @ 0x9
#	0x9	main.main+0x9	/src/main.go:1

`
	groups := parseProfile([]byte(text), "")
	if len(groups) != 2 {
		t.Fatalf("%+v", groups)
	}
	g := groups[0]
	if g.count != 3 || g.labels["slot"] != "7" || g.labels["task"] != "exchange" || g.root != "example.com/x/proxy.(*exchange).run" ||
		len(g.frames) != 2 || g.place() != "example.com/x/proxy.(*exchange).run exchange.go:12" {
		t.Errorf("first %+v", g)
	}
	if g := groups[1]; g.count != 1 || g.root != "main.main" || g.labels != nil {
		t.Errorf("second %+v", g)
	}
	if got := parseProfile([]byte("#\tframe without a goroutine\n# labels: {}\n"), ""); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestBusiest(t *testing.T) {
	var buf bytes.Buffer
	if err := pprof.StartCPUProfile(&buf); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	time.AfterFunc(300*time.Millisecond, func() { stop.Store(true) })
	hogProcessor(&stop)
	pprof.StopCPUProfile()
	stack, err := busiest(buf.Bytes())
	if err != nil || !strings.Contains(names(stack), "monitor.hogProcessor faults_test.go:") {
		t.Errorf("%v, %q", err, stack)
	}
	if _, err := busiest(buf.Bytes()[:buf.Len()/2]); err == nil {
		t.Error("half a profile is read")
	}
	if _, err := busiest([]byte("no gzip")); err == nil {
		t.Error("no profile is read")
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte{0x12, 0x04, 0x0a, 0x02, 0x01, 0x02, 0x32, 0x01, 'x'})
	f.Add([]byte{0x12, 0xff})
	f.Add([]byte{0x22, 0x06, 0x08, 0x01, 0x22, 0x02, 0x08, 0x01})
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p cpuProfile
		if fields(msg, p.field) == nil && p.stack() == nil {
			t.Error("a stack is never nil")
		}
	})
}

func TestMetricNames(t *testing.T) {
	m := newMonitor(t, nil)
	reg, _ := registries.Load(m)
	families, err := reg.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Metric != "memory_tracked_mb" { // a name that is expected as it is
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	got := gathered(t, m)
	for _, name := range []string{
		"event_loop_slow_callbacks_total", "event_loop_pending_tasks", "memory_potential_leaks", "memory_tracked_mb",
		"vega_memory_tracked_bytes", "vega_memory_growth_ratio_per_hour", "vega_loop_lateness_seconds", "vega_loop_stalls_total",
		"vega_sched_latency_p99_seconds", "vega_gc_pause_p99_seconds", "vega_mutex_wait_seconds_total", "vega_sessions",
	} {
		if _, ok := got[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestProcessFigures(t *testing.T) {
	m := newMonitor(t, nil)
	d := m.DiagnoseMemory()
	l := d.Metrics
	if l.ProcessMemory.RSSMB <= 1 || l.ProcessMemory.VMSMB < l.ProcessMemory.RSSMB || l.HeapMB <= 0 || l.StackMB <= 0 || l.Goroutines < 1 {
		t.Errorf("memory %+v", l)
	}
	if l.LastCheckTime.IsZero() || l.FileDescriptors.Open < 1 {
		t.Errorf("no check was made: %+v", l)
	}
	g := m.Diagnose()
	if g.Tasks.Total < 1 || g.Tasks.Total != g.Tasks.Running+g.Tasks.Waiting {
		t.Errorf("tasks %+v", g.Tasks)
	}
	sum := 0
	for _, n := range g.Tasks.ByName {
		sum += n
	}
	if int64(sum) != g.Tasks.Total {
		t.Errorf("%d by name of %d", sum, g.Tasks.Total)
	}
}
