package stream

import "time"

// start begins to write from a goroutine; mu is held. The goroutine ends with
// the queue, and Close waits for it.
func (b *Buffer) start() {
	b.writing = true
	b.budget.holders.Add(1)
	if b.cfg.Adaptive.Enabled {
		b.pacer.begin(time.Now())
	}
	go b.drain()
}

// drain writes what is queued, and ends when there is no more.
func (b *Buffer) drain() {
	b.out.Lock()
	defer b.out.Unlock()
	if b.gate != nil {
		b.gate.Hold(false)
		if err := b.gate.Push(); err != nil {
			b.wrote(batch{}, err)
			return
		}
	}
	scratch := borrow(smallBuffer)
	defer func() { giveBack(scratch) }()
	for {
		p, taken := b.next(scratch[:0])
		if taken.n == 0 {
			return
		}
		_, err := b.dst.Write(p)
		if err == nil {
			err = b.dst.FlushError()
		}
		if !b.wrote(taken, err) {
			return
		}
	}
}

// next takes events that are ready together from the queue, as many as fit into
// to. One that is too long goes out by itself. When there is none the goroutine
// is over.
func (b *Buffer) next(to []byte) ([]byte, batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.n == 0 {
		if b.gate != nil {
			b.gate.Hold(true)
		}
		b.stopped()
		return nil, batch{}
	}
	taken := batch{inside: b.inside}
	for b.queue.n > 0 && (taken.n == 0 || len(to)+len(b.queue.oldest().bytes) <= cap(to)) {
		e := b.queue.pop()
		taken.n++
		taken.bytes += int64(len(e.bytes))
		if e.whole {
			taken.whole++
		}
		taken.inside = !e.whole && (taken.inside || !blank(e.bytes))
		if len(e.bytes) > cap(to) {
			to = e.bytes
			break
		}
		to = append(to, e.bytes...)
	}
	b.batch = taken
	return to, taken
}

// wrote notes how a write ended, and tells whether to go on.
func (b *Buffer) wrote(done batch, err error) bool {
	b.budget.giveBack(done.bytes)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batch = batch{}
	if err != nil {
		b.failed, b.lost = true, true
		b.giveUp(err)
		b.stopped()
		return false
	}
	b.inside = done.inside
	b.counts.consumed.Add(int64(done.whole))
	b.counts.bytesConsumed.Add(done.bytes)
	if b.cfg.Adaptive.Enabled {
		b.pacer.took(done.whole, time.Now())
		b.size = b.pacer.size
	}
	b.setState()
	b.changed.Broadcast()
	return true
}

// stopped tells that the goroutine is about to end; mu is held.
func (b *Buffer) stopped() {
	b.writing = false
	b.budget.holders.Add(-1)
	b.setState()
	b.changed.Broadcast()
}
