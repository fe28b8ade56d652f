package wire

import (
	"context"
	"sync"
	"time"
)

// watchdog cancels an exchange through net/http whose limit has run out. Its
// timer is not moved while the limit moves away: it looks when it fires, and
// goes on for the rest.
type watchdog struct {
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	fires   time.Time // zero when the timer is not set
	stopped bool
	begun   bool // the body has; the first-byte limit is over
	limit   limitError
	due     time.Time // zero while nothing is waited for
	first   time.Time // when the first byte is due, waited for or not
	unread  bool      // the head is there, and nobody asks for the body
}

// start runs limit from now on; 0 runs none. The first-byte limit, which the
// sending of the request starts, does nothing once the body has begun.
func (w *watchdog) start(limit string, after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || w.begun && limit == timeoutFirstByte {
		return
	}
	w.due = time.Time{}
	if after == 0 {
		return
	}
	w.limit = limitError{limit, after}
	due := time.Now().Add(after)
	if limit == timeoutFirstByte {
		w.first = due
		if w.unread {
			return
		}
	}
	w.await(due)
}

// lateGrace is what a reader is given that comes after the limit for a byte that
// may have come before it.
const lateGrace = 20 * time.Millisecond

// headRead suspends the first-byte limit until read is called.
func (w *watchdog) headRead() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unread = true
	w.due = time.Time{}
}

// read tells that the first byte is waited for.
func (w *watchdog) read() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unread = false
	if !w.stopped && !w.first.IsZero() {
		due := w.first
		if least := time.Now().Add(lateGrace); due.Before(least) {
			due = least
		}
		w.await(due)
	}
}

func (w *watchdog) await(due time.Time) {
	w.due = due
	if w.fires.IsZero() || w.due.Before(w.fires) {
		w.set(time.Until(due))
	}
}

func (w *watchdog) set(after time.Duration) {
	w.fires = w.due
	if w.timer == nil {
		w.timer = time.AfterFunc(after, w.look)
	} else {
		w.timer.Reset(after)
	}
}

// pause waits for nothing until the next start. With begun set the body has.
func (w *watchdog) pause(begun bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if begun {
		w.begun = true
	}
	if begun || !w.begun {
		w.due, w.first = time.Time{}, time.Time{}
	}
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fires = time.Time{}
	if w.stopped || w.due.IsZero() {
		return
	}
	if left := time.Until(w.due); left > 0 {
		w.set(left)
		return
	}
	limit := w.limit
	w.cancel(&limit)
}
