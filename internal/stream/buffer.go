package stream

import (
	"errors"
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
// Put, Flush and Close are for one goroutine, the relay's. Snapshot may be called
// from any.
type Buffer struct {
	cfg    Config
	dst    Sink
	gate   Gate // nil where a blocking write cannot be told beforehand: all goes through the queue
	budget *Budget
	events *Events

	mu      sync.Mutex
	changed sync.Cond // the queue, err or writing has changed
	queue   queue
	writing bool // the goroutine runs, and owns dst
	err     error
	pacer   pacer
	size    int // of the buffer, in events
	state   State
	full    bool

	beat    *time.Timer // of the heartbeat; nil is off
	out     sync.Mutex  // with a heartbeat: who writes in direct mode
	first   bool        // an event has passed
	started time.Time
	lastPut time.Time
	counts  counts
}

// counts are a stream's numbers. Those without a lock are atomics, since the
// direct path takes none.
type counts struct {
	produced, consumed           atomic.Int64 // events
	bytesProduced, bytesConsumed atomic.Int64
	dropped, overflows           int64
	most                         int // events held at a time
	throttled, blocked           time.Duration
}

// Events counts what all buffers did. Its funcs may be called from many
// goroutines, some of them under a buffer's lock.
type Events struct {
	// Began and Ended are a buffer's life, State its changes of state.
	Began func()
	State func(from, to State)
	Ended func(last State)
	// Dropped counts events given up, Throttled and Blocked the time that reading
	// was held up.
	Dropped            func(n int)
	Throttled, Blocked func(time.Duration)
}

// NewBuffer returns the buffer of one stream. It starts nothing.
func NewBuffer(cfg Config, dst Sink, gate Gate, budget *Budget, events *Events) *Buffer {
	b := &Buffer{cfg: cfg, dst: dst, gate: gate, budget: budget, events: events, size: cfg.BufferSize, started: time.Now()}
	if cfg.Adaptive.Enabled {
		b.pacer = newPacer(cfg.Adaptive)
		b.size = b.pacer.size
	}
	b.changed.L = &b.mu
	events.Began()
	if gate != nil {
		gate.Hold(true)
	}
	return b
}

// throttleStep is how long one read is held up at least while throttled.
const throttleStep = 5 * time.Millisecond

// Put takes bytes that end an event at each of the offsets; what follows the last
// one is a piece of no event. It returns when there is room for more: so a full
// buffer stops the reading. The error is the client's. keep marks events that
// must not be dropped; without flush more follows at once.
func (b *Buffer) Put(p []byte, ends []int, keep, flush bool) error {
	b.pause()
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
	if b.beat != nil {
		b.out.Lock()
		defer b.out.Unlock()
	}
	b.first = b.first || len(ends) > 0
	b.counts.produced.Add(int64(len(ends)))
	b.counts.bytesProduced.Add(int64(len(p)))
	_, err := b.dst.Write(p)
	if err == nil && flush {
		err = b.dst.FlushError()
	}
	if err != nil {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
		return err
	}
	b.counts.consumed.Add(int64(len(ends)))
	b.counts.bytesConsumed.Add(int64(len(p)))
	if b.gate.Stuck() {
		b.mu.Lock()
		b.start()
		b.mu.Unlock()
	}
	return nil
}

// start begins to write from a goroutine; mu is held. The goroutine ends with
// the queue, and Close waits for it.
func (b *Buffer) start() {
	b.writing = true
	b.budget.holders.Add(1)
	go b.drain()
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
		b.makeRoom(int64(to - from))
		if b.err != nil {
			return b.err
		}
		e := event{bytes: append([]byte(nil), p[from:to]...), whole: whole, keep: keep || !b.first}
		b.first = b.first || whole
		b.queue.push(e)
		if whole {
			b.counts.produced.Add(1)
		}
		b.counts.bytesProduced.Add(int64(len(e.bytes)))
		b.budget.take(int64(len(e.bytes)))
		b.counts.most = max(b.counts.most, b.queue.n)
		b.setState()
		if !b.writing {
			b.start()
		}
		b.changed.Broadcast()
		from = to
	}
	b.throttle()
	return b.err
}

// makeRoom waits until an event of n bytes may be held, or drops others for it.
func (b *Buffer) makeRoom(n int64) {
	if b.fits(n) {
		return
	}
	b.counts.overflows++
	for b.cfg.DropOnOverflow && !b.fits(n) {
		e, ok := b.queue.dropOldest()
		if !ok {
			break
		}
		b.counts.dropped++
		b.budget.giveBack(int64(len(e.bytes)))
		b.events.Dropped(1)
	}
	if b.fits(n) {
		return
	}
	b.full = true
	b.setState()
	start := time.Now()
	for !b.fits(n) && b.err == nil {
		b.changed.Wait()
	}
	d := time.Since(start)
	b.full = false
	b.counts.blocked += d
	b.counts.throttled += d
	b.events.Blocked(d)
	b.setState()
}

// fits tells whether n more bytes may be held. An empty queue takes anything.
func (b *Buffer) fits(n int64) bool {
	if b.queue.n == 0 {
		return true
	}
	return b.queue.n < b.size && b.queue.bytes+n <= b.budget.share(b.cfg.BufferBytes)
}

// throttle holds up the next read while the buffer is nearly full: until the
// client has taken something, at most one step.
func (b *Buffer) throttle() {
	if b.state != Throttled || b.err != nil {
		return
	}
	start := time.Now()
	held := b.queue.n
	timer := time.AfterFunc(throttleStep, b.wake)
	for b.queue.n >= held && b.err == nil && time.Since(start) < throttleStep {
		b.changed.Wait()
	}
	timer.Stop()
	d := time.Since(start)
	b.counts.throttled += d
	b.events.Throttled(d)
}

