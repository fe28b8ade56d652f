package main

import (
	"sync"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/proxy"
)

// mostTimings is how many exchanges' timings are remembered: 100 KB.
const mostTimings = 1000

// timings is where the time of the last exchanges went. It is safe for concurrent
// use.
type timings struct {
	mu   sync.Mutex
	last [mostTimings]proxy.Timing // a ring
	next int
}

func (t *timings) note(one proxy.Timing) {
	t.mu.Lock()
	t.last[t.next] = one
	t.next = (t.next + 1) % mostTimings
	t.mu.Unlock()
}

// timing is one of them; its JSON is the admin API's.
type timing struct {
	Received   float64  `json:"received_ms"`
	Queued     float64  `json:"queued_ms"`
	Connect    float64  `json:"connect_ms"`
	Head       *float64 `json:"head_ms"`
	FirstToken *float64 `json:"first_token_ms"`
	End        float64  `json:"duration_ms"`
	Attempts   int      `json:"attempts"`
}

// of returns the timing of a conversation's exchange, if it is one of the last.
func (t *timings) of(conversation string) (any, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.last {
		if one := &t.last[i]; one.End > 0 && one.Conversation.String() == conversation {
			return timing{ms(one.Received), ms(one.Queued), ms(one.Connect), maybe(one.Head), maybe(one.FirstToken), ms(one.End), one.Attempts}, true
		}
	}
	return nil, false
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// maybe is null for what did not happen.
func maybe(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	return new(ms(d))
}
