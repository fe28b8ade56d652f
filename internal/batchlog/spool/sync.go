package spool

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// commit makes durable what was written to a segment, for Append.
func (s *Spool) commit(seg *segment) error {
	s.mu.Lock()
	dirty := s.dirDirty
	s.mu.Unlock()
	if err := s.syncSegment(seg); err != nil {
		return err
	}
	if dirty {
		if err := s.syncDirectory(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncFailing = false
	return nil
}

// sync makes durable all that was written, and closes what is finished.
func (s *Spool) sync() error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.mu.Lock()
	handles, dirDirty := slices.Clone(s.handles), s.dirDirty
	s.mu.Unlock()
	var errs []error
	clean := true
	for _, seg := range handles {
		if err := s.syncSegment(seg); err != nil {
			clean = false
			errs = append(errs, err)
			s.mu.Lock()
			seg.failed = seg.failed || !s.syncFailing
			s.syncFailing = true
			s.mu.Unlock()
		}
	}
	if dirDirty {
		errs = append(errs, s.syncDirectory())
	}
	s.mu.Lock()
	s.syncFailing = s.syncFailing && !clean
	finished := s.finishedHandles()
	s.mu.Unlock()
	for _, seg := range finished {
		errs = append(errs, seg.file.Close())
	}
	errs = append(errs, s.keepState(true), s.reap())
	err := errors.Join(errs...)
	if err != nil {
		s.note(err)
	}
	return err
}

// finishedHandles takes out those that nobody writes to or syncs any more.
func (s *Spool) finishedHandles() (finished []*segment) {
	s.handles = slices.DeleteFunc(s.handles, func(seg *segment) bool {
		done := seg.sealed && (seg.gone || seg.synced == seg.size)
		if done {
			finished = append(finished, seg)
		}
		return done
	})
	return finished
}

func (s *Spool) syncSegment(seg *segment) error {
	s.mu.Lock()
	size := seg.size
	needed := !seg.gone && seg.synced < size
	s.mu.Unlock()
	if !needed {
		return nil
	}
	start := time.Now()
	err := seg.file.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted.syncs++
	s.counted.syncTime += time.Since(start)
	if err != nil {
		s.counted.syncErrors++
		return fmt.Errorf("sync %s: %w", seg.name, err)
	}
	seg.synced = max(seg.synced, size)
	return nil
}

func (s *Spool) syncDirectory() error {
	s.mu.Lock()
	s.dirDirty = false
	s.mu.Unlock()
	err := s.dir.sync()
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirDirty = true
	s.counted.syncErrors++
	return fmt.Errorf("sync the spool's directory: %w", err)
}

// takeOver makes durable what was found, with its names, before the first change of
// the state is written. It is called with stateMu held.
func (s *Spool) takeOver() error {
	if s.takenOver {
		return nil
	}
	// The newer slot may be in the kernel alone, and the older one be all that the
	// disk has.
	if err := s.stateFile.sync(); err != nil {
		return err
	}
	s.mu.Lock()
	st := s.state
	s.mu.Unlock()
	if err := s.stateFile.mirror(st); err != nil {
		return err
	}
	if err := s.syncDirectory(); err != nil {
		return err
	}
	s.takenOver = true
	return nil
}

// keepState writes the state if it has changed; durable also syncs it.
func (s *Spool) keepState(durable bool) error {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if err := s.takeOver(); err != nil {
		return err
	}
	s.mu.Lock()
	st, changed := s.state, s.stateAge
	s.stateAge = false
	s.mu.Unlock()
	if changed {
		if err := s.stateFile.write(st); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.stateAge = true
			return err
		}
	}
	if durable {
		return s.stateFile.sync()
	}
	return nil
}

// reap removes the segments that have wholly left, once it is durable that
// they have: a state that says less would take them for lost.
func (s *Spool) reap() error {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	s.mu.Lock()
	var done []*segment
	for _, seg := range s.segments {
		if seg.sealed && seg.last <= s.state.ack {
			done = append(done, seg)
		}
	}
	st := s.state
	s.mu.Unlock()
	for _, seg := range done {
		if s.stateFile.mirrored < seg.last {
			if err := s.stateFile.mirror(st); err != nil {
				return err
			}
		}
		if err := s.discard(seg); err != nil {
			return err
		}
	}
	return nil
}
