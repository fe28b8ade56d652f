package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/monitor"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// health returns a report of each part that there is.
func (a *app) health() []func() admin.Component {
	reports := []func() admin.Component{a.upstreamHealth, a.loopHealth, a.memoryHealth, a.cacheHealth, a.configHealth}
	if a.journal != nil {
		reports = append(reports, a.journalHealth)
	}
	if _, on := a.cache.Shared(); on {
		reports = append(reports, a.sharedCacheHealth)
	}
	return reports
}

// upstreamHealth is a warning while an upstream is refused, and critical while
// all are.
func (a *app) upstreamHealth() admin.Component {
	c := admin.Component{Name: "upstreams", Status: admin.Healthy, Reasons: []string{}, Detail: "/admin/performance/circuit-breakers/all"}
	all := a.upstreams.Load().All()
	open := 0
	for _, u := range all {
		s := u.Breaker().Status()
		if s.State == resilience.Closed {
			continue
		}
		open++
		c.Reasons = append(c.Reasons, fmt.Sprintf("the circuit breaker of %s is %s: %s", u.Name(), s.State, s.LastError))
	}
	switch {
	case open == len(all):
		c.Status = admin.Critical
	case open > 0:
		c.Status = admin.Warning
	}
	return c
}

func (a *app) loopHealth() admin.Component {
	return watchedHealth("event_loop", "/admin/performance/event-loop/diagnostics", a.monitor.Health)
}

func (a *app) memoryHealth() admin.Component {
	return watchedHealth("memory", "/admin/performance/memory/diagnostics", a.monitor.MemoryHealth)
}

// watchedHealth is what the monitor says; both have the same words for it.
func watchedHealth(name, detail string, ask func() (monitor.Health, []string)) admin.Component {
	status, reasons := ask()
	return admin.Component{Name: name, Status: admin.Status(status), Reasons: reasons, Detail: detail}
}

// journalHealth is a warning while the sink takes nothing or has refused some,
// and critical while conversations are lost.
func (a *app) journalHealth() admin.Component {
	c := admin.Component{Name: "conversation_log", Status: admin.Healthy, Reasons: []string{},
		Detail: "/admin/performance/batch/conversation-logger/stats"}
	s := a.journal.Stats()
	if s.SinkError != "" {
		c.Status = admin.Warning
		c.Reasons = append(c.Reasons, fmt.Sprintf("%s takes nothing: %s", s.Sink, s.SinkError))
	}
	if s.SetAside > 0 {
		c.Status = admin.Warning
		c.Reasons = append(c.Reasons, fmt.Sprintf("%d conversations are set aside, since the sink refused them", s.SetAside))
	}
	if a.losses.fresh(s.Dropped, time.Now()) {
		c.Status = admin.Critical
		c.Reasons = append(c.Reasons, fmt.Sprintf("conversations are being given up, %d in all; dropped_by_reason says why", s.Dropped))
	}
	return c
}

// lossMemory is how long a loss makes the conversation log critical.
const lossMemory = 10 * time.Minute

// losses tells whether a count that only grows has grown of late.
type losses struct {
	mu    sync.Mutex
	count uint64
	grew  time.Time
}

func (l *losses) fresh(count uint64, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if count > l.count {
		l.count, l.grew = count, now
	}
	return !l.grew.IsZero() && now.Sub(l.grew) < lossMemory
}

// cacheHealth is always good: what the cache lacks is asked for.
func (a *app) cacheHealth() admin.Component {
	return admin.Component{Name: "cache", Status: admin.Healthy, Reasons: []string{}, Detail: "/admin/performance/cache/stats"}
}
