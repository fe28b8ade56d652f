package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustAppend(t *testing.T, s *Spool, n int, size int) {
	t.Helper()
	for i := range n {
		if _, err := s.Append([16]byte{1, byte(i), byte(i >> 8)}, nil, bytes.Repeat([]byte{'x'}, size)); err != nil {
			t.Fatal(err)
		}
	}
}

func mustRead(t *testing.T, s *Spool, n int) (last uint64) {
	t.Helper()
	for n > 0 {
		entries, err := s.Read(n, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			t.Fatalf("%d records are missing", n)
		}
		n -= len(entries)
		last = entries[len(entries)-1].Seq
	}
	return last
}

func mustOpen(t *testing.T, cfg Config, d directory) *Spool {
	t.Helper()
	s, _, err := open(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		cfg  Config
		want string
	}{
		{Config{Dir: dir, MaxBytes: 1000}, "max_bytes is 1000, must be at least 262144"},
		{Config{Dir: dir, MaxBytes: 1 << 20, Fsync: -1}, "must not be negative"},
		{Config{Dir: dir, MaxBytes: 1 << 20, SegmentBytes: 1 << 19}, "to a quarter of max_bytes"},
		{Config{Dir: filepath.Join(dir, "file", "below"), MaxBytes: 1 << 20}, "create " + filepath.Join(dir, "file")},
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if _, _, err := Open(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.cfg, err, tt.want)
		}
	}
}

