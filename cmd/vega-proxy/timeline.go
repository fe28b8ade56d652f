package main

import (
	"sync"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// mostChanges is how many changes of state are remembered, of all breakers
// together.
const mostChanges = 500

// timeline is the last changes of state of the upstreams' breakers. It is safe for
// concurrent use.
type timeline struct {
	mu      sync.Mutex
	changes []change // a ring, the oldest at next once it is full
	next    int
}

// change is one change of state; its JSON is the admin API's.
type change struct {
	Name    string           `json:"name"`
	From    resilience.State `json:"from"`
	To      resilience.State `json:"to"`
	At      time.Time        `json:"at"`
	Cause   string           `json:"cause"`
	OpenFor float64          `json:"open_for_seconds"`
}

func (l *timeline) note(t resilience.Transition) {
	c := change{t.Name, t.From, t.To, time.Now().UTC(), t.Cause, t.OpenFor.Seconds()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.changes) < mostChanges {
		l.changes = append(l.changes, c)
		return
	}
	l.changes[l.next] = c
	l.next = (l.next + 1) % mostChanges
}

// list returns them, the oldest first.
func (l *timeline) list() []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]change, 0, len(l.changes)) // a list, also in JSON
	return append(append(all, l.changes[l.next:]...), l.changes[:l.next]...)
}
