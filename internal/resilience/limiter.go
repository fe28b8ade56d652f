package resilience

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// FullError refuses a request that found no place and no room in the queue.
type FullError struct {
	InFlight, Queued int
}

func (e *FullError) Error() string {
	return fmt.Sprintf("no place is free: %d requests in flight, %d in the queue", e.InFlight, e.Queued)
}

// QueueTimeoutError refuses a request that waited as long as it may.
type QueueTimeoutError struct {
	Waited time.Duration
}

func (e *QueueTimeoutError) Error() string {
	return fmt.Sprintf("no place became free in %s", e.Waited)
}

// Limiter bounds how many requests are in flight. Those that find no place wait in
// a queue, itself bounded, and are served in the order they came; nobody overtakes.
// All methods may be called from any goroutine.
type Limiter struct {
	mu           sync.Mutex // guards what follows
	maxInFlight  int
	maxQueue     int
	queueTimeout time.Duration
	inFlight     int
	waiters      list.List // of chan struct{}, closed when the waiter has its place
}

// NewLimiter returns a limiter of maxInFlight places, 0 meaning no limit. queue is
// how many may wait, 0 meaning none; queueTimeout is how long each may, 0 meaning
// as long as its context.
func NewLimiter(maxInFlight, queue int, queueTimeout time.Duration) *Limiter {
	return &Limiter{maxInFlight: maxInFlight, maxQueue: queue, queueTimeout: queueTimeout}
}

// TryAcquire takes a place if one is free now. On success the caller owes one
// Release.
func (l *Limiter) TryAcquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.take()
}

// Acquire takes a place, waiting for its turn if none is free. On success the
// caller owes one Release. It fails with a *FullError at once, a
// *QueueTimeoutError, or the cause of ctx's end; the caller then has no place and
// has left the queue.
func (l *Limiter) Acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.mu.Lock()
	if l.take() {
		l.mu.Unlock()
		return nil
	}
	if l.waiters.Len() >= l.maxQueue {
		err := &FullError{InFlight: l.inFlight, Queued: l.waiters.Len()}
		l.mu.Unlock()
		return err
	}
	turn := make(chan struct{})
	place := l.waiters.PushBack(turn)
	timeout := l.queueTimeout
	l.mu.Unlock()

	var late <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-turn:
		return nil
	case <-late:
		l.leave(place, turn)
		return &QueueTimeoutError{Waited: timeout}
	case <-ctx.Done():
		l.leave(place, turn)
		return context.Cause(ctx)
	}
}

// leave takes a waiter out of the queue. If its turn has just come, the place goes
// on to the next.
func (l *Limiter) leave(place *list.Element, turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn:
		l.inFlight--
		l.admit()
	default:
		l.waiters.Remove(place)
	}
}

// Release gives a place back. It panics if none is taken.
func (l *Limiter) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight == 0 {
		panic("resilience: Release of a Limiter without Acquire")
	}
	l.inFlight--
	l.admit()
}

// Configure replaces the limits. Waiters that a higher limit has a place for are
// admitted; under a lower one nobody is thrown out of a place or of the queue, and
// a new timeout holds for those who come.
func (l *Limiter) Configure(maxInFlight, queue int, queueTimeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.maxInFlight, l.maxQueue, l.queueTimeout = maxInFlight, queue, queueTimeout
	l.admit()
}

// InFlight returns how many places are taken.
func (l *Limiter) InFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight
}

// Waiting returns how many requests wait for a place.
func (l *Limiter) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiters.Len()
}

// take takes a place if there is a free one. It overtakes nobody, since nobody
// waits while a place is free. mu is held, as in what follows.
func (l *Limiter) take() bool {
	if !l.free() {
		return false
	}
	l.inFlight++
	return true
}

// admit gives the free places to those who wait longest.
func (l *Limiter) admit() {
	for l.waiters.Len() > 0 && l.free() {
		l.inFlight++
		close(l.waiters.Remove(l.waiters.Front()).(chan struct{}))
	}
}

func (l *Limiter) free() bool { return l.maxInFlight == 0 || l.inFlight < l.maxInFlight }
