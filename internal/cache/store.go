package cache

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// store holds the entries. A new one goes into the window, an exact list of what
// was used last; what the window has no room for goes to the main part, where
// ristretto keeps what is asked for most. Ristretto alone would refuse what is new,
// and shows what it took only later. Once main is full it is offered what was asked
// for again, and not what was wanted once.
//
// Both parts are bounded by entries and by bytes, and together hold no more than
// allowed, but for the few small entries that are on their way from one to the
// other.
type store struct {
	mu     sync.Mutex // guards window, moving and sent
	window window
	moving map[slot]*Entry // on their way from the window to main
	sent   [][]*Entry      // those of them that were sent there, together; some may have been replaced since

	closing sync.RWMutex // held for reading while main is used: its Close may race with nothing
	main    *ristretto.Cache[uint64, *Entry]
	used    atomic.Bool            // something was put into main: before, it is not asked
	minCost int64                  // in main, so that its bound in bytes is one in entries too; as main
	sentTo  [1 << 10]atomic.Uint32 // entries sent to main so far, by a part of their slots' hashes

	limit atomic.Int64 // of one entry's size
	stale atomic.Int64 // stale_if_error, in nanoseconds

	clears                 atomic.Uint64 // changes under mu
	entries                [forms]atomic.Int64
	bytes                  atomic.Int64
	evictions, expirations atomic.Uint64
}

// remembered is for how long an expired entry is still there to say that it is.
const remembered = time.Minute

