package l2

import (
	"context"
	"slices"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

const (
	mostQueued      = 256
	mostQueuedBytes = 16 << 20
	atOnce          = 32 // values in one round trip
	lastWords       = 200 * time.Millisecond
	retryClears     = time.Second
)

// item is a value that is to be written.
type item struct {
	name, model string
	position    Position
	until       time.Time
	size        int64
	append      func([]byte) []byte
}

// Put has a value written some time soon, or drops it: it never waits. size is how
// many bytes the value has about, append writes it, and until is when it is no
// longer of use. position is that at which the question was begun.
func (t *Tier) Put(name, model string, position Position, until time.Time, size int64, append func([]byte) []byte) {
	switch {
	case !t.usable(), position.epoch == "", size > t.limit.Load():
	case t.queued.Add(size) > mostQueuedBytes:
		t.queued.Add(-size)
	default:
		select {
		case t.queue <- item{name, model, position, until, size, append}:
			return
		default:
			t.queued.Add(-size)
		}
	}
	t.counts.dropped.Add(1)
}

// Clear has all replicas forget a model's values, or all if it is empty. It does
// not wait: until the others know, this replica gives none of them itself.
func (t *Tier) Clear(model string) {
	t.mu.Lock()
	t.clears.wait(model)
	if t.settled == nil {
		t.settled = make(chan struct{})
	}
	t.mu.Unlock()
	t.poke()
}

// Settle waits until no clear is pending, or for ctx.
func (t *Tier) Settle(ctx context.Context) {
	t.mu.Lock()
	settled := t.settled
	t.mu.Unlock()
	if settled == nil {
		return
	}
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

func (t *Tier) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// write does what may not be done while a request waits. Clears go before values.
func (t *Tier) write(ctx context.Context) {
	retry := time.NewTicker(retryClears)
	defer retry.Stop()
	buf := make([]byte, 0, 64<<10)
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			t.tell(last)
			return
		case <-t.wake:
			t.tell(ctx)
		case <-retry.C:
			t.tell(ctx)
		case first := <-t.queue:
			buf = t.store(ctx, first, buf[:0])
		}
	}
}

// tell puts the pending clears into the stream.
func (t *Tier) tell(ctx context.Context) {
	t.mu.Lock()
	pending := slices.Clone(t.clears.pending)
	t.mu.Unlock()
	for _, model := range pending {
		if !t.usable() {
			return
		}
		var id string
		err := t.call(ctx, writeTimeout, func(ctx context.Context) (err error) {
			id, err = t.client.XAdd(ctx, t.entry(fieldModel, model)).Result()
			return err
		})
		at, ok := parsePlace(id)
		if err != nil || !ok {
			if err != nil {
				t.failed(err)
			}
			return // tried again soon
		}
		t.mu.Lock()
		t.clears.told(model, at)
		t.publish()
		t.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.clears.pending) == 0 && t.settled != nil {
		close(t.settled)
		t.settled = nil
	}
}

// store writes a value, and those that wait behind it.
func (t *Tier) store(ctx context.Context, it item, buf []byte) []byte {
	permit, err := t.breaker.Allow()
	if err != nil {
		t.queued.Add(-it.size)
		t.counts.dropped.Add(1)
		return buf
	}
	pipe := t.client.Pipeline()
	n := uint64(0)
	for more := true; more; {
		t.queued.Add(-it.size)
		if left := time.Until(it.until); left > 0 && it.position.epoch == t.Position().epoch {
			start := len(buf)
			name := fullName(it.position.epoch, it.name)
			e := envelope{at: it.position.at, model: it.model, name: name}
			buf = e.seal(buf, it.append)
			pipe.Set(ctx, name, buf[start:len(buf):len(buf)], left)
			n++
		}
		if more = pipe.Len() < atOnce; more {
			select {
			case it = <-t.queue:
			default:
				more = false
			}
		}
	}
	err = t.call(ctx, writeTimeout, func(ctx context.Context) error {
		_, err := pipe.Exec(ctx)
		return err
	})
	switch {
	case err == nil:
		// A write may take its time, so that it went well says nothing to lookups.
		permit.Report(resilience.Neutral, "")
		t.counts.writes.Add(n)
	case isReply(err): // such as that it is full
		permit.Report(resilience.Neutral, "")
		t.failed(err)
		t.counts.dropped.Add(n)
	default:
		t.report(permit, err)
		t.counts.dropped.Add(n)
	}
	if cap(buf) > mostQueuedBytes {
		return nil
	}
	return buf
}
