package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Recovery is what Open found. It reads the newest segment, and of the others
// only the headers: damage in those is found, counted and kept aside by Read.
type Recovery struct {
	// Records is how many are spooled, including what may turn out damaged.
	Records  uint64
	Segments int
	Bytes    int64
	// TornBytes end the newest segment where a write was cut off; no Append
	// returned in time for what they were.
	TornBytes int64
	// Damaged is how many records at the end of the newest segment cannot be
	// read. They are counted as such.
	Damaged uint64
	// Aside are the bytes kept aside, from earlier damage.
	Aside int64
	// StateLost: the state file cannot be read. The counters begin anew, and
	// records may come again.
	StateLost bool
	BytesRead int64
	Duration  time.Duration
}

// Open opens the spool in cfg.Dir and locks it; it fails with ErrLocked if
// another process has it. It starts nothing, see Run, and does not wait for the disk
// to sync.
func Open(cfg Config) (*Spool, Recovery, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, Recovery{}, err
	}
	dir, err := openDirectory(cfg.Dir)
	if err != nil {
		return nil, Recovery{}, err
	}
	s, found, err := open(cfg, dir)
	if err != nil {
		return nil, found, errors.Join(err, dir.Close())
	}
	return s, found, nil
}

// open opens the spool in a directory, with a config that has its defaults.
func open(cfg Config, dir directory) (s *Spool, found Recovery, err error) {
	start := time.Now()
	s = &Spool{
		cfg:        cfg,
		dir:        dir,
		maxPayload: int(min(maxPayload, cfg.MaxBytes/4)),
		maxQueued:  int(min(maxQueuedBytes, cfg.MaxBytes/4)),
		ready:      make(chan struct{}, 1),
	}
	s.work.L, s.idle.L = &s.mu, &s.mu
	if s.stateFile, s.state, found.StateLost, err = openState(dir); err != nil {
		return nil, found, err
	}
	if err := s.recover(&found); err != nil {
		return nil, found, errors.Join(err, s.stateFile.f.Close())
	}
	found.Duration = time.Since(start)
	return s, found, nil
}

// recover takes over what is in the directory.
func (s *Spool) recover(found *Recovery) error {
	segments, err := s.findSegments(found)
	if err != nil {
		return err
	}
	st := &s.state
	if len(segments) > 0 && (found.StateLost || st.generation == 0) {
		found.StateLost = true
		*st = state{ack: segments[0].first - 1, base: segments[0].first - 1}
	}
	end := st.ack
	for i, seg := range segments {
		seg.sealed, seg.synced = true, seg.size
		s.adopt(seg)
		s.bytes += seg.size
		// Two segments begin alike if the first could not be removed after a
		// write to it had failed.
		rest := segments[i+1:]
		later := slices.IndexFunc(rest, func(other *segment) bool { return other.first > seg.first })
		if later >= 0 {
			seg.last = rest[later].first - 1 - min(rest[later].skipped, rest[later].first-1)
			continue
		}
		if err := s.findEnd(seg, found); err != nil {
			return err
		}
		end = max(end, seg.last)
	}
	last := max(end, st.tail+st.burned)
	if end >= st.tail {
		st.burned = last - end
	}
	s.next, s.written, s.cursor = last+1, last-st.burned, st.ack
	st.tail = s.written
	if len(segments) > 0 {
		s.oldest = segments[0].created
	}
	found.Segments, found.Bytes = len(segments), s.bytes
	found.Records = s.spooled()
	s.dirDirty = true       // who made the names may not have lived to sync them
	if st.generation == 0 { // a kill must not leave records without a state
		return s.stateFile.write(*st)
	}
	return nil
}

// findSegments reads the headers.
func (s *Spool) findSegments(found *Recovery) ([]*segment, error) {
	files, err := s.dir.list()
	if err != nil {
		return nil, fmt.Errorf("spool: list the directory: %w", err)
	}
	var segments []*segment
	for _, f := range files {
		if strings.HasSuffix(f.name, asideSuffix) {
			s.counted.keptBytes += f.size
		}
		first, m, ok := parseName(f.name)
		if !ok || first == 0 {
			continue
		}
		h, n, err := s.readHeader(f.name)
		found.BytesRead += int64(n)
		if errors.Is(err, errDamagedHeader) {
			h, err = segmentHeader{marker: m, first: first, created: time.Now()}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("spool: %s: %w", f.name, err)
		}
		segments = append(segments, &segment{segmentHeader: h, name: f.name, size: f.size})
	}
	found.Aside = s.counted.keptBytes
	slices.SortFunc(segments, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.name, b.name))
	})
	return segments, nil
}

func (s *Spool) readHeader(name string) (segmentHeader, int, error) {
	f, err := s.dir.open(name)
	if err != nil {
		return segmentHeader{}, 0, err
	}
	var b [headerSize]byte
	n, err := f.ReadAt(b[:], 0)
	err = errors.Join(ignoreEOF(err), f.Close())
	if err != nil {
		return segmentHeader{}, n, err
	}
	h, err := parseHeader(b[:n])
	return h, n, err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// findEnd reads the newest segment to know its last record.
func (s *Spool) findEnd(seg *segment, found *Recovery) (err error) {
	f, err := s.dir.open(seg.name)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	scan := scanner{src: f, marker: seg.marker, size: seg.size, off: headerSize, skipUnreadable: true}
	seg.last = seg.first - 1
	for {
		r, skipped, ok, err := scan.next()
		if err != nil {
			return fmt.Errorf("spool: read %s: %w", seg.name, err)
		}
		if ok {
			seg.last = max(seg.last, r.seq)
			continue
		}
		damaged, err := scan.damagedTail(skipped)
		if err != nil {
			return fmt.Errorf("spool: read %s: %w", seg.name, err)
		}
		if damaged == 0 {
			found.TornBytes += skipped.to - skipped.from
		}
		found.Damaged += damaged
		found.BytesRead += scan.read
		seg.last += damaged
		return nil
	}
}
