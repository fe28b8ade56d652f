package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestMonitorHealthyUnderLoad: a program that does as much as it can, and is
// well, raises nothing. That it gets a processor is left to the campaign.
func TestMonitorHealthyUnderLoad(t *testing.T) {
	t.Parallel()
	healthyUnderLoad(t, 3*time.Second, false)
}

// healthyUnderLoad has clients ask without end, and leaks looked for all the
// while. alone tells that no other program takes the processors.
func healthyUnderLoad(t *testing.T, d time.Duration, alone bool) {
	_, backend := simulate(t, simllm.Config{Tokens: 5})
	p := serve(t, upstreamAt(backend)+"monitor: {leak_check_interval: 1s, leak_threshold: 1s}\n")
	c := newClient(t)
	setLevel(t, p, c, "warn")
	l := &crowd{received: map[string]bool{}}
	stop := l.start(t, p.proxy)
	var loop struct {
		HealthStatus string `json:"health_status"`
		Reasons      []string
		Metrics      struct {
			Slow   int `json:"slow_callbacks_count"`
			Stalls int `json:"loop_stalls"`
			Recent []struct {
				Name       string
				DurationMS float64 `json:"duration_ms"`
				Stack      []string
			} `json:"recent_slow_callbacks"`
			SchedLatencyP99 float64 `json:"sched_latency_p99_ms"`
		}
	}
	var memory struct {
		Tracked     int64 `json:"objects_tracked"`
		Leaks       int64 `json:"potential_leaks"`
		Descriptors struct {
			Open     int
			Suspects []any
		} `json:"file_descriptors"`
	}
	for end := time.Now().Add(d); time.Now().Before(end) && !t.Failed(); {
		l.more(t, 100)
		p.asked(c, http.MethodGet, "/admin/performance/event-loop/diagnostics", &loop)
		p.asked(c, http.MethodGet, "/admin/performance/memory/leaks", &memory)
		if alone && (loop.HealthStatus != "healthy" || loop.Metrics.Slow > 0 || loop.Metrics.Stalls > 0) {
			t.Errorf("the event loop: %+v", loop)
		}
		if memory.Leaks > 0 || len(memory.Descriptors.Suspects) > 0 {
			t.Errorf("memory: %+v", memory)
		}
	}
	stop()
	var parts struct {
		Components []struct {
			Name, Status string
			Reasons      []string
		}
	}
	p.asked(c, http.MethodGet, "/admin/performance/health/comprehensive", &parts)
	for _, part := range parts.Components {
		if part.Status != "healthy" && (alone || part.Name != "event_loop") {
			t.Errorf("%s is %s: %q", part.Name, part.Status, part.Reasons)
		}
	}
	if memory.Tracked < 100 {
		t.Errorf("%d objects were followed", memory.Tracked)
	}
	if said := p.log.String(); alone && strings.Contains(said, `"level":"WARN"`) {
		t.Errorf("it has warned")
	}
	t.Logf("%d answers in %v; %d objects followed, the scheduler's latency at the 99th percentile %.1f ms, %d descriptors",
		len(l.received), d, memory.Tracked, loop.Metrics.SchedLatencyP99, memory.Descriptors.Open)
}
