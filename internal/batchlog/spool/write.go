package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"
)

// batch is what goes to the disk in one write: all that was appended while the
// write before it was under way.
type batch struct {
	buf   []byte    // room for a segment's header, then frames
	began time.Time // when the first of it was appended
	first uint64
	count uint64

	// Guarded by Spool.mu.
	done bool
	err  error
	cond sync.Cond

	// Of the Append that writes it, if one does: what to do when that takes too
	// long, and whether it was done.
	meanwhile func()
	gone      chan struct{}
}

func (b *batch) last() uint64 { return b.first + b.count - 1 }

// maxSpare is the largest buffer that is kept for another batch.
const maxSpare = 1 << 20

func (s *Spool) newBatch(first uint64, began time.Time) *batch {
	b := &batch{began: began, first: first, cond: sync.Cond{L: &s.mu}}
	if n := len(s.spare); n > 0 {
		b.buf, s.spare = s.spare[n-1][:headerSize], s.spare[:n-1]
	} else {
		b.buf = make([]byte, headerSize, 8<<10)
	}
	return b
}

// flush writes out what is pending, or waits for the write that is under way.
// It is called with mu held, which it gives up in between. Should it take too long
// while Run runs, meanwhile is called, see Append.
func (s *Spool) flush(meanwhile func()) {
	if s.inflight != nil {
		s.idle.Wait()
		return
	}
	b := s.pending
	if b == nil {
		return
	}
	s.pending, s.inflight = nil, b
	b.meanwhile = meanwhile
	if s.running {
		s.watch(b.began)
	}
	s.mu.Unlock()
	err := s.write(b)
	s.mu.Lock()

	s.inflight, s.slow = nil, false
	b.meanwhile = nil
	s.queued -= len(b.buf) - headerSize
	b.done, b.err = true, err
	b.cond.Broadcast()
	s.idle.Broadcast()
	if err != nil && !errors.Is(err, ErrNotSynced) {
		s.state.burned += b.count
		s.stateAge = true
	}
	if cap(b.buf) <= maxSpare && len(s.spare) < 2 {
		s.spare = append(s.spare, b.buf)
	}
	b.buf = nil
	if s.pending != nil {
		s.work.Signal()
	}
	s.wake()
}

// write puts a batch into a segment; if the disk refuses, once more into a
// fresh one.
func (s *Spool) write(b *batch) error {
	if s.refused != nil && time.Now().Before(s.retryAt) {
		return s.refused
	}
	var err error
	kept := false
	for range 2 {
		var wrote bool
		if wrote, err = s.put(b); err == nil {
			s.refused = nil
			return nil
		}
		kept = kept || wrote
		if s.noteWriteError(err, wrote) {
			break
		}
		s.seal()
	}
	if kept {
		return fmt.Errorf("%w: %w", ErrNotSynced, err)
	}
	s.refused, s.retryAt = fmt.Errorf("spool: the record is dropped: %w", err), time.Now().Add(writePause)
	return s.refused
}

// noteWriteError counts, and reports whether a fresh segment would not help
// either: where the sync failed before, too.
func (s *Spool) noteWriteError(err error, wrote bool) (hopeless bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted.lastError = err
	if !wrote {
		s.counted.writeErrors++
		return false
	}
	hopeless = s.syncFailing
	s.syncFailing = true
	return hopeless
}

// put writes a batch to the segment at hand, or to a new one. wrote says that
// the batch can be read, also if it could not be synced.
func (s *Spool) put(b *batch) (wrote bool, err error) {
	frames := b.buf[headerSize:]
	seg := s.active
	if seg != nil && (s.full(seg, len(frames)) || !stamp(frames, seg.marker)) {
		s.seal()
		seg = nil
	}
	out := frames
	if seg == nil {
		out = b.buf
	}
	if err := s.makeRoom(int64(len(out))); err != nil {
		return false, err
	}
	if seg == nil {
		if seg, err = s.newSegment(b); err != nil {
			return false, err
		}
	}
	if _, err := seg.file.WriteAt(out, seg.size); err != nil {
		if seg.size == 0 {
			err = errors.Join(err, seg.file.Close(), s.dir.remove(seg.name))
		}
		return false, fmt.Errorf("write %s: %w", seg.name, err)
	}
	s.publish(seg, b, len(out))
	if s.cfg.Fsync > 0 {
		return true, nil
	}
	return true, s.commit(seg)
}

