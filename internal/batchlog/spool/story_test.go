package spool

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// story is a run of the spool on a disk that may fail, and what it was told.
type story struct {
	disk *disk
	cfg  Config
	s    *Spool

	payloads map[[16]byte][]byte // all that were offered
	appended map[uint64][16]byte // where Append returned nil
	offered  int

	ackCalled, ackReturned uint64
	// synced is up to where a sync has covered what was appended.
	synced  uint64
	highest uint64
	inHand  uint64 // read and not acknowledged
	refused []error
}

func tinyConfig(fsync time.Duration) Config {
	return Config{MaxBytes: 1 << 20, SegmentBytes: 600, Fsync: fsync, Late: time.Second}
}

func newStory(cfg Config) *story {
	return &story{disk: newDisk(), cfg: cfg, payloads: map[[16]byte][]byte{}, appended: map[uint64][16]byte{}}
}

func (y *story) open() (err error) {
	if y.s, _, err = open(y.cfg, y.disk); err != nil && !y.disk.crashed {
		// The operator sees it, and starts again.
		y.s, _, err = open(y.cfg, y.disk)
	}
	return err
}

func (y *story) append(n int) func() error {
	return func() error {
		for range n {
			y.offered++
			id := [16]byte{byte(y.offered), byte(y.offered >> 8), 0x70}
			payload := bytes.Repeat([]byte{byte('a' + y.offered%26)}, 90+7*(y.offered%9))
			y.payloads[id] = payload
			seq, err := y.s.Append(id, nil, payload)
			if err != nil {
				if y.disk.crashed {
					return err
				}
				y.refused = append(y.refused, err)
				continue
			}
			y.appended[seq] = id
			y.highest = max(y.highest, seq)
			if y.cfg.Fsync == 0 {
				y.synced = y.highest
			}
		}
		return nil
	}
}

func (y *story) sync() error {
	upTo := y.highest
	err := y.s.sync()
	if err == nil {
		y.synced = upTo
	}
	return err
}

func (y *story) read(n int) func() error {
	return func() error {
		entries, err := y.s.Read(n, 1<<20)
		for _, e := range entries {
			y.inHand = e.Seq
		}
		return err
	}
}

func (y *story) ack(o Outcome) func() error {
	return func() error {
		if y.inHand <= y.ackReturned {
			return nil
		}
		y.ackCalled = y.inHand
		if err := y.s.Ack(y.inHand, o); err != nil {
			return err
		}
		y.ackReturned = y.inHand
		return nil
	}
}

func (y *story) rewind() error { return y.s.Rewind() }

func (y *story) settle() error {
	if y.s.Counters().SetAside == 0 {
		return nil
	}
	return y.s.Settle(Settlement{Retried: 1, Retired: 1})
}

func (y *story) close() error {
	upTo := y.highest
	err := y.s.Close()
	if err == nil {
		y.synced = upTo
	}
	return err
}

// run plays the steps until the machine is gone. Other errors are what the disk
// was told to return: the spool must live with them.
func (y *story) run(steps ...func() error) {
	for _, step := range steps {
		if err := step(); err != nil && y.disk.crashed {
			return
		}
	}
}

// tale appends, rotates, syncs, reads, acknowledges, deletes and restarts, once
// after Close and once as after kill -9.
func (y *story) tale() []func() error {
	return []func() error{
		y.open, y.append(5), y.read(2), y.ack(Outcome{}), y.sync, y.append(3), y.read(3),
		y.ack(Outcome{SetAside: 1}), y.settle, y.append(2), y.read(3), y.rewind, y.read(2), y.ack(Outcome{Amended: 1}),
		y.close, y.open, y.append(4), y.read(100), y.append(2), y.sync, y.append(1), y.ack(Outcome{}), y.append(3), y.read(1), y.ack(Outcome{}),
		y.open, y.read(1), y.ack(Outcome{}), y.append(2),
	}
}

type loss int

const (
	lossNone     loss = iota // none of what Append returned
	lossUnsynced             // what was appended since the last sync
)

