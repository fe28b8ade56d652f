package stream

import (
	"sync"
	"sync/atomic"
	"time"
)

// Gate is the client's connection as a buffer sees it. While held, its writes
// return without waiting for the client: what the kernel does not take at once is
// kept, and Stuck tells so.
type Gate interface {
	// Hold makes writes return at once from here on, or no more.
	Hold(on bool)
	// Stuck tells that a write was kept, wholly or in part.
	Stuck() bool
	// Push writes what was kept, and waits for the client.
	Push() error
}

// Buffer stands between a Relay and one slow client. While the client keeps up
// it only passes writes on, in the calling goroutine. At the first write that
// would block it starts a goroutine which writes from then on, and queues events
// up to its bounds; when the queue has run empty the goroutine ends.
//
// Put, Flush, FirstToken and Close are for one goroutine, the relay's. Abandon and the
// funcs that report may be called from any.
type Buffer struct {
	cfg    Config
	dst    Sink
	gate   Gate // nil where a blocking write cannot be told beforehand: all goes through the queue
	budget *Budget
	events *Events

	// Whoever writes to the client holds out; it is taken before mu.
	out    sync.Mutex
	inside bool // the client has an event's beginning, and not yet its end
	failed bool // a write failed: what the client has ends anywhere

	mu      sync.Mutex
	changed sync.Cond // what is held, err or writing has changed
	queue   queue
	batch   batch // being written
	writing bool  // the goroutine runs
	err     error // why nothing more is taken; final
	lost    bool  // something that was put will never be written
	closed  bool
	pacer   pacer
	size    int // of the buffer, in events
	state   State
	full    bool // an event waits for room

	beat heartbeat

	needed func() bool // others wait for the stream; nil is nobody ever

	// Owned by the relay's goroutine.
	first   bool // an event has passed
	lastPut time.Time
	one     [1]int

	started time.Time
	counts  counts
}

// batch is what the goroutine has taken from the queue to write it. It still
// counts as held.
type batch struct {
	n, whole int
	bytes    int64
	inside   bool // it ends inside an event
}

// counts are a stream's numbers. Those that the direct path changes are atomics,
// since it writes without the lock.
type counts struct {
	produced, consumed           atomic.Int64 // events
	bytesProduced, bytesConsumed atomic.Int64
	dropped, overflows           int64
	most                         int // events held at a time
	throttled, blocked           time.Duration
}

// NewBuffer returns the buffer of one stream. It starts nothing.
func NewBuffer(cfg Config, dst Sink, gate Gate, budget *Budget, events *Events) *Buffer {
	b := &Buffer{cfg: cfg, dst: dst, gate: gate, budget: budget, events: events, size: cfg.BufferSize, started: time.Now()}
	if cfg.Adaptive.Enabled {
		b.pacer = newPacer(cfg.Adaptive)
		b.size = b.pacer.size
	} else {
		b.queue.usual = cfg.BufferSize
	}
	b.changed.L = &b.mu
	events.Began()
	if gate != nil {
		gate.Hold(true)
	}
	return b
}

// Needed tells the buffer how to learn that others wait for the same stream, and
// so must not wait for this client: while they do the buffer's own bounds do not
// hold, only the budget's does. It is called before the first Put; needed must
// not call the buffer.
func (b *Buffer) Needed(needed func() bool) { b.needed = needed }

// Put takes bytes that end an event at each of the offsets; what follows the last
// one is a piece of no event. It returns when there is room for more: so a full
// buffer stops the reading. The error is the client's, or Abandon's cause. keep
// marks events that must not be dropped; without flush more follows at once.
func (b *Buffer) Put(p []byte, ends []int, keep, flush bool) error {
	if b.cfg.ChunkDelayMS > 0 {
		return b.putPaced(p, ends, keep, flush)
	}
	return b.put(p, ends, keep, flush)
}

// Direct tells that the next Put only passes its bytes on, and returns at once.
func (b *Buffer) Direct() bool {
	if b.gate == nil || b.cfg.ChunkDelayMS > 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.writing
}

// Flush lets the head go out before there is anything to put.
func (b *Buffer) Flush() error {
	b.out.Lock()
	defer b.out.Unlock()
	err := b.dst.FlushError()
	b.failed = b.failed || err != nil
	return err
}

// putPaced puts events one by one with the configured delay between two.
func (b *Buffer) putPaced(p []byte, ends []int, keep, flush bool) error {
	from := 0
	for _, end := range ends {
		b.pause()
		b.one[0] = end - from
		if err := b.put(p[from:end], b.one[:], keep, flush || end < len(p)); err != nil {
			return err
		}
		from = end
	}
	if from == len(p) {
		return nil
	}
	return b.put(p[from:], nil, keep, flush)
}

