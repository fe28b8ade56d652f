package spool

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
)

// chunk is how much is read at once, and block what is given up of it where the
// disk cannot read.
const (
	chunk = 256 << 10
	block = 4 << 10

	// maxSpareWindows is how many chunks are kept for the next batch.
	maxSpareWindows = 4
)

// scanner finds the good records of a segment, through a window that moves
// over it.
type scanner struct {
	src    io.ReaderAt
	marker marker
	size   int64 // how much of src holds records
	off    int64 // where the next frame is expected

	// skipUnreadable takes for zeros what the disk cannot read.
	skipUnreadable bool

	base int64 // where window begins
	win  []byte
	lent bool  // parts of win are in use: it is not written to
	read int64 // bytes read from src

	past  [][]byte // windows that it moved on from while they were lent
	spare [][]byte // windows to use again, of a chunk each
}

// record is a good record; its payload is valid until the scanner moves.
type record struct {
	frame
	payload []byte
}

// span is a range of bytes in a segment.
type span struct{ from, to int64 }

// next returns the next good record and what had to be skipped before it. At
// the end there is none, and the span reaches to the end. It trusts no length
// that is not covered by a good checksum: behind damage it looks for the marker.
func (s *scanner) next() (r record, skipped span, ok bool, err error) {
	skipped.from = s.off
	for at := s.off; at < s.size; {
		if r, ok, err = s.recordAt(at); err != nil {
			return record{}, span{}, false, err
		}
		if ok {
			s.off = at + frameSize + int64(r.length)
			skipped.to = at
			return r, skipped, true, nil
		}
		if at, err = s.find(at + 1); err != nil {
			return record{}, span{}, false, err
		}
	}
	s.off = max(s.off, s.size)
	skipped.to = s.off
	return record{}, skipped, false, nil
}

// take returns the payload of the record that next returned last. It stays valid
// until giveBack.
func (s *scanner) take(r record) []byte {
	s.lent = true
	return r.payload
}

// giveBack ends the use of all that take returned.
func (s *scanner) giveBack() {
	s.lent = false
	for _, win := range s.past {
		if cap(win) == chunk && len(s.spare) < maxSpareWindows {
			s.spare = append(s.spare, win)
		}
	}
	clear(s.past)
	s.past = s.past[:0]
}

// fresh returns a window that is not lent.
func (s *scanner) fresh(size int) []byte {
	if !s.lent {
		return make([]byte, size)
	}
	s.past, s.lent = append(s.past, s.win), false
	if n := len(s.spare); n > 0 && size <= chunk {
		win := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return win[:size]
	}
	return make([]byte, size, max(size, chunk))
}

func (s *scanner) recordAt(at int64) (record, bool, error) {
	b, err := s.bytes(at, frameSize)
	if err != nil {
		return record{}, false, err
	}
	f, ok := parseFrame(b, s.marker)
	if !ok || at+frameSize+int64(f.length) > s.size {
		return record{}, false, nil
	}
	if b, err = s.bytes(at, frameSize+int64(f.length)); err != nil {
		return record{}, false, err
	}
	payload := b[frameSize : frameSize+int(f.length)]
	return record{f, payload}, crc32.Checksum(payload, castagnoli) == f.crc, nil
}

// find returns where the marker occurs at or after at; the size if nowhere.
func (s *scanner) find(at int64) (int64, error) {
	for at+int64(len(s.marker)) <= s.size {
		b, err := s.bytes(at, int64(len(s.marker)))
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(b, s.marker[:]); i >= 0 {
			return at + int64(i), nil
		}
		at += int64(len(b) - len(s.marker) + 1)
	}
	return s.size, nil
}

// bytes returns the segment from at on, at least n bytes of it if it has them.
func (s *scanner) bytes(at, n int64) ([]byte, error) {
	n = min(n, s.size-at)
	if at >= s.base && at+n <= s.base+int64(len(s.win)) {
		return s.win[at-s.base:], nil
	}
	want := int(min(max(n, chunk), s.size-at))
	// One huge record must not keep its memory.
	if s.lent || cap(s.win) < want || cap(s.win) > 4*chunk && want <= chunk {
		s.win = s.fresh(want)
	}
	s.base, s.win = at, s.win[:want]
	got, err := s.src.ReadAt(s.win, at)
	s.read += int64(got)
	if got == want || errors.Is(err, io.EOF) {
		clear(s.win[got:])
		return s.win, nil
	}
	if s.skipUnreadable {
		s.readBlocks(got)
		return s.win, nil
	}
	s.win = s.win[:0]
	return nil, err
}

// damagedTail counts the records in the unreadable end of a segment. None are
// in one that a write left which was cut off: the frame runs over the end, or
// the disk had made room for it and no more.
func (s *scanner) damagedTail(tail span) (n uint64, err error) {
	if tail.to-tail.from < frameSize {
		return 0, nil
	}
	b, err := s.bytes(tail.from, frameSize)
	if err != nil {
		return 0, err
	}
	if f, ok := parseFrame(b, s.marker); ok && tail.from+frameSize+int64(f.length) > tail.to {
		return 0, nil
	}
	if zero, err := s.zero(tail); zero || err != nil {
		return 0, err
	}
	for at := tail.from; at < tail.to; at++ {
		if at, err = s.find(at); err != nil {
			return 0, err
		}
		if at < tail.to {
			n++
		}
	}
	return max(n, 1), nil
}

func (s *scanner) zero(in span) (bool, error) {
	for at := in.from; at < in.to; {
		b, err := s.bytes(at, 1)
		if err != nil {
			return false, err
		}
		b = b[:min(int64(len(b)), in.to-at)]
		if len(bytes.TrimLeft(b, "\x00")) > 0 {
			return false, nil
		}
		at += int64(len(b))
	}
	return true, nil
}

// readBlocks reads the window block by block from got on.
func (s *scanner) readBlocks(got int) {
	for got < len(s.win) {
		b := s.win[got:min(got+block, len(s.win))]
		n, err := s.src.ReadAt(b, s.base+int64(got))
		if err != nil {
			clear(b[n:])
		}
		s.read += int64(n)
		got += len(b)
	}
}
