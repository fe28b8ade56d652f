package monitor

import (
	"strings"
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	const s = time.Second
	stallAt := func(at, late time.Duration, huge bool) func(*health) {
		return func(h *health) { h.stall(at, late, huge) }
	}
	tests := []struct {
		name   string
		events []func(*health)
		want   map[time.Duration]Health
		reason string // at the first of the times
	}{
		{"nothing", nil, map[time.Duration]Health{0: Healthy, 3600 * s: Healthy}, ""},
		{"a stall", []func(*health){stallAt(10*s, 2*s, false)},
			map[time.Duration]Health{10 * s: Warning, 69 * s: Warning, 70 * s: Healthy}, "1 stalls of the scheduler within a minute, the longest 2s"},
		{"two stalls", []func(*health){stallAt(10*s, 2*s, false), stallAt(20*s, 3*s, false)},
			map[time.Duration]Health{20 * s: Warning, 79 * s: Warning, 80 * s: Healthy}, "2 stalls"},
		{"three stalls", []func(*health){stallAt(10*s, 2*s, false), stallAt(20*s, 3*s, false), stallAt(60*s, 2*s, false)},
			map[time.Duration]Health{60 * s: Critical, 119 * s: Critical, 120 * s: Healthy}, "3 stalls"},
		{"three stalls in more than a minute", []func(*health){stallAt(10*s, 2*s, false), stallAt(20*s, 3*s, false), stallAt(70*s, 2*s, false)},
			map[time.Duration]Health{70 * s: Warning}, "2 stalls"},
		{"a huge stall", []func(*health){stallAt(10*s, 11*s, true)},
			map[time.Duration]Health{10 * s: Critical, 69 * s: Critical, 70 * s: Healthy}, "the longest 11s"},
		{"a slow callback", []func(*health){func(h *health) { h.slow(5*s, "parse") }},
			map[time.Duration]Health{5 * s: Warning, 64 * s: Warning, 65 * s: Healthy}, `"parse"`},
		{"many exchanges", []func(*health){func(h *health) { h.high(5*s, 101, 100) }, func(h *health) { h.high(6*s, 140, 100) }},
			map[time.Duration]Health{6 * s: Warning, 65 * s: Warning, 66 * s: Healthy}, "140 exchanges in flight within the last minute, more than monitor.high_pending_tasks (100)"},
		{"critical, then only slow", []func(*health){stallAt(10*s, 11*s, true), func(h *health) { h.slow(40*s, "parse") }},
			map[time.Duration]Health{69 * s: Critical, 70 * s: Warning, 99 * s: Warning, 100 * s: Healthy}, ""},
	}
	for _, tt := range tests {
		for at, want := range tt.want {
			var h health
			for _, event := range tt.events {
				event(&h)
			}
			got, reasons := h.now(at)
			if got != want {
				t.Errorf("%s: after %v: %s, want %s", tt.name, at, got, want)
			}
			if (got == Healthy) != (len(reasons) == 0) || reasons == nil {
				t.Errorf("%s: after %v: %s with reasons %q", tt.name, at, got, reasons)
			}
			if got != Healthy && at < 61*s && !strings.Contains(strings.Join(reasons, "; "), tt.reason) {
				t.Errorf("%s: after %v: reasons %q do not say %q", tt.name, at, reasons, tt.reason)
			}
		}
	}
}

func TestHealthTellsChanges(t *testing.T) {
	var h health
	var changes []Health
	for at := time.Duration(0); at < 5*time.Minute; at += time.Second {
		if at == time.Minute || at == 90*time.Second {
			h.stall(at, 2*time.Second, false)
		}
		if status, _, changed := h.judge(at); changed {
			changes = append(changes, status)
		}
	}
	if len(changes) != 2 || changes[0] != Warning || changes[1] != Healthy {
		t.Errorf("changes %v, want a warning and back: two stalls within a minute are one warning", changes)
	}
}
