package proxy

import (
	"time"

	"github.com/google/uuid"
)

// Timing is where the time of an exchange went. What counts from the start of the
// exchange and did not happen is 0.
type Timing struct {
	// Conversation is the id of its record in the journal.
	Conversation uuid.UUID
	// Received is when the whole request was there, Head when the answer's head
	// was, FirstToken when its first token was, End when all was over: each from
	// the start.
	Received, Head, FirstToken, End time.Duration
	// Queued and Connect are how long the try that was answered waited for a place
	// and for a connection.
	Queued, Connect time.Duration
	Attempts        int
}

// tellTiming tells of an exchange that stands in the journal.
func (x *exchange) tellTiming(now time.Time) {
	if x.s.opts.Timed == nil || !x.keeping.on {
		return
	}
	r := &x.report
	since := func(t time.Time) time.Duration {
		if t.IsZero() {
			return 0
		}
		return t.Sub(r.start)
	}
	t := Timing{
		Conversation: x.keeping.id,
		Attempts:     x.attempts(),
		Received:     since(r.received),
		Head:         since(r.head),
		FirstToken:   since(x.tally.first),
		End:          since(now),
	}
	if x.answer != nil {
		t.Queued, t.Connect = x.answer.Queued, x.answer.ConnectTime
	}
	x.s.opts.Timed(t)
}
