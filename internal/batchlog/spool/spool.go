package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// What Append returns besides what the disk says.
var (
	// ErrClosed: the spool was closed.
	ErrClosed = errors.New("the spool is closed")
	// ErrTooLarge: the payload is larger than a record may be.
	ErrTooLarge = errors.New("larger than a record of the spool may be")
	// ErrQueueFull: the disk is slow and too much waits for it.
	ErrQueueFull = errors.New("the disk is too slow, and the queue before it is full")
	// ErrNotSynced: the record is in the kernel, but the disk refused to sync it.
	ErrNotSynced = errors.New("the record is not on stable storage")
	// ErrLocked is what Open returns while another process has the directory.
	ErrLocked = errors.New("another process uses this spool")
)

// Spool is safe for concurrent use. Many may append; Read, Ack, Rewind and Wait
// are for one consumer.
type Spool struct {
	cfg        Config
	dir        directory
	maxPayload int
	maxQueued  int

	// consumer is held by Read, Ack, Rewind and Settle, also over their I/O.
	consumer sync.Mutex
	reader   reader // guarded by consumer

	// stateMu is held over the I/O of the state file, and taken before mu.
	stateMu   sync.Mutex
	stateFile *stateFile // guarded by stateMu
	takenOver bool       // guarded by stateMu; see there

	// syncMu is held over the I/O of a sync.
	syncMu sync.Mutex

	// Owned by whoever is flushing.
	active  *segment
	retryAt time.Time // until then a disk that refused is left alone
	refused error     // why

	mu sync.Mutex // never held over I/O; guards all below

	state    state // as it should be on disk
	stateAge bool  // the state has changed and was not written
	next     uint64
	written  uint64 // the last sequence number that can be read
	segments []*segment
	ordinals int        // segments made or found so far
	handles  []*segment // those with an open file to write to
	bytes    int64      // of all segments
	dirDirty bool       // names changed since the directory was synced

	// syncFailing says that the last sync failed. A segment is left when that
	// becomes true, not again each time it stays so.
	syncFailing bool

	pending  *batch // waits for the disk; nil if nothing does
	inflight *batch // is being written
	queued   int    // bytes in both
	slow     bool
	watched  bool // judge will look at what waits
	running  bool
	stopping bool
	closed   bool
	late     *time.Timer // calls judge
	work     sync.Cond   // pending or stopping, for the writer
	idle     sync.Cond   // inflight is nil again, or there is room
	spare    [][]byte    // buffers for the next batches, at most two

	lastCame time.Time // when the last Append began
	oldest   time.Time // of the first record that is not acknowledged, if there is one
	cursor   uint64    // the last sequence number that was read, or passed over
	lost     []lostRange
	wanted   uint64 // unread records for which Wait waits; 0 if it does not
	ready    chan struct{}
	counted  counted
}

// segment is one file. name, first, skipped, created, marker and ordinal never change.
type segment struct {
	segmentHeader
	name    string
	ordinal int

	// Guarded by Spool.mu, but for file, which only the one who flushes writes to.
	file   file // to write to; nil in one that was found
	last   uint64
	size   int64
	synced int64
	sealed bool // nothing is appended any more
	failed bool // could not be synced: nothing may be appended
	gone   bool // was removed
	// unreadable says that the disk could not read part of it, which may pass:
	// then the file is kept aside.
	unreadable bool
}

// counted is what Stats counts besides the state, since Open.
type counted struct {
	appended, late          uint64
	writeErrors, syncErrors uint64
	readErrors              uint64
	syncs                   uint64
	syncTime                time.Duration
	givenUpBytes            int64
	damagedRegions          uint64
	damagedBytes, tornBytes int64
	keptBytes               int64 // in the directory, also from before Open
	lastError               error
}

