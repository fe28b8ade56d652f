package spool

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Ack says that all records up to seq have left: inserted, but for those that
// the outcome names. The acknowledgement is in the kernel when Ack returns, with
// what it counts; segments that have wholly left are removed.
//
// An error about the disk does not undo it: until it could be written, records
// may come again after a crash.
func (s *Spool) Ack(seq uint64, o Outcome) error {
	s.consumer.Lock()
	defer s.consumer.Unlock()
	if err := s.acknowledge(seq, o); err != nil {
		return err
	}
	s.lookAhead()
	return errors.Join(s.keepState(false), s.reap())
}

// lookAhead finds the age of the first record that is not acknowledged, if it
// was not read yet.
func (s *Spool) lookAhead() {
	r := &s.reader
	s.mu.Lock()
	known := len(r.marks) > 0 || s.written == s.state.ack || r.file == nil
	var oldest time.Time
	if !known {
		r.scan.size = r.seg.size
		if next := s.nextSegment(); next != nil {
			oldest = next.created
		}
	}
	s.mu.Unlock()
	if known {
		return
	}
	if r.scan.off < r.scan.size {
		if b, err := r.scan.bytes(r.scan.off, frameSize); err == nil {
			if f, ok := parseFrame(b, r.seg.marker); ok {
				oldest = f.at
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !oldest.IsZero() {
		s.oldest = oldest
	}
}

func (s *Spool) acknowledge(seq uint64, o Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq > s.cursor {
		return fmt.Errorf("spool: acknowledged record %d, read only up to %d", seq, s.cursor)
	}
	if seq <= s.state.ack {
		return nil
	}
	var dropped Drops
	folded := 0
	for _, l := range s.lost {
		if l.from > seq+1 {
			break
		}
		seq = max(seq, l.to)
		dropped[l.why] += l.to - l.from + 1
		folded++
	}
	left := seq - s.state.ack - dropped.Total()
	other := o.Amended + o.SetAside + o.Discarded
	if other > left {
		return fmt.Errorf("spool: the outcome of %d records says %d were not inserted", left, other)
	}
	s.lost = slices.Delete(s.lost, 0, folded)
	st := &s.state
	st.ack = seq
	st.inserted += left - other
	st.amended += o.Amended
	st.setAside += o.SetAside
	st.dropped[Discarded] += o.Discarded
	for why, n := range dropped {
		st.dropped[why] += n
	}
	s.stateAge = true
	r := &s.reader
	for len(r.marks) > 0 && r.marks[0].seq <= seq {
		r.start = r.marks[0]
		r.marks = slices.Delete(r.marks, 0, 1)
	}
	if len(r.marks) > 0 {
		s.oldest = r.marks[0].at
	}
	return nil
}

// Settle counts what happened to records after they were acknowledged.
func (s *Spool) Settle(t Settlement) error {
	s.mu.Lock()
	st := &s.state
	if t.Retried+t.Discarded > st.setAside {
		aside := st.setAside
		s.mu.Unlock()
		return fmt.Errorf("spool: settled %d records, only %d are set aside", t.Retried+t.Discarded, aside)
	}
	st.setAside -= t.Retried + t.Discarded
	st.inserted += t.Retried
	st.dropped[Discarded] += t.Discarded
	st.retired += t.Retired
	s.stateAge = true
	s.mu.Unlock()
	return s.keepState(false)
}

// Rewind makes Read begin again at the first record that was not acknowledged.
// What was read and is not acknowledged must be let go: it comes again, unless
// it was given up meanwhile.
func (s *Spool) Rewind() error {
	s.consumer.Lock()
	defer s.consumer.Unlock()
	err := s.reader.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = s.state.ack
	s.lost = nil
	r := &s.reader
	r.marks = nil
	r.seg = nil
	if seg := r.start.seg; seg != nil && !seg.gone {
		r.stand(seg, r.start.off)
	}
	return err
}
