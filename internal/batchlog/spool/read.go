package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Entry is a record as it was appended. The payload is valid until the next Read.
type Entry struct {
	Seq     uint64
	ID      [16]byte
	At      time.Time
	Payload []byte
}

// lostRange are sequence numbers that the reader passed over.
type lostRange struct {
	from, to uint64
	why      Reason
}

// reader is where the consumer is. What Stats looks at is written with Spool.mu
// held as well.
type reader struct {
	seg    *segment // nil at the start
	readTo int64    // how far in it

	file  file // open on seg
	scan  scanner
	tries int // reads that failed in a row

	marks []mark // ends of what was read and not acknowledged, in order
	start mark   // the last that was acknowledged
	// damage is up to where damage was counted, so that reading it again does not.
	damageSegment int
	damageEnd     int64
}

// mark is where one Read ended.
type mark struct {
	seq uint64    // of its last record
	at  time.Time // of its first record
	seg *segment
	off int64
}

const (
	// maxMarks bounds the places that Rewind finds at once; between them it reads.
	maxMarks = 4096
	// maxTries is how often a read fails before what cannot be read is damaged.
	maxTries = 3
)

// Read returns the records after those that it returned before, at most max and
// at most maxBytes of payload, but one at least if there is any. It does not
// wait. With an error there may be entries as well, and it may be called again:
// what the disk cannot read three times in a row is passed over as damaged.
func (s *Spool) Read(max int, maxBytes int) (entries []Entry, err error) {
	s.consumer.Lock()
	defer s.consumer.Unlock()
	s.reader.scan.giveBack()
	size := 0
	for len(entries) < max {
		ok, err := s.enter()
		if err != nil || !ok {
			return s.marked(entries), err
		}
		before := s.reader.scan.off
		r, skipped, ok, err := s.reader.scan.next()
		if err != nil {
			return s.marked(entries), s.readFailed(err)
		}
		s.reader.tries = 0
		if ok && len(entries) > 0 && size+len(r.payload) > maxBytes {
			s.reader.scan.off = before
			break
		}
		if skipped.to > skipped.from {
			s.setAside(skipped)
		}
		if s.pass(r, ok) {
			entries = append(entries, Entry{Seq: r.seq, ID: r.id, At: r.at, Payload: s.reader.scan.take(r)})
			size += len(r.payload)
		}
	}
	return s.marked(entries), nil
}

// marked remembers where the entries end.
func (s *Spool) marked(entries []Entry) []Entry {
	r := &s.reader
	if len(entries) == 0 {
		return nil
	}
	if len(r.marks) == 0 {
		s.mu.Lock()
		s.oldest = entries[0].At
		s.mu.Unlock()
	}
	if len(r.marks) < maxMarks {
		r.marks = append(r.marks, mark{entries[len(entries)-1].Seq, entries[0].At, r.seg, r.scan.off})
	}
	return entries
}

// pass moves the cursor to a record, if there was one, and counts what is
// missing before it. It reports false for a record that was read or acknowledged
// before, and for one that was given up, and counted, while it was read.
func (s *Spool) pass(r record, ok bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reader.readTo = s.reader.scan.off
	if !ok || r.seq <= s.cursor || s.reader.seg.gone {
		return false
	}
	s.lose(r.seq-1, Damaged)
	s.cursor = r.seq
	return true
}

// lose moves the cursor to a sequence number over records that are lost.
func (s *Spool) lose(to uint64, why Reason) {
	if to <= s.cursor {
		return
	}
	from := s.cursor + 1
	s.cursor = to
	if n := len(s.lost); n > 0 && s.lost[n-1].to == from-1 && s.lost[n-1].why == why {
		s.lost[n-1].to = to
		return
	}
	s.lost = append(s.lost, lostRange{from, to, why})
}

// enter makes the reader stand in a segment with something to read.
func (s *Spool) enter() (ok bool, err error) {
	r := &s.reader
	for {
		seg, moved := s.stand()
		if seg == nil {
			return false, nil
		}
		if moved && r.file != nil {
			err = r.file.Close()
			r.file = nil
			if err != nil {
				return false, fmt.Errorf("spool: close a segment: %w", err)
			}
		}
		if r.file != nil {
			return true, nil
		}
		if r.file, err = s.dir.open(seg.name); err == nil {
			r.scan.src = r.file
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, s.readFailed(fmt.Errorf("open %s: %w", seg.name, err))
		}
		// It was removed: given up meanwhile, or by somebody else.
		if err := s.discard(seg); err != nil {
			return false, err
		}
	}
}

// stand returns the segment to read from, nil if all was read, and whether it
// is another one than before. Crossing into a segment counts what is missing
// before it.
func (s *Spool) stand() (seg *segment, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.reader
	if r.seg != nil && r.unread() {
		r.scan.size = r.seg.size
		return r.seg, false
	}
	next := s.nextSegment()
	if next == nil {
		// A record at the very end may be known only by the state.
		s.lose(s.written, Damaged)
		return nil, false
	}
	refused, missing := s.gapBefore(next)
	if missing > 0 {
		why := Damaged
		if s.leading(next) {
			why = SpoolFull
		}
		s.lose(s.cursor+missing, why)
	}
	if refused > 0 {
		s.lose(s.cursor+refused, WriteFailed)
	}
	r.stand(next, 0)
	return next, true
}

func (r *reader) stand(seg *segment, off int64) {
	r.seg = seg
	r.readTo = max(off, headerSize)
	r.scan = scanner{
		marker: seg.marker, size: seg.size, off: r.readTo,
		win: r.scan.win[:0], lent: r.scan.lent, past: r.scan.past, spare: r.scan.spare,
	}
	r.tries = 0
}

// nextSegment is the first behind the one that the reader stands in.
func (s *Spool) nextSegment() *segment {
	for _, seg := range s.segments {
		if s.reader.seg == nil || seg.ordinal > s.reader.seg.ordinal {
			return seg
		}
	}
	return nil
}

// gapBefore counts the sequence numbers between the cursor and a segment:
// those that the disk refused, as the segment says, and those that are missing.
func (s *Spool) gapBefore(seg *segment) (refused, missing uint64) {
	if seg.first <= s.cursor+1 {
		return 0, 0
	}
	gap := seg.first - 1 - s.cursor
	refused = min(gap, seg.skipped)
	return refused, gap - refused
}

// leading says that segments are gone between the reader and a segment, or the
// rest of the one that it reads: then the records that are missing were given
// up, since nothing else removes a segment that is not acknowledged.
func (s *Spool) leading(next *segment) bool {
	r := &s.reader
	return r.seg == nil || next.ordinal > r.seg.ordinal+1 || r.seg.gone && r.readTo < r.seg.size
}

// unread says that there is more in the segment that the reader stands in.
func (r *reader) unread() bool { return !r.seg.gone && r.readTo < r.seg.size }

// readFailed turns to reading around what cannot be read, in the end.
func (s *Spool) readFailed(err error) error {
	r := &s.reader
	r.tries++
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted.readErrors++
	if r.file != nil && r.tries >= maxTries {
		r.tries = 0
		r.scan.skipUnreadable = true
		r.seg.unreadable = true
	}
	return fmt.Errorf("spool: read %s: %w", r.seg.name, err)
}

func (r *reader) close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Wait waits until at least n records can be read, or ctx ends.
func (s *Spool) Wait(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		enough := s.written >= s.cursor+uint64(n)
		s.wanted = 0
		if !enough {
			s.wanted = uint64(n)
		}
		s.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