// Append takes a record, whose payload may come in pieces. When it returns without an error the record is in the
// kernel, and with Fsync 0 on the disk; or it is counted as late and will be.
// With an error the record is counted as dropped, unless it is ErrNotSynced or
// ErrClosed.
// The payload may be reused at once.
//
// While Run runs, nobody waits longer than Config.Late for the disk. With meanwhile
// Append does the writing itself where nobody else does and records do not come fast:
// that spares two changes of goroutine, but holds it for as long as the disk does.
// Then meanwhile is called once, from another goroutine, when Late is over, and has
// returned when Append does. Without it, and where records come fast enough to share
// writes, the background writer writes, and Append returns after Late.
//
// Before and after Run, Append does the writing and waits for the disk.
func (s *Spool) Append(id [16]byte, meanwhile func(), payload ...[]byte) (seq uint64, err error) {
	at := time.Now()
	size := 0
	for _, part := range payload {
		size += len(part)
	}
	need := frameSize + size
	s.mu.Lock()
	defer s.mu.Unlock()
	if size > s.maxPayload {
		s.drop(TooLarge)
		return 0, fmt.Errorf("record of %d bytes, %d allowed: %w", size, s.maxPayload, ErrTooLarge)
	}
	for s.queued > 0 && s.queued+need > s.maxQueued {
		if s.slow || s.running && time.Since(at) >= s.cfg.Late {
			s.drop(QueueFull)
			return 0, ErrQueueFull
		}
		s.idle.Wait()
	}
	if s.closed {
		return 0, ErrClosed
	}
	calm := at.Sub(s.lastCame) >= lull
	s.lastCame = at
	if s.pending == nil {
		s.pending = s.newBatch(s.next, at)
	}
	b := s.pending
	seq = s.next
	s.next++
	b.count++
	b.buf = appendFrame(b.buf, seq, at, id, payload...)
	s.queued += need
	s.counted.appended++
	switch {
	case !s.running:
		for !b.done {
			s.flush(nil)
		}
	case meanwhile != nil && calm && s.inflight == nil:
		s.flush(meanwhile)
		if b.gone != nil {
			s.mu.Unlock()
			<-b.gone
			s.mu.Lock()
		}
	default:
		s.work.Signal()
		for !b.done && !s.slow {
			b.cond.Wait()
		}
		if !b.done {
			s.counted.late++
			return seq, nil
		}
	}
	return seq, b.err
}

// drop counts a record that takes no sequence number.
func (s *Spool) drop(why Reason) {
	s.state.dropped[why]++
	s.stateAge = true
}

// Run writes what is appended and syncs by the interval, until ctx ends; it
// returns when both have ended, after a last sync. Append works without it too.
// It is called once.
func (s *Spool) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	s.mu.Lock()
	s.late = time.AfterFunc(s.cfg.Late, s.judge)
	s.watched = true
	s.running = true
	s.mu.Unlock()
	defer s.late.Stop()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopping = true
		s.work.Signal()
	})
	defer stop()
	wg.Go(s.writeAll)
	wg.Go(func() { s.syncAll(ctx) })
	wg.Wait()
	return s.sync()
}

// writeAll is the background writer.
func (s *Spool) writeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for s.pending == nil && !s.stopping {
			s.work.Wait()
		}
		if s.pending == nil && s.inflight == nil {
			s.running = false
			return
		}
		s.flush(nil)
	}
}

// watch has judge look once the oldest of what waits has waited for Late. A timer
// that is set is left alone: to move it for each record would be felt. It is
// called with mu held.
func (s *Spool) watch(began time.Time) {
	if s.watched {
		return
	}
	s.watched = true
	s.late.Reset(s.cfg.Late - time.Since(began))
}

// judge lets go those who wait for a write that takes too long.
func (s *Spool) judge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = false
	b := s.inflight
	if b == nil {
		return
	}
	if time.Since(b.began) < s.cfg.Late {
		s.watch(b.began)
		return
	}
	s.slow = true
	if meanwhile := b.meanwhile; meanwhile != nil {
		s.counted.late++
		b.meanwhile, b.gone = nil, make(chan struct{})
		go func() { // the Append that it is of waits for it
			defer close(b.gone)
			meanwhile()
		}()
	}
	b.cond.Broadcast()
	if s.pending != nil {
		s.pending.cond.Broadcast()
	}
	s.idle.Broadcast()
}

// syncAll syncs by the interval. Where Append syncs, it only closes what is
// finished and keeps the state.
func (s *Spool) syncAll(ctx context.Context) {
	every := s.cfg.Fsync
	if every == 0 {
		every = housekeeping
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		// What fails is counted, and tried again with the next tick.
		_ = s.sync()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close writes and syncs what is left, and gives up the directory. It is called
// after Run has returned.
func (s *Spool) Close() error {
	s.mu.Lock()
	for s.pending != nil || s.inflight != nil {
		s.flush(nil)
	}
	s.closed = true
	s.mu.Unlock()

	s.consumer.Lock()
	defer s.consumer.Unlock()
	err := errors.Join(s.sync(), s.reader.close(), s.stateFile.f.Close())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.handles {
		err = errors.Join(err, seg.file.Close())
	}
	s.handles = nil
	return errors.Join(err, s.dir.Close())
}
