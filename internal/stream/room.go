package stream

import "time"

// throttleStep is how long a read is held up at most while throttled.
const throttleStep = 5 * time.Millisecond

// neededStep is how long a full buffer may not notice that others wait.
const neededStep = 20 * time.Millisecond

// held is how many events wait for the client or are being written; mu is held.
func (b *Buffer) held() int { return b.queue.n + b.batch.n }

func (b *Buffer) heldBytes() int64 { return b.queue.bytes + b.batch.bytes }

// makeRoom waits until an event of n bytes may be held, or drops others for it;
// mu is held. It returns false when the buffer has ended instead.
func (b *Buffer) makeRoom(n int64) bool {
	if b.err != nil || b.take(n) {
		return b.err == nil
	}
	b.counts.overflows++
	for b.cfg.DropOnOverflow {
		e, ok := b.queue.dropOldest()
		if !ok {
			break
		}
		b.counts.dropped++
		b.budget.giveBack(int64(len(e.bytes)))
		b.events.Dropped(1)
		if b.take(n) {
			return true
		}
	}
	return b.block(n)
}

// block waits until an event of n bytes may be held.
func (b *Buffer) block(n int64) (taken bool) {
	b.full = true
	b.setState()
	start := time.Now()
	for b.err == nil && !taken {
		if b.needed == nil {
			b.changed.Wait()
		} else { // somebody may have come who needs the stream to go on
			held := b.held()
			b.wait(neededStep, func() bool { return b.held() < held })
		}
		taken = b.err == nil && b.take(n)
	}
	b.full = false
	d := time.Since(start)
	b.counts.blocked += d
	b.counts.throttled += d
	b.events.Blocked(d)
	b.setState()
	return taken
}

// take takes n bytes from the budget if they may be held. A buffer that holds
// nothing takes anything, so that every stream gets on.
func (b *Buffer) take(n int64) bool {
	if b.held() == 0 {
		b.budget.force(n)
		return true
	}
	within := b.held() < b.size && b.heldBytes()+n <= b.room()
	return (within || b.othersWait()) && b.budget.take(n)
}

// othersWait tells that to hold up this stream would hold up others.
func (b *Buffer) othersWait() bool { return b.needed != nil && b.needed() }

// room is how many bytes may be held now.
func (b *Buffer) room() int64 { return b.budget.room(b.cfg.BufferBytes, b.heldBytes()) }

// throttle holds up the next read while the buffer is nearly full: until the
// client has taken something, at most one step.
func (b *Buffer) throttle() {
	if b.state != Throttled || b.err != nil || b.othersWait() {
		return
	}
	held := b.held()
	d := b.wait(throttleStep, func() bool { return b.held() < held })
	b.counts.throttled += d
	b.events.Throttled(d)
}

// pause keeps the configured delay between two events.
func (b *Buffer) pause() {
	delay := time.Duration(b.cfg.ChunkDelayMS) * time.Millisecond
	if left := delay - time.Since(b.lastPut); !b.lastPut.IsZero() && left > 0 {
		b.mu.Lock()
		b.wait(left, func() bool { return false })
		b.mu.Unlock()
	}
	b.lastPut = time.Now()
}

// wait waits until it is enough, the buffer ends or limit has passed, and returns
// how long that was; mu is held.
func (b *Buffer) wait(limit time.Duration, enough func() bool) time.Duration {
	start := time.Now()
	timer := time.AfterFunc(limit, func() {
		b.mu.Lock()
		b.changed.Broadcast()
		b.mu.Unlock()
	})
	defer timer.Stop()
	for b.err == nil && time.Since(start) < limit && !enough() {
		b.changed.Wait()
	}
	return time.Since(start)
}

// fill is how full the buffer is, as a share of its narrowest bound; mu is held.
// While an event waits for room it is full.
func (b *Buffer) fill() float64 {
	if b.full {
		return 1
	}
	byEvents := float64(b.held()) / float64(max(b.size, 1))
	byBytes := float64(b.heldBytes()) / float64(max(b.room(), 1))
	return min(max(byEvents, byBytes), 1)
}

// setState follows the fill; mu is held.
func (b *Buffer) setState() {
	to := b.cfg.stateAt(b.fill())
	if to == b.state {
		return
	}
	b.events.State(b.state, to)
	b.state = to
}

// stateAt is what a buffer's state is called by its fill.
func (c *Config) stateAt(fill float64) State {
	switch {
	case fill >= 1:
		return Blocked
	case fill >= c.ThrottleThreshold:
		return Throttled
	case fill >= c.WarningThreshold:
		return Warning
	}
	return Normal
}