// check opens the spool that a story left behind, and reads it to its end.
func (y *story) check(t *testing.T, d *disk, allowed loss, again bool) Counters {
	t.Helper()
	s, recovery, err := open(y.cfg, d)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if recovery.StateLost {
		t.Error("the state is lost")
	}
	balance(t, s, "after open")
	opened := s.Counters()
	found := readAll(t, s, y.payloads)
	for seq, id := range y.appended {
		if _, ok := found[id]; ok || seq <= y.ackCalled {
			continue
		}
		if allowed == lossUnsynced && seq > y.synced {
			continue
		}
		t.Errorf("record %d is lost: acknowledged up to %d, synced up to %d", seq, y.ackCalled, y.synced)
	}
	if !again {
		if opened != s.Counters() {
			t.Errorf("before reading %+v, then %+v", opened, s.Counters())
		}
		for id, seq := range found {
			if seq <= y.ackReturned {
				t.Errorf("record %d (%x) comes again, acknowledged up to %d", seq, id[:3], y.ackReturned)
			}
		}
	}
	balance(t, s, "after reading")
	before := s.Counters()
	if before.Spooled != uint64(len(found)) {
		t.Errorf("%d spooled, read %d", before.Spooled, len(found))
	}

	// What is appended from now on is not taken for something older.
	id := [16]byte{0xEE, 1}
	y.payloads[id] = []byte("afterwards")
	if _, err := s.Append(id, nil, y.payloads[id]); err != nil {
		t.Fatalf("append after the crash: %v", err)
	}
	last := readAll(t, s, y.payloads)
	if len(last) != 1 {
		t.Fatalf("after the crash one record was appended, read %v", last)
	}
	if err := s.Ack(last[id], Outcome{}); err != nil {
		t.Fatal(err)
	}
	balance(t, s, "after acknowledging")
	final := s.Counters()
	if final.Spooled != 0 {
		t.Errorf("all is acknowledged, %d spooled", final.Spooled)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _, err = open(y.cfg, d.killed())
	if err != nil {
		t.Fatal(err)
	}
	if rest := readAll(t, s, y.payloads); len(rest) != 0 {
		t.Errorf("all was acknowledged, and comes again: %v", rest)
	}
	if got := s.Counters(); got != final {
		t.Errorf("counters after a restart %+v, were %+v", got, final)
	}
	return before
}

// checkNames looks for segments on the disk that the spool does not know. An
// empty one may be there: its creation had failed.
func (y *story) checkNames(t *testing.T) {
	t.Helper()
	known := map[string]bool{}
	for _, seg := range y.s.segments {
		known[seg.name] = true
	}
	for name, node := range y.disk.names {
		if len(node.data) > 0 && strings.HasSuffix(name, segmentSuffix) && !known[name] {
			t.Errorf("%s was left behind", name)
		}
	}
}

// balance checks the loss equation.
func balance(t *testing.T, s *Spool, when string) {
	t.Helper()
	c := s.Counters()
	if sum := c.Inserted + c.Amended + c.SetAside + c.Spooled + c.Dropped.Total(); sum != c.Accepted || c.Accepted > 1<<40 {
		t.Errorf("%s: accepted %d, accounted for %d: %+v", when, c.Accepted, sum, c)
	}
}

// readAll reads to the end, and checks that each record is one that was
// offered, comes once, and in order.
func readAll(t *testing.T, s *Spool, payloads map[[16]byte][]byte) map[[16]byte]uint64 {
	t.Helper()
	found := map[[16]byte]uint64{}
	var last uint64
	for {
		entries, err := s.Read(3, 1<<20)
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if len(entries) == 0 {
			return found
		}
		for _, e := range entries {
			if want, ok := payloads[e.ID]; !ok || !bytes.Equal(e.Payload, want) {
				t.Fatalf("record %d was never appended: id %x, %q", e.Seq, e.ID, e.Payload)
			}
			if found[e.ID] != 0 || e.Seq <= last {
				t.Errorf("record %d after %d, first seen as %d", e.Seq, last, found[e.ID])
			}
			found[e.ID], last = e.Seq, e.Seq
		}
	}
}
