package stream

import (
	"math"
	"sync/atomic"
	"time"
)

// comment is an SSE comment: parsers ignore it, and idle timers are reset by it.
var comment = []byte(": waiting\n\n")

// heartbeat is when comments are to stop.
type heartbeat struct {
	timer    *time.Timer // nil is off
	anyEvent bool        // the first event of any kind ends it
	over     atomic.Bool
}

// event is told that an event passes.
func (h *heartbeat) event() {
	if h.anyEvent {
		h.over.Store(true)
	}
}

func (h *heartbeat) stop() {
	h.over.Store(true)
	if h.timer != nil {
		h.timer.Stop()
	}
}

// Heartbeat sends comments at the configured interval, between events, until
// FirstToken or Close is called; with anyEvent it ends with the first event,
// where nobody can tell which one has a token. It is for server-sent events,
// before the first Put and after the head has gone out.
func (b *Buffer) Heartbeat(anyEvent bool) {
	if b.cfg.HeartbeatInterval <= 0 {
		return
	}
	b.beat.anyEvent = anyEvent
	b.beat.timer = time.AfterFunc(math.MaxInt64, b.pulse) // which needs to know the timer
	b.beat.timer.Reset(b.cfg.HeartbeatInterval)
}

// FirstToken ends the heartbeat: what was waited for is here.
func (b *Buffer) FirstToken() { b.beat.over.Store(true) }

// pulse sends one comment if nothing else is being written. One that comes after
// the end of the heartbeat touches nothing.
func (b *Buffer) pulse() {
	if b.out.TryLock() {
		defer b.out.Unlock()
		if b.beat.over.Load() || b.failed {
			return
		}
		stuck := b.gate != nil && b.gate.Stuck()
		if !b.inside && !stuck && !b.comment() {
			return
		}
	}
	if !b.beat.over.Load() {
		b.beat.timer.Reset(b.cfg.HeartbeatInterval)
	}
}

// comment tells whether the client took it. If not, the relay will see it too.
func (b *Buffer) comment() bool {
	_, err := b.dst.Write(comment)
	if err == nil {
		err = b.dst.FlushError()
	}
	b.failed = err != nil
	return err == nil
}
