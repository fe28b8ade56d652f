package stream

import (
	"context"
	"slices"
	"sync"
)

// Recording is the one copy of an answer's bytes: one goroutine appends to it,
// any number read it, each from the first byte on and at its own pace. What was
// appended never changes, so that readers share it without copying.
//
// Up to the limit everything is kept. Beyond it the recording can no longer be
// stored and takes no more readers; it then keeps only what its slowest reader
// has not had, and Room makes the writer wait for that one.
type Recording struct {
	limit int64

	mu      sync.Mutex // guards all below
	chunks  [][]byte   // what is kept; only the last has room left
	first   [1][]byte  // chunks as long as there is one
	dropped int        // chunks given up before them
	size    int64      // all bytes appended
	sealed  bool
	err     error
	broken  bool
	readers []*Reader
	waiting []*Reader     // of them, those that sleep
	room    chan struct{} // not nil while the writer waits for a reader

	woken []*Reader // the writer's own: those it is waking
}

const (
	firstChunk = 2 << 10 // holds any usual short answer
	lastChunk  = 64 << 10
)

// NewRecording returns an empty recording. The limit is in bytes; so is the
// length, that of the whole answer, or -1 if it is not known. It saves room, and
// may be wrong.
func NewRecording(limit, length int64) *Recording {
	r := &Recording{limit: limit}
	r.chunks = r.first[:0]
	if 0 < length && length <= limit {
		r.chunks = append(r.chunks, make([]byte, 0, length))
	}
	return r
}

// Append adds a copy of p and tells whether the answer is within the limit. It
// never waits, but takes turns for readers that await one. Nothing may be appended
// after Seal.
func (r *Recording) Append(p []byte) (within bool) {
	r.mu.Lock()
	r.size += int64(len(p))
	within = r.size <= r.limit
	if within || len(r.readers) > 0 {
		r.keep(p)
	} else {
		r.forget(len(r.chunks))
	}
	r.wakeAll()
	return within
}

// keep copies p into the chunks.
func (r *Recording) keep(p []byte) {
	if n := len(r.chunks); n > 0 {
		last := r.chunks[n-1]
		fits := min(len(p), cap(last)-len(last))
		r.chunks[n-1] = append(last, p[:fits]...)
		p = p[fits:]
	}
	if len(p) == 0 {
		return
	}
	size := firstChunk
	if n := len(r.chunks); n > 0 {
		size = min(2*cap(r.chunks[n-1]), lastChunk)
	}
	r.chunks = append(r.chunks, append(make([]byte, 0, max(size, len(p))), p...))
}

// forget drops the first n chunks.
func (r *Recording) forget(n int) {
	r.chunks = slices.Delete(r.chunks, 0, n)
	r.dropped += n
}

// wakeAll unlocks, and wakes who sleeps.
func (r *Recording) wakeAll() {
	r.woken, r.waiting = r.waiting, r.woken[:0]
	for _, d := range r.woken {
		d.asleep = false
	}
	r.mu.Unlock()
	for i, d := range r.woken {
		if i >= mostTurns || !d.takeTurns() {
			d.wakeUp()
		}
		r.woken[i] = nil
	}
}

// mostTurns is how many readers' turns the writer takes with each piece, before it
// goes on for its own: each is little more than a write, and half a millisecond is
// what so many hold up other streams. The others are woken, which costs each of them
// some microseconds more, and take theirs side by side.
const mostTurns = 64

// Seal ends the recording: cleanly, or with the error that cut the answer off.
// With broken, its last bytes are the beginning of an event without an end. Only
// the first call counts.
func (r *Recording) Seal(err error, broken bool) {
	r.mu.Lock()
	if !r.sealed {
		r.sealed, r.err, r.broken = true, err, broken
	}
	r.wakeAll()
}

// Room waits until the slowest reader is less than the limit behind, and returns
// the context's cause if that ends first. Before the limit was reached, and
// without readers, it does not wait. It is for the writer.
func (r *Recording) Room(ctx context.Context) error {
	for {
		r.mu.Lock()
		if r.size <= r.limit || r.size-r.slowest() < r.limit {
			r.mu.Unlock()
			return nil
		}
		room := make(chan struct{})
		r.room = room
		r.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// slowest returns how far the slowest reader has come.
func (r *Recording) slowest() int64 {
	pos := r.size
	for _, d := range r.readers {
		pos = min(pos, d.pos)
	}
	return pos
}

// moved gives up what nobody needs any more and lets the writer go on.
func (r *Recording) moved() {
	if r.size <= r.limit {
		return
	}
	need := r.dropped + len(r.chunks)
	for _, d := range r.readers {
		need = min(need, d.chunk)
	}
	r.forget(max(need-r.dropped, 0))
	if r.room != nil && r.size-r.slowest() < r.limit {
		close(r.room)
		r.room = nil
	}
}

// Size returns the number of bytes appended so far.
func (r *Recording) Size() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size
}

// Within tells whether the limit was kept so far, so that Reader still gives one.
func (r *Recording) Within() bool { return r.Size() <= r.limit }

// Bytes returns the whole answer in one piece without spare room, for keeping,
// or nil if it went over the limit. It is for after Seal; nobody may change it.
func (r *Recording) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size > r.limit {
		return nil
	}
	if len(r.chunks) == 1 && len(r.chunks[0]) == cap(r.chunks[0]) {
		return r.chunks[0]
	}
	return slices.Clip(slices.Concat(r.chunks...))
}
