package monitor

import (
	"encoding/json"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

type served struct {
	_    [100]byte
	mark byte
	_    [100]byte
}

//go:noinline
func serveOne(m *Monitor, k progress.Kind, keep map[int]*served) (done func()) {
	e := begin(m, "request-7")
	defer e.End()
	x := new(served)
	if keep != nil {
		keep[len(keep)] = x
	}
	return Track(e.place, k, &x.mark, 4<<20, "request-7")
}

func TestLeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, nil)
		defer run(t, m)()
		kept, streams := map[int]*served{}, map[int]*served{}
		for range 3 {
			serveOne(m, progress.KindExchange, kept)()
		}
		serveOne(m, progress.KindUpstreamBody, nil)() // is gone
		ended := serveOne(m, progress.KindStream, streams)

		time.Sleep(4 * time.Minute)
		m.GC()
		if l := m.Leaks(); l.PotentialLeaks != 0 || l.ObjectsTracked != 5 || l.ObjectsFreed != 1 {
			t.Errorf("before the threshold: %d leaks of %d, %d freed", l.PotentialLeaks, l.ObjectsTracked, l.ObjectsFreed)
		}
		time.Sleep(time.Minute + 2*m.cfg.Load().LeakCheckInterval)
		if got := gathered(t, m); got["memory_potential_leaks"] != 3 || got["memory_tracked_mb"] != 16 || got["vega_memory_tracked_bytes"] != 16<<20 {
			t.Errorf("metrics %v", got)
		}
		l := m.Leaks()
		if l.PotentialLeaks != 3 || l.ByType["exchange"] != (TypeSize{3, 12, 420, 3}) || l.ByType["stream"] != (TypeSize{1, 4, 420, 0}) {
			t.Errorf("leaks %d, by type %v", l.PotentialLeaks, l.ByType)
		}
		list, ok := m.LeaksOf("exchange")
		if !ok || len(list.Objects) != 3 {
			t.Fatalf("leaked exchanges %+v", list)
		}
		one := list.Objects[0]
		if one.SizeBytes != 4<<20 || one.AgeSeconds != 420 || one.RequestID != "request-7" || !strings.Contains(one.CreatedAtPlace, "monitor.serveOne leaks_test.go:") {
			t.Errorf("leaked exchange %+v", one)
		}
		if status, reasons := m.MemoryHealth(); status != Warning || !strings.Contains(names(reasons), "3 objects") {
			t.Errorf("memory health %s %q", status, reasons)
		}

		time.Sleep(time.Hour) // a stream may last
		if list, _ := m.LeaksOf("stream"); len(list.Objects) != 0 {
			t.Errorf("a live stream is called a leak: %+v", list)
		}
		ended()
		clear(kept)
		time.Sleep(7 * time.Minute)
		if list, _ := m.LeaksOf("stream"); len(list.Objects) != 1 {
			t.Errorf("a stream that has ended and is held is no leak: %+v", list)
		}
		if list, _ := m.LeaksOf("exchange"); len(list.Objects) != 0 {
			t.Errorf("what is gone is a leak: %+v", list)
		}
		d := m.DiagnoseMemory()
		advice := names(d.Recommendations)
		for _, want := range []string{"1 objects of type stream", "monitor.serveOne", "/admin/performance/memory/leaks/stream", "request-7"} {
			if !strings.Contains(advice, want) {
				t.Errorf("the recommendations do not say %q:\n%s", want, advice)
			}
		}
		if len(d.LeaksByType["stream"]) != 1 || len(d.LeaksByType) != int(progress.Kinds) {
			t.Errorf("leaks by type %+v", d.LeaksByType)
		}
		runtime.KeepAlive(streams)
	})
}

func TestUnknownTypeHasNoLeaks(t *testing.T) {
	m := newMonitor(t, nil)
	if _, ok := m.LeaksOf("list"); ok {
		t.Error("there is a type list")
	}
	for _, name := range kindNames {
		if list, ok := m.LeaksOf(name); !ok || list.Objects == nil || list.ObjectType != name {
			t.Errorf("%s: %+v, %v", name, list, ok)
		}
	}
}

func TestAForcedCollectionConvicts(t *testing.T) {
	m := newMonitor(t, func(c *Config) { c.LeakThreshold = time.Nanosecond })
	kept := map[int]*served{}
	serveOne(m, progress.KindFlight, kept)()
	if l := m.Leaks(); l.PotentialLeaks != 0 {
		t.Errorf("%d leaks before a collection", l.PotentialLeaks)
	}
	garbage := make([][]byte, 100)
	for i := range garbage {
		garbage[i] = make([]byte, 64<<10)
	}
	runtime.KeepAlive(garbage)
	garbage = nil
	if c := m.GC(); c.FreedObjects < 100 || c.FreedMB < 6 || c.DurationMS <= 0 {
		t.Errorf("collection %+v, want at least 100 objects of 64 KiB", c)
	}
	if l := m.Leaks(); l.PotentialLeaks != 1 {
		t.Errorf("%d leaks after a collection", l.PotentialLeaks)
	}
	runtime.KeepAlive(kept)
}