func (b *Buffer) put(p []byte, ends []int, keep, flush bool) error {
	b.mu.Lock()
	if !b.writing && b.gate != nil && b.err == nil {
		b.mu.Unlock()
		return b.direct(p, ends, flush)
	}
	defer b.mu.Unlock()
	return b.enqueue(p, ends, keep)
}

// direct writes in the calling goroutine, and changes over to the queue if the
// client did not take it all.
func (b *Buffer) direct(p []byte, ends []int, flush bool) error {
	b.out.Lock()
	defer b.out.Unlock()
	b.note(len(ends) > 0)
	b.counts.produced.Add(int64(len(ends)))
	b.counts.bytesProduced.Add(int64(len(p)))
	_, err := b.dst.Write(p)
	if err == nil && flush {
		err = b.dst.FlushError()
	}
	if err != nil {
		b.failed = true
		b.mu.Lock()
		defer b.mu.Unlock()
		b.giveUp(err)
		b.lost = true
		return b.err
	}
	last := 0
	if len(ends) > 0 {
		last, b.inside = ends[len(ends)-1], false
	}
	b.inside = b.inside || !blank(p[last:])
	b.counts.consumed.Add(int64(len(ends)))
	b.counts.bytesConsumed.Add(int64(len(p)))
	if b.gate.Stuck() {
		b.mu.Lock()
		b.start()
		b.mu.Unlock()
	}
	return nil
}

// note is told of what is put: with the first event the first one is over.
func (b *Buffer) note(whole bool) {
	if whole {
		b.first = true
		b.beat.event()
	}
}

// blank tells that p is nothing but line ends, as may stand between events.
func blank(p []byte) bool {
	for _, c := range p {
		if c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

// enqueue holds the events for the client; mu is held. It waits for room before
// each, or drops.
func (b *Buffer) enqueue(p []byte, ends []int, keep bool) error {
	from := 0
	for i := 0; from < len(p); i++ {
		to, whole := len(p), false
		if i < len(ends) {
			to, whole = ends[i], true
		}
		if !b.makeRoom(int64(to - from)) {
			return b.err
		}
		b.queue.push(event{bytes: append([]byte(nil), p[from:to]...), whole: whole, keep: keep || !b.first})
		b.note(whole)
		if whole {
			b.counts.produced.Add(1)
		}
		b.counts.bytesProduced.Add(int64(to - from))
		b.counts.most = max(b.counts.most, b.held())
		b.setState()
		if !b.writing {
			b.start()
		}
		from = to
	}
	b.throttle()
	return b.err
}

// giveUp ends the buffer with the first failure; mu is held. What is queued is
// for nobody.
func (b *Buffer) giveUp(err error) {
	if b.err == nil {
		b.err = err
	}
	for b.queue.n > 0 {
		b.budget.giveBack(int64(len(b.queue.pop().bytes)))
		b.lost = true
	}
	b.setState()
	b.changed.Broadcast()
}

// Abandon ends the stream from outside: what is queued is dropped, and Put and
// Close need not wait for the client longer than for the write in progress. Put
// fails with the cause from here on, and so does Close if anything was lost. Only
// the first failure counts.
func (b *Buffer) Abandon(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.giveUp(cause)
}

// Close waits until the client has taken everything, and returns why it did not
// if so. After that the caller owns the sink again.
func (b *Buffer) Close() error {
	b.beat.stop()
	b.mu.Lock()
	for b.writing {
		b.changed.Wait()
	}
	b.mu.Unlock()
	b.out.Lock() // for the heartbeat that may be on its way
	defer b.out.Unlock()
	var err error
	if b.gate != nil {
		b.gate.Hold(false)
		if !b.failed {
			err = b.gate.Push()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.failed, b.lost = true, true
		b.giveUp(err)
	}
	if !b.closed {
		b.closed = true
		b.events.Ended(b.state)
		b.events.Passed(b.counts.produced.Load(), b.counts.consumed.Load(), b.counts.bytesProduced.Load(), b.counts.bytesConsumed.Load())
	}
	if !b.lost {
		return nil
	}
	return b.err
}

// Severed tells, after Close, that the client may have the beginning of an event
// and will not get its end: nothing can be added to what it has.
func (b *Buffer) Severed() bool {
	b.out.Lock()
	defer b.out.Unlock()
	return b.inside || b.failed
}
