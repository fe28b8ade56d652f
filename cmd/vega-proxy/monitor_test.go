package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// asked asks the admin API and decodes the answer.
func (p *process) asked(c *http.Client, method, path string, into any) {
	p.t.Helper()
	r := do(p.t, c, method, p.admin+path, "", "X-API-Key", p.key())
	if r.status != http.StatusOK {
		p.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		p.t.Fatalf("%s %s: %v: %s", method, path, err, r.body)
	}
}

// TestMonitorRoutes drives the monitor's routes with real exchanges behind them:
// a whole answer, one from the cache, and a stream, all of one session.
func TestMonitorRoutes(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+"monitor: {check_interval: 10s, flight_recorder: {window: 100ms}}\n")
	c := newClient(t)
	for _, body := range []string{chat, chat, strings.Replace(chatLive, "sea", "moon", 1)} {
		do(t, c, http.MethodPost, p.proxy+chatPath, body, "X-Session-Id", "one").want(t, http.StatusOK, "")
	}
	do(t, c, http.MethodPost, p.proxy+chatPath, strings.Replace(chat, "sea", "sky", 1)).want(t, http.StatusOK, "")

	// An exchange is counted just after its answer has ended.
	var sessions struct {
		Sessions []struct {
			ID                       string
			Exchanges, Bytes, Tokens int64
			FirstSeen                time.Time `json:"first_seen"`
			LastSeen                 time.Time `json:"last_seen"`
		}
	}
	until(t, "the session's exchanges are counted", func() bool {
		p.asked(c, http.MethodGet, "/admin/performance/sessions", &sessions)
		return len(sessions.Sessions) == 1 && sessions.Sessions[0].Exchanges == 3
	})
	if s := sessions.Sessions[0]; s.ID != "one" || s.Bytes < int64(len(chat)) || s.Tokens <= 0 || s.FirstSeen.IsZero() || s.LastSeen.Before(s.FirstSeen) {
		t.Errorf("the session is %+v", s)
	}

	status := map[string]any{}
	until(t, "the exchanges' steps are counted", func() bool {
		p.asked(c, http.MethodGet, "/admin/performance/event-loop/status", &status)
		return status["total_callbacks"].(float64) >= 4*4 && status["current_pending_tasks"].(float64) == 0
	})
	wantFields(t, status, "running", "monitoring_duration", "total_callbacks", "slow_callbacks_count", "max_callback_time_ms",
		"current_pending_tasks", "max_pending_tasks", "loop_stalls", "recent_slow_callbacks", "sched_latency_p99_ms", "gc_pause_p99_ms", "goroutines")
	if status["running"] != true || status["max_pending_tasks"].(float64) < 1 {
		t.Errorf("after four exchanges the status is %v", status)
	}

	var diagnostics struct {
		HealthStatus string `json:"health_status"`
		Reasons      []string
		Metrics      map[string]any
		Tasks        struct {
			Total  int
			ByName map[string]int `json:"by_name"`
		}
	}
	p.asked(c, http.MethodGet, "/admin/performance/event-loop/diagnostics", &diagnostics)
	for _, name := range []string{"admin", "conversation log", "log lines", "monitor", "proxy", "reloads"} {
		if diagnostics.Tasks.ByName[name] == 0 {
			t.Errorf("no goroutine is called %q: %v", name, diagnostics.Tasks.ByName)
		}
	}
	for name := range diagnostics.Tasks.ByName { // what libraries start is called by its own func
		if strings.HasPrefix(name, "main.") || strings.HasPrefix(name, "sync.") {
			t.Errorf("a goroutine of ours has no label: %s", name)
		}
	}

	// What has ended is gone, though the connections and the registries live on.
	var collected map[string]any
	memory := map[string]any{}
	until(t, "nothing that has ended is held", func() bool {
		p.asked(c, http.MethodPost, "/admin/performance/memory/gc", &collected)
		p.asked(c, http.MethodGet, "/admin/performance/memory/leaks", &memory)
		alive := memory["objects_currently_alive"].(float64)
		return alive == 1 // the session
	})
	wantFields(t, collected, "freed_objects", "freed_mb", "duration_ms")
	wantFields(t, memory, "objects_tracked", "objects_freed", "objects_currently_alive", "potential_leaks", "memory_tracked_mb",
		"gc_collections", "last_check_time", "by_type", "process_memory")
	byType := memory["by_type"].(map[string]any)
	kinds := slices.Sorted(maps.Keys(byType))
	if want := []string{"exchange", "flight", "recording", "session", "stream", "upstream_body"}; !slices.Equal(kinds, want) {
		t.Errorf("types are %q, want %q", kinds, want)
	}
	// Four exchanges; three asked the upstream, each for others too; one was a stream; a session.
	if got := memory["objects_tracked"].(float64); got != 4+3+3+3+1+1 {
		t.Errorf("%v objects were followed, want 15", got)
	}
	for _, kind := range kinds {
		var list struct {
			ObjectType string `json:"object_type"`
			Objects    []any
		}
		p.asked(c, http.MethodGet, "/admin/performance/memory/leaks/"+kind, &list)
		if list.ObjectType != kind || list.Objects == nil || len(list.Objects) != 0 {
			t.Errorf("leaks of %s: %+v", kind, list)
		}
	}
	memory = map[string]any{}
	p.asked(c, http.MethodGet, "/admin/performance/memory/diagnostics", &memory)
	wantFields(t, memory, "metrics", "leaks_by_type", "gc", "recommendations")

	var record struct{ Name string }
	p.asked(c, http.MethodPost, "/admin/debug/flight-records", &record)
	var records struct {
		FlightRecords []struct{ Name string } `json:"flight_records"`
	}
	p.asked(c, http.MethodGet, "/admin/debug/flight-records", &records)
	if len(records.FlightRecords) != 1 || records.FlightRecords[0] != record {
		t.Errorf("records are %+v, want the one of %+v", records, record)
	}
	trace := do(t, c, http.MethodGet, p.admin+"/admin/debug/flight-records/"+record.Name, "", "X-API-Key", p.key())
	if trace.status != http.StatusOK || !strings.HasPrefix(trace.body, "go 1.") {
		t.Errorf("the record: %d, %d bytes", trace.status, len(trace.body))
	}
}