func TestFollowingIsBounded(t *testing.T) {
	m := newMonitor(t, nil)
	kept := map[int]*served{}
	follow := func(k progress.Kind, n int) {
		for range n {
			serveOne(m, k, kept)()
		}
	}
	follow(progress.KindExchange, burst+10)
	follow(progress.KindStream, 5)
	if l := m.Leaks(); l.ObjectsTracked != burst+5 || l.ObjectsSkipped != 10 {
		t.Errorf("%d followed, %d skipped", l.ObjectsTracked, l.ObjectsSkipped)
	}
	m.objects.refill()
	follow(progress.KindExchange, refill+1)
	if l := m.Leaks(); l.ObjectsTracked != burst+5+refill || l.ObjectsSkipped != 11 {
		t.Errorf("after a second: %d followed, %d skipped", l.ObjectsTracked, l.ObjectsSkipped)
	}
	for range 2 * maxFollowed / refill {
		m.objects.refill()
		follow(progress.KindExchange, refill)
	}
	if l := m.Leaks(); l.ObjectsCurrentlyAlive != maxFollowed {
		t.Errorf("%d are followed at a time", l.ObjectsCurrentlyAlive)
	}
	clear(kept)
	m.GC()
	if l := m.Leaks(); l.ObjectsCurrentlyAlive != 0 || l.ObjectsFreed != l.ObjectsTracked {
		t.Errorf("after all are gone: %d alive, %d of %d freed", l.ObjectsCurrentlyAlive, l.ObjectsFreed, l.ObjectsTracked)
	}
}

func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(t, nil)
		defer run(t, m)()
		m.Seen("", 1, 1)
		m.Seen("a", 100, 10)
		time.Sleep(10 * time.Minute)
		m.Seen("b", 50, 5)
		m.Seen("a", 11, 2)
		m.Seen(strings.Repeat("long", 100), 1, 1)
		list := m.Sessions().Sessions
		if len(list) != 3 || len(list[0].ID) != maxSessionID {
			t.Fatalf("sessions %+v", list)
		}
		a := list[1]
		if a.ID != "a" || a.Exchanges != 2 || a.Bytes != 111 || a.Tokens != 12 || a.LastSeen.Sub(a.FirstSeen) != 10*time.Minute {
			t.Errorf("session %+v", a)
		}
		time.Sleep(20 * time.Minute)
		m.Seen("b", 1, 1)
		time.Sleep(11 * time.Minute)
		if list := m.Sessions().Sessions; len(list) != 1 || list[0].ID != "b" || list[0].Exchanges != 2 {
			t.Errorf("sessions 31 minutes later: %+v", list)
		}
		time.Sleep(30 * time.Minute)
		if got := gathered(t, m)["vega_sessions"]; got != 0 {
			t.Errorf("%v sessions after all have ended", got)
		}
		time.Sleep(10 * time.Minute)
		if l := m.Leaks(); l.PotentialLeaks != 0 || l.ByType["session"].Count != 0 {
			t.Errorf("ended sessions are held: %+v", l.ByType)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	m := newMonitor(t, nil)
	for i := range maxSessions + 3 {
		m.Seen(strconv.Itoa(i), 1, 1)
	}
	list := m.Sessions().Sessions
	if len(list) != maxSessions {
		t.Fatalf("%d sessions", len(list))
	}
	if oldest := list[len(list)-1].ID; oldest != "3" {
		t.Errorf("the oldest that is left is %q", oldest)
	}
}

// TestFieldNames holds the names that others read.
func TestFieldNames(t *testing.T) {
	m := newMonitor(t, nil)
	list, _ := m.LeaksOf("exchange")
	list.Objects = append(list.Objects, LeakedObject{})
	m.Seen("a", 1, 1)
	tests := []struct {
		value any
		path  string
		want  string
	}{
		{m.Status(), "", "current_pending_tasks gc_pause_p99_ms goroutines loop_stalls max_callback_time_ms max_pending_tasks monitoring_duration mutex_wait_seconds recent_slow_callbacks running sched_latency_p99_ms slow_callbacks_count total_callbacks"},
		{m.Diagnose(), "", "health_status metrics reasons tasks"},
		{m.Diagnose(), "tasks", "by_name completed running total waiting"},
		{m.Leaks(), "", "by_type file_descriptors gc_collections goroutine_leaks goroutines growth_per_hour heap_live_mb heap_mb last_check_time memory_tracked_mb objects_currently_alive objects_freed objects_skipped objects_tracked potential_leaks process_memory stack_mb"},
		{m.Leaks().ByType["stream"], "", "avg_age_seconds count leaks total_size_mb"},
		{m.Leaks(), "process_memory", "rss_mb vms_mb"},
		{list, "", "object_type objects"},
		{list.Objects[0], "", "age_seconds created_at_place id let_go_seconds size_bytes"},
		{m.GC(), "", "duration_ms freed_mb freed_objects"},
		{m.DiagnoseMemory(), "", "gc leaks_by_type metrics recommendations"},
		{m.Sessions(), "", "sessions"},
		{m.Sessions().Sessions[0], "", "bytes exchanges first_seen id last_seen tokens"},
	}
	for _, tt := range tests {
		text, err := json.Marshal(tt.value)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "null") {
			t.Errorf("null in %s", text)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		if tt.path != "" {
			fields = fields[tt.path].(map[string]any)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(fields)), " "); got != tt.want {
			t.Errorf("%T %s has %s, want %s", tt.value, tt.path, got, tt.want)
		}
	}
}
