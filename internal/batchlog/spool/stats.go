package spool

import "time"

// Stats is a glance at the spool. Where nothing else is said, what it counts
// begins with Open.
type Stats struct {
	Counters // since the spool was made

	Segments int
	// Bytes are those of the segments on disk, Late those of Appended that did
	// not wait for the disk, Queued the bytes that wait for it now.
	Bytes     int64
	Queued    int
	Appended  uint64
	Late      uint64
	OldestAge time.Duration // of the first record that is not acknowledged; 0 if all are

	WriteErrors, ReadErrors, SyncErrors uint64
	// LastError is the last of them, nil if there was none.
	LastError    error
	Fsyncs       uint64
	FsyncSeconds float64
	// GivenUpBytes are those of segments given up because the spool was full.
	GivenUpBytes int64

	// DamagedRegions and DamagedBytes could not be read; AsideBytes are kept of
	// them, also from before Open. TornBytes were left by writes that were cut off.
	DamagedRegions uint64
	DamagedBytes   int64
	TornBytes      int64
	AsideBytes     int64
}

// Stats does not touch the disk.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.counted
	st := Stats{
		Counters:       s.counters(),
		Segments:       len(s.segments),
		Bytes:          s.bytes,
		Queued:         s.queued,
		Appended:       c.appended,
		Late:           c.late,
		WriteErrors:    c.writeErrors,
		ReadErrors:     c.readErrors,
		SyncErrors:     c.syncErrors,
		LastError:      c.lastError,
		Fsyncs:         c.syncs,
		FsyncSeconds:   c.syncTime.Seconds(),
		GivenUpBytes:   c.givenUpBytes,
		DamagedRegions: c.damagedRegions,
		DamagedBytes:   c.damagedBytes,
		TornBytes:      c.tornBytes,
		AsideBytes:     c.keptBytes,
	}
	if st.Spooled > 0 && !s.oldest.IsZero() {
		st.OldestAge = max(0, time.Since(s.oldest))
	}
	return st
}

// Counters are those of Stats.
func (s *Spool) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters()
}

func (s *Spool) counters() Counters {
	st := &s.state
	c := Counters{
		Accepted: s.next - 1 - st.base + st.doorDrops(),
		Inserted: st.inserted,
		Amended:  st.amended,
		SetAside: st.setAside,
		Retired:  st.retired,
		Dropped:  st.dropped,
		Spooled:  s.spooled(),
	}
	for why, n := range s.known() {
		c.Dropped[why] += n
	}
	return c
}

// spooled is how many records have neither left nor are known to be lost.
func (s *Spool) spooled() uint64 {
	return s.next - 1 - s.state.ack - s.known().Total()
}

// known are the losses behind the acknowledgement that are known by now: what
// the reader passed over, what was given up before it, what the disk refused.
func (s *Spool) known() (d Drops) {
	for _, l := range s.lost {
		d[l.why] += l.to - l.from + 1
	}
	d[WriteFailed] += s.state.burned
	r := &s.reader
	next := s.nextSegment()
	for _, seg := range s.segments {
		if r.seg != nil && seg.ordinal <= r.seg.ordinal {
			continue
		}
		refused, missing := s.gapBefore(seg)
		d[WriteFailed] += refused
		// Before the others it is records that were not read yet.
		if seg == next && s.leading(seg) && (r.seg == nil || !r.unread()) {
			d[SpoolFull] += missing
		}
	}
	return d
}
