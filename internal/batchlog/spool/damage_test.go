package spool

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// filled is a spool of four segments and 64 KiB, and where its records are.
type filled struct {
	disk     *disk
	cfg      Config
	payloads map[[16]byte][]byte
	segments []filledSegment
	records  int
}

type filledSegment struct {
	name   string
	data   []byte
	frames []span // in data, in order
	first  uint64
}

func fill(t *testing.T) *filled {
	t.Helper()
	f := &filled{disk: newDisk(), payloads: map[[16]byte][]byte{}}
	f.cfg = Config{MaxBytes: 1 << 20, SegmentBytes: 16 << 10, Fsync: time.Second, Late: time.Second}
	s, _, err := open(f.cfg, f.disk)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for total := 0; total < 64<<10; f.records++ {
		id := [16]byte{byte(f.records), byte(f.records >> 8), 1}
		payload := make([]byte, r.IntN(3000))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		f.payloads[id] = payload
		if _, err := s.Append(id, nil, payload); err != nil {
			t.Fatal(err)
		}
		total += frameSize + len(payload)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, seg := range s.segments {
		fs := filledSegment{name: seg.name, data: f.disk.names[seg.name].data, first: seg.first}
		scan := scanner{src: bytes.NewReader(fs.data), marker: seg.marker, size: seg.size, off: headerSize}
		for {
			r, _, ok, err := scan.next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			fs.frames = append(fs.frames, span{scan.off - frameSize - int64(r.length), scan.off})
		}
		f.segments = append(f.segments, fs)
	}
	if len(f.segments) < 4 {
		t.Fatalf("only %d segments", len(f.segments))
	}
	return f
}

// with is the disk with one file changed.
func (f *filled) with(name string, data []byte) *disk {
	d := newDisk()
	maps.Copy(d.names, f.disk.names)
	d.names[name] = &inode{data: data}
	d.names[stateName] = &inode{data: slices.Clone(f.disk.names[stateName].data)}
	return d
}

// reopen reads all there is, and returns the sequence numbers that are missing.
func (f *filled) reopen(t *testing.T, d *disk) (missing []uint64, s *Spool, found Recovery) {
	t.Helper()
	s, found, err := open(f.cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint64]bool{}
	for _, seq := range readAll(t, s, f.payloads) {
		got[seq] = true
	}
	for seq := uint64(1); seq <= uint64(f.records); seq++ {
		if !got[seq] {
			missing = append(missing, seq)
		}
	}
	balance(t, s, "damaged")
	return missing, s, found
}

// TestBitFlip flips every bit of the segments: only the record that holds it is
// lost, and it is counted. What does the reading is the scanner; a part of the
// flips goes through Open and Read as well.
func TestBitFlip(t *testing.T) {
	f := fill(t)
	stride, deep := 1, 401
	if testing.Short() {
		stride, deep = 37, 37*101
	}
	for _, seg := range f.segments {
		data := slices.Clone(seg.data)
		_, m, _ := parseName(seg.name)
		for bit := 0; bit < 8*len(data); bit += stride {
			at := int64(bit / 8)
			data[at] ^= 1 << (bit % 8)
			scan := scanner{marker: m, size: int64(len(data)), off: headerSize, win: data}
			if err := flipped(&scan, seg, at); err != nil {
				t.Fatalf("%s, bit %d: %v", seg.name, bit, err)
			}
			if bit%deep == 0 || at < headerSize {
				f.flippedOpen(t, seg, at, data)
			}
			data[at] ^= 1 << (bit % 8)
		}
	}
}

// flipped checks what the scanner finds when the byte at a place is damaged. It
// begins one record before that and ends one behind it: all that the scanner
// knows of the rest is where it begins.
func flipped(scan *scanner, seg filledSegment, at int64) error {
	first, end := 0, len(seg.frames)
	for i, frame := range seg.frames {
		if at >= frame.from && at < frame.to {
			first, end = max(0, i-1), min(i+2, len(seg.frames))
		}
	}
	scan.off = seg.frames[first].from
	before := scan.off
	for i, want := range seg.frames[:end] {
		if i < first || at >= want.from && at < want.to {
			continue
		}
		r, skipped, ok, err := scan.next()
		if err != nil {
			return err
		}
		if !ok || r.seq != seg.first+uint64(i) || scan.off != want.to || int(r.length) != int(want.to-want.from)-frameSize {
			return fmt.Errorf("record %d: found %t, %d at %d", seg.first+uint64(i), ok, r.seq, scan.off)
		}
		if damaged := (span{before, want.from}); skipped != damaged {
			return fmt.Errorf("record %d: skipped %v, want %v", r.seq, skipped, damaged)
		}
		before = want.to
	}
	if end < len(seg.frames) {
		return nil
	}
	r, _, ok, err := scan.next()
	if ok || err != nil {
		return fmt.Errorf("false record %d, error %v", r.seq, err)
	}
	return nil
}

func (f *filled) flippedOpen(t *testing.T, seg filledSegment, at int64, data []byte) {
	t.Helper()
	missing, s, _ := f.reopen(t, f.with(seg.name, slices.Clone(data)))
	var want []uint64
	for i, frame := range seg.frames {
		if at >= frame.from && at < frame.to {
			want = []uint64{seg.first + uint64(i)}
		}
	}
	if !slices.Equal(missing, want) {
		t.Fatalf("%s, byte %d: missing %v, want %v", seg.name, at, missing, want)
	}
	st := s.Stats()
	if st.Dropped != (Drops{Damaged: uint64(len(want))}) || st.DamagedRegions != uint64(len(want)) {
		t.Fatalf("%s, byte %d: dropped %v, %d regions", seg.name, at, st.Dropped, st.DamagedRegions)
	}
}

// TestBitFlipState flips every bit of the state file: no record is lost, and
// the counters are those of the other slot.
func TestBitFlipState(t *testing.T) {
	f := fill(t)
	state := f.disk.names[stateName].data
	for bit := range 8 * len(state) {
		if at := bit / 8 % slotStride; at >= slotSize && bit%97 != 0 {
			continue
		}
		data := slices.Clone(state)
		data[bit/8] ^= 1 << (bit % 8)
		missing, s, found := f.reopen(t, f.with(stateName, data))
		if len(missing) > 0 || found.StateLost || s.Counters().Dropped.Total() != 0 {
			t.Fatalf("bit %d: missing %v, %+v", bit, missing, s.Counters())
		}
	}
}

// TestTruncate cuts every segment at every byte.
func TestTruncate(t *testing.T) {
	f := fill(t)
	stride := int64(1)
	if testing.Short() {
		stride = 37
	}
	last := len(f.segments) - 1
	for n, seg := range f.segments {
		_, m, _ := parseName(seg.name)
		scan := scanner{}
		src := bytes.NewReader(nil)
		for size := int64(0); size < int64(len(seg.data)); size += stride {
			data := seg.data[:size]
			whole := 0
			for _, frame := range seg.frames {
				if frame.to <= size {
					whole++
				}
			}
			src.Reset(data)
			scan = scanner{src: src, marker: m, size: size, off: headerSize, win: scan.win[:0]}
			for range whole {
				if _, skipped, ok, err := scan.next(); !ok || err != nil || skipped.from != skipped.to {
					t.Fatalf("%s cut at %d: %t, %v, skipped %v", seg.name, size, ok, err, skipped)
				}
			}
			if r, _, ok, err := scan.next(); ok || err != nil {
				t.Fatalf("%s cut at %d: false record %d, error %v", seg.name, size, r.seq, err)
			}
			if size%101 != 0 {
				continue
			}
			missing, s, found := f.reopen(t, f.with(seg.name, slices.Clone(data)))
			var want []uint64
			for i := whole; i < len(seg.frames); i++ {
				want = append(want, seg.first+uint64(i))
			}
			if !slices.Equal(missing, want) {
				t.Fatalf("%s cut at %d: missing %v, want %v", seg.name, size, missing, want)
			}
			if d := s.Counters().Dropped; d != (Drops{Damaged: uint64(len(want))}) {
				t.Fatalf("%s cut at %d: dropped %v, want %d", seg.name, size, d, len(want))
			}
			if n == last && whole > 0 && found.TornBytes != size-seg.frames[whole-1].to {
				t.Fatalf("%s cut at %d: torn %d", seg.name, size, found.TornBytes)
			}
		}
	}
}

// TestDamagedTail damages the last record before any sync has told the state of
// it: it is counted, and its sequence number is not given away again.
func TestDamagedTail(t *testing.T) {
	cfg := tinyConfig(time.Second)
	for _, back := range []int{1, 100, 100 + frameSize - 41, 100 + frameSize} {
		d := newDisk()
		s := mustOpen(t, cfg, d)
		mustAppend(t, s, 3, 100)
		after := d.killed()
		node := after.names[s.segments[0].name]
		node.data = slices.Clone(node.data)
		node.data[len(node.data)-back] ^= 4
		s, found, err := open(cfg, after)
		if err != nil {
			t.Fatal(err)
		}
		if found.Damaged != 1 || found.TornBytes != 0 || found.Records != 3 {
			t.Errorf("%d before the end: %+v", back, found)
		}
		if last := mustRead(t, s, 2); last != 2 {
			t.Errorf("%d before the end: read to %d", back, last)
		}
		if entries, err := s.Read(1, 1000); len(entries) > 0 || err != nil {
			t.Errorf("%d before the end: %v, error %v", back, entries, err)
		}
		want := Counters{Accepted: 3, Spooled: 2, Dropped: Drops{Damaged: 1}}
		if got := s.Counters(); got != want {
			t.Errorf("%d before the end: %+v, want %+v", back, got, want)
		}
		mustAppend(t, s, 1, 10)
		if last := mustRead(t, s, 1); last != 4 {
			t.Errorf("%d before the end: then appended %d", back, last)
		}
	}
}

// TestDamageIsKept looks for what could not be read beside the segment, also
// after the segment has left.
func TestDamageIsKept(t *testing.T) {
	f := fill(t)
	seg := f.segments[1]
	data := slices.Clone(seg.data)
	where := seg.frames[3]
	data[where.from+60] ^= 1
	d := f.with(seg.name, data)
	missing, s, _ := f.reopen(t, d)
	if len(missing) != 1 {
		t.Fatalf("missing %v", missing)
	}
	// Reading again does not count again.
	if err := s.Rewind(); err != nil {
		t.Fatal(err)
	}
	readAll(t, s, f.payloads)
	if err := s.Ack(uint64(f.records), Outcome{}); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.DamagedRegions != 1 || st.DamagedBytes != where.to-where.from || st.AsideBytes != where.to-where.from || st.Dropped != (Drops{Damaged: 1}) {
		t.Errorf("%+v", st)
	}
	name := fmt.Sprintf("%s-%d.damaged", seg.name, where.from)
	if node := d.names[name]; node == nil || !bytes.Equal(node.data, data[where.from:where.to]) {
		t.Errorf("%s is not what was damaged", name)
	}
	if d.names[seg.name] != nil {
		t.Error("the segment is still there")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, found, err := open(f.cfg, d.killed())
	if err != nil || found.Aside != where.to-where.from {
		t.Errorf("after a restart %d bytes are aside, error %v", found.Aside, err)
	}
}