func wantFields(t *testing.T, object map[string]any, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, ok := object[name]; !ok {
			t.Errorf("%s is missing among %q", name, slices.Sorted(maps.Keys(object)))
		}
	}
}

// TestMonitorHealth: each part says how it is, to the admin API and as a metric.
func TestMonitorHealth(t *testing.T) {
	t.Parallel()
	backend, _ := holding(t)
	p := serve(t, upstreamAt(backend))
	c := newClient(t)
	var health struct {
		Components []struct{ Name, Status, Detail string }
	}
	p.asked(c, http.MethodGet, "/admin/performance/health/comprehensive", &health)
	var names []string
	metrics := do(t, c, http.MethodGet, p.admin+"/metrics", "").body
	for _, part := range health.Components {
		names = append(names, part.Name)
		var detail map[string]any
		p.asked(c, http.MethodGet, part.Detail, &detail)
		if !strings.Contains(metrics, `vega_health_status{component="`+part.Name+`"} `) {
			t.Errorf("no metric of %s", part.Name)
		}
	}
	slices.Sort(names)
	if want := []string{"cache", "configuration", "conversation_log", "event_loop", "memory", "upstreams"}; !slices.Equal(names, want) {
		t.Errorf("components are %q, want %q", names, want)
	}
}

// TestMonitorStepsPage holds that docs/monitoring.md names the steps that there are.
func TestMonitorStepsPage(t *testing.T) {
	_, list, _ := strings.Cut(readDoc(t, "docs/monitoring.md"), "the names in `monitor.thresholds`: ")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, name := range proxy.StepNames() {
		if !strings.Contains(list, "`"+name+"`") {
			t.Errorf("docs/monitoring.md does not name the step %s", name)
		}
	}
	if got, want := strings.Count(list, "`")/2, len(proxy.StepNames()); got != want {
		t.Errorf("docs/monitoring.md names %d steps, there are %d", got, want)
	}
}

func TestMonitorLossesAreForgotten(t *testing.T) {
	l := losses{count: 7}
	now := time.Unix(1000, 0)
	steps := []struct {
		count uint64
		after time.Duration
		want  bool
	}{
		{7, 0, false}, // of an earlier process
		{8, time.Second, true},
		{8, lossMemory - time.Second, true},
		{8, time.Second, false},
		{9, time.Hour, true},
	}
	for i, s := range steps {
		now = now.Add(s.after)
		if got := l.fresh(s.count, now); got != s.want {
			t.Errorf("%d: at %d: %v, want %v", i, s.count, got, s.want)
		}
	}
}