func (s *Spool) full(seg *segment, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seg.failed || seg.gone || seg.size+int64(n) > s.cfg.SegmentBytes
}

// newSegment makes a file for a batch, and puts the header before the frames.
func (s *Spool) newSegment(b *batch) (*segment, error) {
	h := segmentHeader{marker: newMarker(), first: b.first, created: time.Now()}
	for !stamp(b.buf[headerSize:], h.marker) {
		h.marker = newMarker()
	}
	s.mu.Lock()
	h.skipped = s.state.burned
	running := s.running
	s.mu.Unlock()
	if !running { // else Run has begun with it
		if err := s.keepState(false); err != nil {
			s.note(err)
		}
	}
	h.put(b.buf[:headerSize])
	name := segmentName(h.first, h.marker)
	f, err := s.dir.create(name)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return &segment{segmentHeader: h, name: name, file: f}, nil
}

// publish makes readable what was written.
func (s *Spool) publish(seg *segment, b *batch, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written == s.state.ack {
		s.oldest = b.began
	}
	if seg.size == 0 {
		s.adopt(seg)
		s.handles = append(s.handles, seg)
		s.active = seg
		s.dirDirty = true
		s.state.burned = 0
	}
	seg.size += int64(n)
	seg.last = b.last()
	s.bytes += int64(n)
	s.written = b.last()
	s.state.tail = s.written
	s.stateAge = true
}

// adopt lists a segment as the newest.
func (s *Spool) adopt(seg *segment) {
	s.ordinals++
	seg.ordinal = s.ordinals
	s.segments = append(s.segments, seg)
}

// seal ends the active segment. What a write that failed has left behind its
// end is cut off, so that it is not taken for damage; if that fails too, the
// bytes are not read before a restart, and checked then.
func (s *Spool) seal() {
	seg := s.active
	if seg == nil {
		return
	}
	s.active = nil
	if err := seg.file.Truncate(seg.size); err != nil {
		s.note(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.sealed = true
}

func (s *Spool) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted.lastError = err
}

// makeRoom gives up the oldest segments until n more bytes are within the bound.
func (s *Spool) makeRoom(n int64) error {
	for {
		s.mu.Lock()
		fits := s.bytes+n <= s.cfg.MaxBytes && len(s.segments) < maxSegments
		if fits || len(s.segments) == 0 || s.segments[0] == s.active {
			s.mu.Unlock()
			return nil
		}
		oldest, dirty := s.segments[0], s.dirDirty
		s.mu.Unlock()
		// At most one removal is not durable at any time: a power cut may bring
		// back the last segment that was given up, but makes no hole.
		if dirty {
			if err := s.syncDirectory(); err != nil {
				return err
			}
		}
		if err := s.discard(oldest); err != nil {
			return err
		}
	}
}

// discard removes a segment, or keeps it aside if it could not be read. What was not read of it is lost, see ahead.
func (s *Spool) discard(seg *segment) error {
	s.mu.Lock()
	keep := seg.unreadable && s.counted.keptBytes+seg.size <= s.cfg.MaxBytes/asideShare
	s.mu.Unlock()
	var err error
	if keep {
		err = s.dir.rename(seg.name, seg.name+asideSuffix)
	} else {
		err = s.dir.remove(seg.name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", seg.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.gone {
		return nil
	}
	if keep {
		s.counted.keptBytes += seg.size
	}
	seg.gone = true
	s.dirDirty = true
	s.bytes -= seg.size
	s.segments = slices.DeleteFunc(s.segments, func(other *segment) bool { return other == seg })
	if seg.last > s.cursor {
		s.counted.givenUpBytes += seg.size
	}
	return nil
}

// wake tells Wait that there is enough to read. It is called with mu held.
func (s *Spool) wake() {
	if s.wanted == 0 || s.written < s.cursor+s.wanted {
		return
	}
	s.wanted = 0
	select {
	case s.ready <- struct{}{}:
	default: // it has been told
	}
}