func newStore(cfg Config) (*store, error) {
	s := &store{moving: make(map[slot]*Entry)}
	s.stale.Store(int64(cfg.StaleIfError))
	b := boundsOf(cfg)
	s.window = newWindow(b.windowEntries, b.windowBytes)
	s.limit.Store(b.windowBytes)
	if b.mainEntries <= 0 || b.mainBytes <= 0 {
		s.whole(b)
		return s, nil
	}
	s.minCost = b.minCost()
	main, err := ristretto.NewCache(&ristretto.Config[uint64, *Entry]{
		NumCounters:        max(b.mainEntries, 64),
		MaxCost:            b.maxCost(),
		BufferItems:        64,
		IgnoreInternalCost: true,
		OnExit: func(e *Entry) {
			if e != nil {
				s.retire(e)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	s.main = main
	return s, nil
}

// close ends what runs in the main part. The store is empty afterwards.
func (s *store) close() {
	s.clear(func(*Entry) bool { return true })
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.main != nil {
		s.main.Close()
		s.main = nil
	}
}

// retire counts an entry that leaves for want of room, or of time.
func (s *store) retire(e *Entry) bool {
	if !s.forget(e) {
		return false
	}
	if time.Now().Before(e.Expires) {
		s.evictions.Add(1)
	} else {
		s.expirations.Add(1)
	}
	return true
}

// forget no longer counts an entry, once.
func (s *store) forget(e *Entry) bool {
	if e.gone.Swap(true) {
		return false
	}
	s.entries[e.Form].Add(-1)
	s.bytes.Add(-e.size)
	return true
}

func (sl slot) hash() uint64 {
	return binary.LittleEndian.Uint64(sl.key[:]) + uint64(sl.form)*0x9e3779b97f4a7c15
}

// size is how many entries there are.
func (s *store) size() (n int64) {
	for i := range s.entries {
		n += s.entries[i].Load()
	}
	return n
}

// get returns the entry of a slot, be it expired, or nil.
func (s *store) get(sl slot) *Entry {
	if s.entries[sl.form].Load() == 0 { // most often only one form is asked for
		return nil
	}
	s.mu.Lock()
	e := s.recent(sl)
	s.mu.Unlock()
	if e != nil {
		return e
	}
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.main == nil {
		return nil
	}
	if e := s.inMain(sl); e != nil && e.slot() == sl && !e.gone.Load() {
		return e
	}
	return nil
}

// sends counts what may have come to main for a slot. As long as it does not change,
// main has nothing for the slot that get has not found there.
func (s *store) sends(sl slot) *atomic.Uint32 { return &s.sentTo[sl.hash()%uint64(len(s.sentTo))] }

// recent looks where entries are for certain once they were put. The caller
// holds the lock.
func (s *store) recent(sl slot) *Entry {
	if e := s.window.use(sl); e != nil {
		return e
	}
	return s.moving[sl]
}

// put adds an entry, in place of any other of its slot, and returns those that
// have no more room in the window. The caller holds the lock, and has them
// settled without it.
func (s *store) put(e *Entry) (moved []*Entry) {
	s.entries[e.Form].Add(1)
	s.bytes.Add(e.size)
	sl := e.slot()
	if len(s.moving) > 0 {
		if old := s.moving[sl]; old != nil {
			s.replaced(old)
			delete(s.moving, sl)
		}
	}
	if old := s.window.put(sl, e); old != nil {
		s.replaced(old)
	}
	over := s.window.overflow()
	if over == nil {
		return nil
	}
	s.reap()
	room := int64(0)
	if s.main != nil {
		room = s.main.RemainingCost()
	}
	for _, e := range over {
		cost := s.cost(e)
		if !e.again && cost > room {
			s.retire(e)
			continue
		}
		room -= cost
		s.moving[e.slot()] = e
		moved = append(moved, e)
	}
	return moved
}

// cost is what an entry takes of main's bound.
func (s *store) cost(e *Entry) int64 { return max(e.size, s.minCost) }

// replaced counts an entry that a newer one stands in for: as expired if it was.
func (s *store) replaced(e *Entry) {
	if time.Now().Before(e.Expires) {
		s.forget(e)
	} else {
		s.retire(e)
	}
}

// reap ends the moves of entries that have arrived, or were not taken: main takes
// what is sent at a time in its order, so that all is over once it is for the last.
// The caller holds the lock.
func (s *store) reap() {
	s.sent = slices.DeleteFunc(s.sent, func(moved []*Entry) bool {
		last := moved[len(moved)-1]
		if !last.gone.Load() && (s.main == nil || s.inMain(last.slot()) != last) {
			return false
		}
		for _, m := range moved {
			if s.moving[m.slot()] == m {
				delete(s.moving, m.slot())
			}
		}
		return true
	})
}

// inMain returns what main has for a slot, be it another's.
func (s *store) inMain(sl slot) *Entry {
	if !s.used.Load() {
		return nil
	}
	e, _ := s.main.Get(sl.hash())
	return e
}

const (
	atOnce      = 16 // entries that are moved at a time
	maxMoving   = 2 * atOnce
	movedAtOnce = 64 << 10 // bytes moved at a time; a larger entry is waited for
)

// settle takes the entries that were pushed out of the window by a new one to
// where they belong, and an older one of its slot out of main, unless that is known
// to have none.
func (s *store) settle(e *Entry, moved []*Entry, none bool) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if !none && s.main != nil {
		if old := s.inMain(e.slot()); old != nil && old != e {
			s.replaced(old)
			s.main.Del(e.slot().hash())
		}
	}
	if moved != nil && s.send(moved) {
		s.main.Wait()
	}
}

// send gives entries to main, and tells whether to wait until it has taken them.
func (s *store) send(moved []*Entry) (wait bool) {
	s.used.Store(s.main != nil)
	for _, m := range moved {
		s.sends(m.slot()).Add(1)
		left, cost := time.Until(m.Expires)+time.Duration(s.stale.Load())+remembered, s.cost(m)
		if s.main == nil || left <= 0 || cost > s.main.MaxCost() || !s.main.SetWithTTL(m.slot().hash(), m, cost, left) {
			s.retire(m)
			continue
		}
		wait = wait || m.size > movedAtOnce
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, moved)
	if s.main == nil {
		return false
	}
	for _, m := range moved {
		if m.gone.Load() { // a newer one came, or a clear
			s.main.Del(m.slot().hash())
		}
	}
	return wait || len(s.moving) > maxMoving
}

// arrive waits until main has taken or refused what is on its way, so that all
// counts are exact.
func (s *store) arrive() {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.main != nil {
		s.main.Wait()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reap()
}

// drop removes an expired entry.
func (s *store) drop(e *Entry) {
	sl := e.slot()
	s.mu.Lock()
	s.window.remove(sl, e)
	s.mu.Unlock()
	s.retire(e)
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.main == nil {
		return
	}
	if s.inMain(sl) == e {
		s.main.Del(sl.hash())
	}
}

// clear removes all that match, and returns them.
func (s *store) clear(match func(*Entry) bool) (gone []*Entry) {
	return s.remove(match, s.forget, true)
}

// sweep drops what has expired, and returns it.
func (s *store) sweep(now time.Time) (gone []*Entry) {
	stale := time.Duration(s.stale.Load())
	expired := func(e *Entry) bool { return !now.Before(e.Expires.Add(stale)) }
	return s.remove(expired, s.retire, false)
}

// remove takes out all that match, counts them by count, and returns those that
// were counted.
func (s *store) remove(match, count func(*Entry) bool, clear bool) (gone []*Entry) {
	var inMain []*Entry
	s.mu.Lock()
	if clear {
		s.clears.Add(1)
	}
	for _, e := range s.window.all() {
		if match(e) {
			s.window.remove(e.slot(), e)
			if count(e) {
				gone = append(gone, e)
			}
		}
	}
	for sl, e := range s.moving {
		if match(e) {
			delete(s.moving, sl)
			inMain = append(inMain, e)
		}
	}
	s.mu.Unlock()
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.main == nil {
		return gone
	}
	s.main.IterValues(func(e *Entry) bool {
		if match(e) {
			inMain = append(inMain, e)
		}
		return false
	})
	for _, e := range inMain {
		if count(e) {
			gone = append(gone, e)
		}
		s.main.Del(e.slot().hash())
	}
	return gone
}
