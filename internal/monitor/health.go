package monitor

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Health is how well the process is.
type Health string

// From best to worst.
const (
	Healthy  Health = "healthy"
	Warning  Health = "warning"
	Critical Health = "critical"
)

const (
	// healthMemory is how long an event speaks against the process.
	healthMemory = time.Minute
	// criticalStalls is how many stalls within it are critical.
	criticalStalls = 3
)

// health turns events into a status. A status is left a minute after the last
// event that led to it, so that it cannot flap.
type health struct {
	mu        sync.Mutex
	stalls    []stall // of the last minute
	allStalls int64

	criticalUntil, slowUntil, highUntil time.Duration
	slowNames                           map[string]time.Duration // until when each is a reason
	pending                             int64                    // the most since the last quiet minute
	limit                               int
	last                                Health
}

type stall struct {
	at, late time.Duration
}

func (h *health) forget(now time.Duration) {
	h.stalls = slices.DeleteFunc(h.stalls, func(s stall) bool { return now-s.at >= healthMemory })
}

// stall notes that the probe was late beyond all measure. huge is critical at once.
func (h *health) stall(now, late time.Duration, huge bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.allStalls++
	h.forget(now)
	h.stalls = append(h.stalls, stall{now, late})
	if huge || len(h.stalls) >= criticalStalls {
		h.criticalUntil = now + healthMemory
	}
}

func (h *health) stallsInAll() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.allStalls
}

// slow notes that a callback is, or was, slow.
func (h *health) slow(now time.Duration, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.slowNames == nil || now >= h.slowUntil {
		h.slowNames = map[string]time.Duration{}
	}
	h.slowUntil = now + healthMemory
	h.slowNames[name] = h.slowUntil
}

// high notes that more exchanges are in flight than limit.
func (h *health) high(now time.Duration, pending int64, limit int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now >= h.highUntil {
		h.pending = 0
	}
	h.highUntil = now + healthMemory
	h.pending, h.limit = max(h.pending, pending), limit
}

// now returns the status at a time, and the reasons; they are empty if healthy.
func (h *health) now(now time.Duration) (Health, []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status(now)
}

// judge is now, and tells whether the status is another than at the last call.
func (h *health) judge(now time.Duration) (_ Health, reasons []string, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	status, reasons := h.status(now)
	changed = h.last != status && (h.last != "" || status != Healthy)
	h.last = status
	return status, reasons, changed
}

func (h *health) status(now time.Duration) (Health, []string) {
	h.forget(now)
	status, reasons := Healthy, []string{}
	if n := len(h.stalls); n > 0 {
		status = Warning
		longest := slices.MaxFunc(h.stalls, func(a, b stall) int { return int(a.late - b.late) })
		reasons = append(reasons, stallReason(n, longest.late))
	}
	if now < h.slowUntil {
		status = Warning
		var names []string
		for name, until := range h.slowNames {
			if now < until {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		reasons = append(reasons, fmt.Sprintf("slow within the last minute: %q; recent_slow_callbacks has where", names))
	}
	if now < h.highUntil {
		status = Warning
		reasons = append(reasons, fmt.Sprintf("%d exchanges in flight within the last minute, more than monitor.high_pending_tasks (%d)", h.pending, h.limit))
	}
	if now < h.criticalUntil {
		status = Critical
	}
	return status, reasons
}

func stallReason(n int, longest time.Duration) string {
	return fmt.Sprintf("%d stalls of the scheduler within a minute, the longest %s: the process got no processor", n, longest.Round(time.Millisecond))
}
