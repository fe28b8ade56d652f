package spool

import (
	"errors"
	"fmt"
	"io/fs"
)

// setAside counts what cannot be read, and keeps a copy of it as long as the
// bound for that allows; a piece of a segment is of use only to a person.
func (s *Spool) setAside(where span) {
	r := &s.reader
	n := where.to - where.from
	if r.seg.ordinal < r.damageSegment || r.seg.ordinal == r.damageSegment && where.to <= r.damageEnd {
		return
	}
	r.damageSegment, r.damageEnd = r.seg.ordinal, where.to
	damaged := uint64(1)
	var err error
	if where.to == r.scan.size {
		damaged, err = r.scan.damagedTail(where)
	}
	s.mu.Lock()
	if damaged > 0 {
		s.counted.damagedRegions++
		s.counted.damagedBytes += n
	} else {
		s.counted.tornBytes += n
	}
	fits := s.counted.keptBytes+n <= s.cfg.MaxBytes/asideShare
	s.mu.Unlock()
	if err == nil && fits {
		err = s.copyAside(where)
	}
	if err != nil {
		s.note(fmt.Errorf("keep aside %d bytes of %s: %w", n, r.seg.name, err))
	}
}

func (s *Spool) copyAside(where span) error {
	r := &s.reader
	name := fmt.Sprintf("%s-%d%s", r.seg.name, where.from, asideSuffix)
	f, err := s.dir.create(name)
	if errors.Is(err, fs.ErrExist) {
		return nil // from before a restart
	}
	if err != nil {
		return err
	}
	for at := where.from; err == nil && at < where.to; {
		var b []byte
		if b, err = r.scan.bytes(at, 1); err == nil {
			b = b[:min(int64(len(b)), where.to-at)]
			_, err = f.WriteAt(b, at-where.from)
			at += int64(len(b))
		}
	}
	err = errors.Join(err, f.Sync(), f.Close())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirDirty = true
	s.counted.keptBytes += where.to - where.from
	return err
}
