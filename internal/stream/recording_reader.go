package stream

import (
	"context"
	"io"
	"slices"
	"sync"
)

// Reader reads a Recording. It is a Source, for one goroutine. Close gives it
// back: until then the writer may wait for it.
type Reader struct {
	r    *Recording
	ctx  context.Context
	wake chan struct{} // holds one token

	// Guarded by the recording's mutex.
	chunk  int // counted from the first ever
	at     int // within it
	pos    int64
	asleep bool
	cut    error // nothing more is to be read; nil is none

	turns sync.Mutex  // held in a turn; taken before the recording's; guards the fields below
	turn  func() bool // while the owner awaits
	taken bool        // there was a turn
}

// Reader returns a new reader from the first byte on. Once the context has
// ended, its waits end with the context's cause. There is none, and ok is false,
// if the limit was passed: the beginning is gone.
func (r *Recording) Reader(ctx context.Context) (d *Reader, ok bool) {
	d = &Reader{r: r, ctx: ctx, wake: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size > r.limit {
		return nil, false
	}
	r.readers = append(r.readers, d)
	return d, true
}

// Close ends the reading. It may be called twice.
func (d *Reader) Close() {
	r := d.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.readers, d); i >= 0 {
		r.readers = slices.Delete(r.readers, i, i+1)
		r.moved()
	}
}

// Cut ends the reading for the owner from outside, with the cause, as the end of its
// context would. It may be called by any goroutine.
func (d *Reader) Cut(cause error) {
	d.r.mu.Lock()
	d.cut = cause
	d.r.mu.Unlock()
	d.wakeUp()
}

func (d *Reader) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default: // it is awake, or will be
	}
}

// next takes at most limit bytes of what has come, without waiting. Without any,
// done tells that no more will come, and err why.
func (d *Reader) next(limit int) (p []byte, done bool, err error) {
	r := d.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.cut != nil {
		return nil, false, d.cut
	}
	if d.pos == r.size {
		return nil, r.sealed, r.err
	}
	i := d.chunk - r.dropped
	if d.at == len(r.chunks[i]) { // and there is another, since bytes are missing
		i++
		d.chunk, d.at = d.chunk+1, 0
	}
	p = r.chunks[i][d.at:]
	p = p[:min(len(p), limit):min(len(p), limit)]
	d.at += len(p)
	d.pos += int64(len(p))
	r.moved()
	return p, false, nil
}

// ready tells whether next has something, be it the end; if not, and the reader
// is going to sleep, it is put on the list of those to be woken.
func (d *Reader) ready(sleep bool) bool {
	r := d.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.pos < r.size || r.sealed || d.cut != nil {
		return true
	}
	if sleep && !d.asleep {
		d.asleep = true
		r.waiting = append(r.waiting, d)
	}
	return false
}

// Ready tells that Read has something, be it the end, without waiting.
func (d *Reader) Ready() bool { return d.ready(false) }

// Wait blocks until Read will not, or until the context ends, whose cause it
// then returns.
func (d *Reader) Wait() error {
	for !d.ready(true) {
		select {
		case <-d.wake:
		case <-d.ctx.Done():
			return context.Cause(d.ctx)
		}
	}
	return nil
}

// Await implements [Awaiter]. The turns are taken by the goroutine that appends.
func (d *Reader) Await(turn func() bool) (turned bool, err error) {
	d.turns.Lock()
	d.turn, d.taken = turn, false
	d.turns.Unlock()
	if !d.ready(true) {
		select {
		case <-d.wake:
		case <-d.ctx.Done():
			err = context.Cause(d.ctx)
		}
	}
	d.turns.Lock() // a turn in progress ends first
	defer d.turns.Unlock()
	d.turn = nil
	return d.taken, err
}

// takeTurns has the reader's turn called for as long as there is something to
// read, and tells whether the owner may sleep on.
func (d *Reader) takeTurns() bool {
	d.turns.Lock()
	defer d.turns.Unlock()
	for d.turn != nil {
		if !d.ready(true) { // perhaps its owner was awake meanwhile, and has read it all
			return true
		}
		d.taken = true
		if !d.turn() {
			break
		}
	}
	d.turn = nil
	return false
}

// Read copies what has come, and waits only if there is nothing. Its error is
// io.EOF after a clean end, the one given to Seal, or the context's cause.
func (d *Reader) Read(p []byte) (int, error) {
	for {
		got, done, err := d.next(len(p))
		switch {
		case len(got) > 0 || len(p) == 0:
			return copy(p, got), nil
		case err != nil:
			return 0, err
		case done:
			return 0, io.EOF
		}
		if err := d.Wait(); err != nil {
			return 0, err
		}
	}
}

// Copy moves the answer to dst until it ends or one side fails, writing the
// shared bytes as they are, and flushing before each wait. It returns the bytes
// written, with errors as Relay.Copy has them.
func (d *Reader) Copy(dst Sink) (n int64, err error) {
	held := false
	for {
		p, done, err := d.next(lastChunk)
		switch {
		case len(p) > 0:
			m, err := dst.Write(p)
			n += int64(m)
			if err != nil {
				return n, &WriteError{err}
			}
			held = true
			continue
		case err != nil:
			return n, &ReadError{err}
		case done:
			return n, nil
		}
		if held {
			held = false
			if err := dst.FlushError(); err != nil {
				return n, &WriteError{err}
			}
			continue // something may have come meanwhile
		}
		if err := d.Wait(); err != nil {
			return n, &ReadError{err}
		}
	}
}

// Taken returns how many bytes were read.
func (d *Reader) Taken() int64 {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	return d.pos
}

// Broken tells whether the answer was cut within an event, so that nothing can
// be added to it any more.
func (d *Reader) Broken() bool {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	return d.r.broken
}