func (b *Buffer) wake() {
	b.mu.Lock()
	b.changed.Broadcast()
	b.mu.Unlock()
}

// pause keeps the configured delay between two puts.
func (b *Buffer) pause() {
	if b.cfg.ChunkDelayMS <= 0 {
		return
	}
	delay := time.Duration(b.cfg.ChunkDelayMS) * time.Millisecond
	if left := delay - time.Since(b.lastPut); !b.lastPut.IsZero() && left > 0 {
		time.Sleep(left)
	}
	b.lastPut = time.Now()
}

// fill is how full the buffer is, as a share of its narrower bound; mu is held.
func (b *Buffer) fill() float64 {
	byEvents := float64(b.queue.n) / float64(max(b.size, 1))
	byBytes := float64(b.queue.bytes) / float64(max(b.budget.share(b.cfg.BufferBytes), 1))
	return min(max(byEvents, byBytes), 1)
}

// setState follows the fill; mu is held.
func (b *Buffer) setState() {
	to := Normal
	switch fill := b.fill(); {
	case b.full || fill >= 1:
		to = Blocked
	case fill >= b.cfg.ThrottleThreshold:
		to = Throttled
	case fill >= b.cfg.WarningThreshold:
		to = Warning
	}
	if to == b.state {
		return
	}
	b.events.State(b.state, to)
	b.state = to
}

// drain writes what is queued, events that are ready together in one write, and
// ends when there is no more.
func (b *Buffer) drain() {
	if b.gate != nil {
		b.gate.Hold(false)
		if err := b.gate.Push(); err != nil {
			b.fail(err)
			return
		}
	}
	scratch := borrow(smallBuffer)
	defer func() { giveBack(scratch) }()
	for {
		b.mu.Lock()
		if b.queue.n == 0 {
			if b.gate != nil {
				b.gate.Hold(true)
			}
			b.stopped()
			b.mu.Unlock()
			return
		}
		batch := scratch[:0]
		events, held := 0, int64(0)
		var single []byte // an event too long for the scratch goes out by itself
		for b.queue.n > 0 {
			next := b.queue.events[b.queue.head]
			if len(batch)+len(next.bytes) > cap(scratch) {
				if len(batch) > 0 {
					break
				}
				single = next.bytes
			} else {
				batch = append(batch, next.bytes...)
			}
			b.queue.pop()
			held += int64(len(next.bytes))
			if next.whole {
				events++
			}
			if single != nil {
				batch = single
				break
			}
		}
		b.mu.Unlock()
		_, err := b.dst.Write(batch)
		if err == nil {
			err = b.dst.FlushError()
		}
		b.budget.giveBack(held)
		if err != nil {
			b.fail(err)
			return
		}
		b.mu.Lock()
		b.counts.consumed.Add(int64(events))
		b.counts.bytesConsumed.Add(held)
		if b.cfg.Adaptive.Enabled {
			b.pacer.took(events, time.Now())
			b.size = b.pacer.size
		}
		b.setState()
		b.changed.Broadcast()
		b.mu.Unlock()
	}
}

// fail ends the buffer: what it holds is for nobody.
func (b *Buffer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.giveUp(err)
	b.stopped()
}

// giveUp ends the buffer with the first failure; mu is held.
func (b *Buffer) giveUp(err error) {
	if b.err == nil {
		b.err = err
	}
	for b.queue.n > 0 {
		b.budget.giveBack(int64(len(b.queue.pop().bytes)))
	}
}

// stopped tells that the goroutine is about to end; mu is held.
func (b *Buffer) stopped() {
	b.writing = false
	b.budget.holders.Add(-1)
	b.setState()
	b.changed.Broadcast()
}

// comment is an SSE comment: parsers ignore it, and idle timers are reset by it.
var comment = []byte(": waiting\n\n")

// Heartbeat sends comments at the configured interval until the first event has
// passed. It is for server-sent events, after the head has gone out; Close ends it.
func (b *Buffer) Heartbeat() {
	if b.cfg.HeartbeatInterval <= 0 || b.gate == nil {
		return
	}
	b.out.Lock()
	defer b.out.Unlock()
	b.beat = time.AfterFunc(b.cfg.HeartbeatInterval, b.pulse)
}

func (b *Buffer) pulse() {
	b.out.Lock()
	defer b.out.Unlock()
	if b.first || b.gate.Stuck() {
		return // no need, or no use
	}
	if _, err := b.dst.Write(comment); err != nil {
		return // the relay will see it
	}
	if b.dst.FlushError() == nil {
		b.beat.Reset(b.cfg.HeartbeatInterval)
	}
}

// errClosed ends a buffer whose stream was given up.
var errClosed = errors.New("the stream was given up")

// Close waits until the client has taken everything, and returns its failure if
// it did not. It is called once. After that the caller owns the sink again.
func (b *Buffer) Close() error {
	if b.beat != nil {
		b.beat.Stop()
		b.out.Lock() // for one that is on its way
		b.first = true
		b.out.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.writing {
		b.changed.Wait()
	}
	if b.gate != nil {
		b.gate.Hold(false)
	}
	b.events.Ended(b.state)
	return b.err
}

// Abandon drops what is queued, so that Close need not wait for the client
// longer than for the write in progress.
func (b *Buffer) Abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.giveUp(errClosed)
	b.changed.Broadcast()
}
