package spool

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFormat pins the bytes: a spool must be read by the next version.
func TestFormat(t *testing.T) {
	m := marker{0xFF, 1, 2, 3, 4, 5, 6, 7}
	header := make([]byte, headerSize)
	segmentHeader{marker: m, first: 0x0102, skipped: 3, created: time.Unix(0, 0x0A0B)}.put(header)
	frame := appendFrame(nil, 0x0102, time.Unix(0, 0x0C0D), [16]byte{0xAA, 15: 0xBB}, []byte("hello"))
	stamp(frame, m)
	st := state{generation: 1, ack: 2, base: 3, inserted: 4, amended: 5, setAside: 6, retired: 7, tail: 8, burned: 9, dropped: Drops{10, 11, 12, 13, 14, 15}}
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"header", header, "7665676173706c01" +
			"ff01020304050607" +
			"02010000000000000300000000000000" +
			"0b0a000000000000" +
			"00000000615fa965"},
		{"frame", frame, "ff01020304050607" +
			"02010000000000000d0c000000000000" +
			"aa0000000000000000000000000000bb" +
			"050000004cbb719a54522692" +
			"68656c6c6f"},
		{"state", st.encode(), "7665676173746101" +
			"010000000000000002000000000000000300000000000000" +
			"0400000000000000050000000000000006000000000000000700000000000000" +
			"08000000000000000900000000000000" +
			"0a000000000000000b000000000000000c000000000000000d000000000000000e000000000000000f00000000000000" +
			"0295d826"},
		{"name", []byte(segmentName(0x0102, m)), hex.EncodeToString([]byte("0000000000000102-ff01020304050607.seg"))},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
	if got, ok := parseState(st.encode()); !ok || got != st {
		t.Errorf("state read back: %+v", got)
	}
}

// TestPayloadIsNoRecord offers payloads that hold records: of this segment, of
// another spool, and with this segment's marker. Damage before them must not
// bring them to life.
func TestPayloadIsNoRecord(t *testing.T) {
	d := newDisk()
	cfg := Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: time.Second}
	s, _, err := open(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	payloads := map[[16]byte][]byte{}
	put := func(n byte, payload []byte) {
		id := [16]byte{n}
		payloads[id] = payload
		if _, err := s.Append(id, nil, payload); err != nil {
			t.Fatal(err)
		}
	}
	put(1, []byte("first"))
	mine := s.active
	inner := appendFrame(nil, 3, time.Now(), [16]byte{0xBA, 0xD0}, []byte("false"))
	if !stamp(inner, mine.marker) {
		t.Fatal("a payload of text contains a marker")
	}
	// As if somebody had read the segment and sent it as a prompt.
	put(2, inner)
	if s.active == mine {
		t.Error("a payload with the segment's marker is in that segment")
	}
	second := s.active
	put(3, d.names[mine.name].data)
	put(4, d.names[second.name].data)
	put(5, []byte("last"))
	for _, seg := range s.segments {
		if bytes.Count(d.names[seg.name].data[headerSize:], seg.marker[:]) != len(framesOf(t, d, seg)) {
			t.Errorf("%s: the marker occurs elsewhere than at its records", seg.name)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Damage each record's header in turn.
	for _, seg := range s.segments {
		for i, frame := range framesOf(t, d, seg) {
			after := d.killed()
			data := slices.Clone(d.names[seg.name].data)
			data[frame.from+9] ^= 0x10
			after.names[seg.name] = &inode{data: data}
			s, _, err := open(cfg, after)
			if err != nil {
				t.Fatal(err)
			}
			if found := readAll(t, s, payloads); len(found) != 4 {
				t.Errorf("%s, record %d of it damaged: read %d of 4", seg.name, i, len(found))
			}
			balance(t, s, "one damaged")
		}
	}
}

func framesOf(t *testing.T, d *disk, seg *segment) (frames []span) {
	t.Helper()
	data := d.names[seg.name].data
	scan := scanner{src: bytes.NewReader(data), marker: seg.marker, size: int64(len(data)), off: headerSize}
	for {
		r, _, ok, err := scan.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return frames
		}
		frames = append(frames, span{scan.off - frameSize - int64(r.length), scan.off})
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	f := fill(t)
	seg := f.segments[0]
	data := slices.Clone(seg.data)
	data[7] = formatVersion + 1
	sum(data[:headerSize])
	_, _, err := open(f.cfg, f.with(seg.name, data))
	if err == nil || !strings.Contains(err.Error(), seg.name+": segment of format 2, this version reads format 1") {
		t.Errorf("error %v", err)
	}
}

func sum(header []byte) {
	var h [headerSize]byte
	copy(h[:], header)
	order.PutUint32(header[44:], crc32.Checksum(h[:44], castagnoli))
}

// FuzzSegment opens and reads arbitrary bytes as the newest segment: whatever
// they are, what is read has good checksums, and the sums are right.
func FuzzSegment(f *testing.F) {
	m := marker{0xFF, 1, 2, 3, 4, 5, 6, 7}
	frames := appendFrame(nil, 1, time.Unix(1, 0), [16]byte{1}, []byte("one"))
	frames = appendFrame(frames, 2, time.Unix(2, 0), [16]byte{2}, []byte("two"))
	stamp(frames, m)
	header := make([]byte, headerSize)
	segmentHeader{marker: m, first: 1, created: time.Unix(1, 0)}.put(header)
	f.Add(slices.Concat(header, frames))
	f.Add(slices.Concat(header, frames[:len(frames)-1]))
	f.Add(slices.Concat(header, []byte("noise"), frames))
	f.Add(frames)
	f.Add([]byte{})
	cfg := Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Fsync: time.Second, Late: time.Second}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDisk()
		d.names[segmentName(1, m)] = &inode{data: data}
		s, _, err := open(cfg, d)
		if err != nil {
			return
		}
		var last uint64
		for range len(data) + 1 {
			entries, err := s.Read(1, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				break
			}
			e := entries[0]
			frame := appendFrame(nil, e.Seq, e.At, e.ID, e.Payload)
			h := s.segments[0].segmentHeader
			if !stamp(frame, h.marker) && !bytes.Contains(data, e.Payload) || e.Seq <= last {
				t.Fatalf("record %d after %d", e.Seq, last)
			}
			if stamp(frame, h.marker) && !bytes.Contains(data, frame) {
				t.Fatalf("record %d is not in the segment", e.Seq)
			}
			last = e.Seq
			if err := s.Ack(e.Seq, Outcome{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
