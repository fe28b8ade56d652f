package monitor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
	"weak"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

var kindNames = [progress.Kinds]string{"exchange", "stream", "upstream_body", "recording", "flight", "session"}

const (
	// maxFollowed is how many objects of all kinds are followed at a time; each
	// takes about 120 bytes. Objects beyond it are counted only.
	maxFollowed = 16384
	// burst and refill bound how many new objects of a kind are followed, at
	// once and in each second. To follow one costs a few hundred nanoseconds and
	// two more for the collector, and its entry several times its size of the heap's
	// limit: at full load a sample finds a leak as well.
	burst, refill = 200, 100
	// placed is how many of a kind in each second have their place of creation noted.
	placed = 20
	// chunkSize is how many entries are looked at under one lock.
	chunkSize = 256
)

// objects is what is followed. An object is alive as long as its weak pointer
// says so: nothing here keeps it.
type objects struct {
	start  time.Time
	clock  *progress.Clock // says what kinds are followed at present
	byKind [progress.Kinds]kindCount

	mu     sync.Mutex
	chunks []*[chunkSize]object // entries never move
	free   []*object

	// judging is held while weak pointers are read or a collection is forced: to
	// read one while the collector marks keeps its object for another cycle.
	judging sync.Mutex
	// mark is an object that nobody holds: when it is gone, a full collection
	// has begun after it was made and has ended. Guarded by judging.
	mark     weak.Pointer[mark]
	markMade time.Duration
	judged   time.Duration // what was let go of before, and lives, survived a full collection
}

type kindCount struct {
	tracked, freed atomic.Int64
	budget, places atomic.Int64
}

type object struct {
	done  func()       // sets letGo; made once for each entry
	letGo atomic.Int64 // nanoseconds after start; 0 is not yet

	// Guarded by objects.mu.
	ref       weak.Pointer[byte]
	id        int64 // 0 is a free entry
	kind      progress.Kind
	born      time.Duration
	size      int64
	requestID string
	place     [3]uintptr
}

type mark struct{ _ [8]uintptr } // large enough to have a slot of its own

func (o *objects) init(start time.Time, clock *progress.Clock) {
	o.start, o.clock = start, clock
	for k := range o.byKind {
		o.byKind[k].budget.Store(burst)
		o.byKind[k].places.Store(placed)
		clock.Follow(progress.Kind(k), true)
	}
	o.judged = -1
	o.newMark()
}

//go:noinline
func (o *objects) newMark() {
	o.mark, o.markMade = weak.Make(new(mark)), time.Since(o.start)
}

// refill allows more objects to be followed. It is called once a second.
func (o *objects) refill() {
	for k := range o.byKind {
		c := &o.byKind[k]
		c.budget.Store(min(burst, max(0, c.budget.Load())+refill))
		c.places.Store(placed)
		o.clock.Follow(progress.Kind(k), true)
	}
}

// Track follows v, which belongs to an exchange, without keeping it alive, until it is
// gone. v may point into a larger object, to a field of it; the object must not be
// taken from a pool. size is what it is taken to hold, in bytes. done says that its
// owner let go of it; it must be called once. From then on v should be gone with the
// next collections.
//
// At high rates only a sample of a kind is followed, which progress.Exchange.Follows tells
// beforehand; for the others done does nothing.
func Track[T any](x *Exchange, kind progress.Kind, v *T, size int64, requestID string) (done func()) {
	if done = x.m.objects.follow(kind, (*byte)(unsafe.Pointer(v)), size, requestID); done == nil {
		x.skipped[kind].Add(1)
		return nothing
	}
	return done
}

func nothing() {}

// follow returns nil if v is not followed.
func (o *objects) follow(kind progress.Kind, v *byte, size int64, requestID string) (done func()) {
	c := &o.byKind[kind]
	left := c.budget.Add(-1)
	if left <= 0 {
		o.clock.Follow(kind, false)
	}
	if left < 0 {
		return nil
	}
	ref, born := weak.Make(v), time.Since(o.start)
	var place [3]uintptr
	if c.places.Load() > 0 && c.places.Add(-1) >= 0 {
		runtime.Callers(3, place[:]) // without Callers, follow and Track
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.entry()
	if e == nil {
		return nil
	}
	e.letGo.Store(0)
	e.ref, e.kind, e.born, e.size, e.requestID, e.place = ref, kind, born, size, requestID, place
	e.id = c.tracked.Add(1)
	return e.done
}

// entry returns a free entry, or nil at the bound. The caller holds mu.
func (o *objects) entry() *object {
	if len(o.free) == 0 {
		if len(o.chunks)*chunkSize >= maxFollowed {
			return nil
		}
		chunk := new([chunkSize]object)
		o.chunks = append(o.chunks, chunk)
		for i := range chunk {
			e := &chunk[i]
			e.done = func() { e.letGo.CompareAndSwap(0, max(1, int64(time.Since(o.start)))) }
			o.free = append(o.free, e)
		}
	}
	e := o.free[len(o.free)-1]
	o.free = o.free[:len(o.free)-1]
	return e
}

// each frees the entries of what is gone and calls f with the others. f runs
// under the lock, for a moment at a time.
func (o *objects) each(f func(*object)) {
	o.judging.Lock()
	defer o.judging.Unlock()
	o.eachLocked(f)
}

// eachLocked is each. The caller holds judging.
func (o *objects) eachLocked(f func(*object)) {
	o.mu.Lock()
	chunks := o.chunks
	o.mu.Unlock()
	for _, chunk := range chunks {
		o.mu.Lock()
		for i := range chunk {
			e := &chunk[i]
			switch {
			case e.id == 0:
			case e.ref.Value() == nil:
				o.byKind[e.kind].freed.Add(1)
				e.id, e.ref, e.requestID = 0, weak.Pointer[byte]{}, ""
				o.free = append(o.free, e)
			case f != nil:
				f(e)
			}
		}
		o.mu.Unlock()
	}
}

// collect runs a full collection, after which everything that was let go of
// before is gone or convicted.
func (o *objects) collect() {
	o.judging.Lock()
	defer o.judging.Unlock()
	o.newMark()
	runtime.GC()
	o.collectedLocked()
}

// collected looks whether a full collection has ended, and if so lets go of
// what is gone.
func (o *objects) collected() {
	o.judging.Lock()
	defer o.judging.Unlock()
	o.collectedLocked()
}

func (o *objects) collectedLocked() {
	if o.mark.Value() != nil {
		return
	}
	o.judged = o.markMade
	o.newMark()
	o.eachLocked(nil)
}

func (o *objects) judgedUntil() time.Duration {
	o.judging.Lock()
	defer o.judging.Unlock()
	return o.judged
}

// leaked tells whether an entry is alive too long after it was let go of, at a time.
func (e *object) leaked(now, threshold, judged time.Duration) bool {
	let := time.Duration(e.letGo.Load())
	return let != 0 && let < judged && now-let >= threshold
}

// suspects tells whether something would be a leak, had there been a full
// collection since it was let go of.
func (o *objects) suspects(now, threshold time.Duration) bool {
	judged, found := o.judgedUntil(), false
	o.each(func(e *object) {
		let := time.Duration(e.letGo.Load())
		found = found || let != 0 && let >= judged && now-let >= threshold
	})
	return found
}
