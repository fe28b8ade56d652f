package stream

import (
	"context"
	"io"
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
// never waits. Nothing may be appended after Seal.
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
		d.wakeUp()
		r.woken[i] = nil
	}
}

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
	if d.pos < r.size || r.sealed {
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