func TestOpenIsExclusive(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "spool"), MaxBytes: 1 << 20}
	s, _, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(cfg); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Errorf("second: error %v", err)
	}
	mustAppend(t, s, 1, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append([16]byte{}, nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	s, found, err := Open(cfg)
	if err != nil || found.Records != 1 {
		t.Fatalf("after close: %+v, error %v", found, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(cfg.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("files %v, error %v", files, err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v", name, info.Mode(), err)
		}
	}
}

func TestReadBounds(t *testing.T) {
	s := mustOpen(t, tinyConfig(time.Second), newDisk())
	for n := range 5 {
		if _, err := s.Append([16]byte{byte(n)}, nil, bytes.Repeat([]byte{'x'}, 100)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ max, maxBytes, want int }{{2, 1000, 2}, {5, 250, 2}, {5, 1, 1}, {5, 1, 0}} {
		entries, err := s.Read(tt.max, tt.maxBytes)
		if err != nil || len(entries) != tt.want {
			t.Errorf("Read(%d, %d): %d entries, error %v, want %d", tt.max, tt.maxBytes, len(entries), err, tt.want)
		}
	}
}

// TestPayloadsStay: what one Read returned stays as it is until the next, however much
// of the spool it takes, and whatever memory of those before is used again.
func TestPayloadsStay(t *testing.T) {
	s := mustOpen(t, Config{MaxBytes: 64 << 20, SegmentBytes: 1 << 20, Fsync: time.Second}, newDisk())
	payload := func(n uint64) []byte {
		size := 1000 + n*7919%3000
		if n%400 == 0 {
			size = 2 * chunk
		}
		return bytes.Repeat([]byte{byte(n), byte(n >> 8)}, int(size))
	}
	for n := range uint64(2000) {
		if _, err := s.Append([16]byte{1}, nil, payload(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	seen := uint64(0)
	for round := 0; ; round++ {
		entries, err := s.Read(1000, []int{3 << 20, 100, 8 << 20}[round%3])
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			if seen++; e.Seq != seen || !bytes.Equal(e.Payload, payload(e.Seq)) {
				t.Fatalf("record %d is not what was appended as %d", e.Seq, seen)
			}
		}
	}
	if n := len(s.reader.scan.spare); seen != 2000 || n == 0 || n > maxSpareWindows {
		t.Errorf("%d records, %d windows are kept", seen, n)
	}
}

func TestAckIsChecked(t *testing.T) {
	s := mustOpen(t, tinyConfig(time.Second), newDisk())
	mustAppend(t, s, 4, 10)
	mustRead(t, s, 3)
	if err := s.Ack(4, Outcome{}); err == nil {
		t.Error("a record that was not read was acknowledged")
	}
	if err := s.Ack(2, Outcome{SetAside: 1, Amended: 1, Discarded: 1}); err == nil {
		t.Error("an outcome of more records than were acknowledged was taken")
	}
	if err := s.Ack(2, Outcome{SetAside: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack(1, Outcome{SetAside: 1}); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := s.Settle(Settlement{Retried: 2}); err == nil {
		t.Error("more was settled than is set aside")
	}
	want := Counters{Accepted: 4, Inserted: 1, SetAside: 1, Spooled: 2}
	if got := s.Counters(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := s.Settle(Settlement{Discarded: 1, Retired: 1}); err != nil {
		t.Fatal(err)
	}
	want = Counters{Accepted: 4, Inserted: 1, Spooled: 2, Retired: 1, Dropped: Drops{Discarded: 1}}
	if got := s.Counters(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestFull fills the spool while nobody reads: the oldest are given up, the
// bound holds, and what is left is the newest, in order.
func TestFull(t *testing.T) {
	cfg := Config{MaxBytes: 8000, SegmentBytes: 1000, Fsync: time.Second, Late: time.Second}
	d := newDisk()
	s, _, err := open(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	inHand := uint64(0)
	for n := range 200 {
		if n == 20 {
			inHand = mustRead(t, s, 2)
		}
		mustAppend(t, s, 1, 200)
		var onDisk int64
		for name, node := range d.names {
			if strings.HasSuffix(name, segmentSuffix) {
				onDisk += int64(len(node.data))
			}
		}
		if st := s.Stats(); st.Bytes > cfg.MaxBytes || onDisk != st.Bytes {
			t.Fatalf("%d bytes, %d on disk", st.Bytes, onDisk)
		}
		balance(t, s, fmt.Sprintf("record %d", n))
	}
	c := s.Counters()
	if c.Dropped != (Drops{SpoolFull: c.Dropped[SpoolFull]}) || c.Spooled < 20 || c.Spooled > 32 {
		t.Errorf("%+v", c)
	}
	// What the consumer has in hand is not lost with its segment.
	if err := s.Ack(inHand, Outcome{}); err != nil {
		t.Fatal(err)
	}
	if after := s.Counters(); after.Inserted != 2 || after.Spooled != c.Spooled-2 || after.Dropped != c.Dropped {
		t.Errorf("after acknowledging two: %+v, before %+v", after, c)
	}

	// A process that is killed now comes to the same counts.
	for name, s := range map[string]*Spool{"as it was": s, "after a restart": mustOpen(t, cfg, d.killed())} {
		before := s.Counters()
		first := uint64(0)
		for {
			entries, err := s.Read(10, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				break
			}
			for _, e := range entries {
				if first == 0 {
					first = e.Seq
				}
			}
			if err := s.Ack(entries[len(entries)-1].Seq, Outcome{}); err != nil {
				t.Fatal(err)
			}
			balance(t, s, name)
		}
		after := s.Counters()
		if after.Dropped != c.Dropped || before.Dropped != c.Dropped || after.Accepted != 200 || after.Spooled != 0 {
			t.Errorf("%s: %+v, before %+v", name, after, before)
		}
		if first != 201-(c.Spooled-2) {
			t.Errorf("%s: the first is %d of %d", name, first, c.Spooled-2)
		}
	}
}

// TestShrink restarts a spool with a smaller bound: the old segments are given
// up as it is filled, and a power cut then does not forget that they were there.
func TestShrink(t *testing.T) {
	d := newDisk()
	s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 32 << 10, Fsync: time.Second, Late: time.Second}, d)
	mustAppend(t, s, 100, 1000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := Config{MaxBytes: 8 << 10, SegmentBytes: 2 << 10, Fsync: time.Second, Late: time.Second}
	s = mustOpen(t, cfg, d.killed())
	d = s.dir.(*disk)
	mustAppend(t, s, 1, 1000)
	want := Counters{Accepted: 101, Spooled: 1, Dropped: Drops{SpoolFull: 100}}
	if got := s.Counters(); got != want || s.bytes > cfg.MaxBytes {
		t.Errorf("%+v, want %+v, %d bytes", got, want, s.bytes)
	}
	for _, cut := range cuts(40, 1) {
		s := mustOpen(t, cfg, d.cutPower(cut))
		c := s.Counters()
		balance(t, s, cut.name)
		if c.Accepted < 100 {
			t.Errorf("%s: %+v", cut.name, c)
		}
		mustAppend(t, s, 1, 1000)
		if entries, err := s.Read(1000, 1<<20); err != nil || entries[len(entries)-1].Seq <= 100 {
			t.Errorf("%s: %d entries, error %v", cut.name, len(entries), err)
		}
		balance(t, s, cut.name)
	}
}

// TestRewind reads again what was not acknowledged, from any place.
func TestRewind(t *testing.T) {
	s := mustOpen(t, tinyConfig(time.Second), newDisk())
	mustAppend(t, s, 20, 100)
	for _, n := range []int{3, 1, 7, 5} {
		mustRead(t, s, n)
	}
	for _, ack := range []uint64{0, 4, 6, 11, 16} {
		if err := s.Ack(ack, Outcome{}); err != nil {
			t.Fatal(err)
		}
		if err := s.Rewind(); err != nil {
			t.Fatal(err)
		}
		entries, err := s.Read(100, 1<<20)
		if err != nil || len(entries) != int(20-ack) || entries[0].Seq != ack+1 {
			t.Fatalf("after %d: %d entries, error %v", ack, len(entries), err)
		}
		if s.reader.scan.read > 4000 {
			t.Errorf("after %d: read %d bytes", ack, s.reader.scan.read)
		}
	}
}

// TestUnreadable has a disk that cannot read a place: Read fails, then passes
// over it, and the segment is kept in case the disk can, one day.
func TestUnreadable(t *testing.T) {
	d := newDisk()
	s := mustOpen(t, Config{MaxBytes: 1 << 20, SegmentBytes: 32 << 10, Fsync: time.Second, Late: time.Second}, d)
	mustAppend(t, s, 40, 1000)
	name := s.segments[0].name
	d.unreadable = map[string]int64{name: 10_000}
	found, failures := 0, 0
	for {
		entries, err := s.Read(5, 1<<20)
		if err != nil {
			failures++
			continue
		}
		if len(entries) == 0 {
			break
		}
		found += len(entries)
	}
	// The place is in one block of 4 KiB, which four or five records share.
	c := s.Counters()
	if failures != maxTries || c.Dropped[Damaged] < 3 || c.Dropped[Damaged] > 6 || found+int(c.Dropped[Damaged]) != 40 {
		t.Errorf("%d found, %d failures, %+v", found, failures, c)
	}
	if err := s.Ack(40, Outcome{}); err != nil {
		t.Fatal(err)
	}
	if d.names[name] != nil || d.names[name+asideSuffix] == nil {
		t.Error("the segment was not kept aside")
	}
	balance(t, s, "unreadable")
}

// TestOpenReadsLittle bounds what Open reads by one segment, however full the spool is.
func TestOpenReadsLittle(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), MaxBytes: 64 << 20, SegmentBytes: 256 << 10, Fsync: time.Second}
	s, _, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 5000, 2000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, found, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if found.Records != 5000 || found.Segments < 30 || found.Bytes < 10_000_000 {
		t.Errorf("%+v", found)
	}
	if limit := cfg.SegmentBytes + int64(found.Segments)*headerSize; found.BytesRead > limit {
		t.Errorf("read %d bytes, want at most %d", found.BytesRead, limit)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestConcurrent appends from many goroutines, reads and acknowledges beside
// them, on the real disk.
func TestConcurrent(t *testing.T) {
	for _, fsync := range []time.Duration{0, time.Millisecond} {
		t.Run(fsync.String(), func(t *testing.T) {
			const writers, each = 16, 60
			s := running(t, Config{MaxBytes: 16 << 20, SegmentBytes: 16 << 10, Fsync: fsync})
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for n := range each {
						var id [16]byte
						binary.LittleEndian.PutUint64(id[:], uint64(w*each+n+1))
						if _, err := s.Append(id, nil, helperPayload(id)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			wg.Go(func() {
				for ctx.Err() == nil {
					balance(t, s, "meanwhile")
				}
			})
			defer wg.Wait()
			defer cancel()
			seen := map[[16]byte]bool{}
			for len(seen) < writers*each && !t.Failed() {
				if err := s.Wait(ctx, 1); err != nil {
					t.Fatalf("%d seen: %v", len(seen), err)
				}
				entries, err := s.Read(50, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if seen[e.ID] || !bytes.Equal(e.Payload, helperPayload(e.ID)) {
						t.Errorf("%x: twice, or not what was appended", e.ID)
					}
					seen[e.ID] = true
				}
				if len(entries) > 0 {
					if err := s.Ack(entries[len(entries)-1].Seq, Outcome{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if c := s.Counters(); c.Inserted != writers*each || c.Spooled != 0 || c.Dropped.Total() != 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}
