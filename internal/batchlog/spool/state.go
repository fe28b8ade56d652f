package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
)

// state is what the spool must know beside its segments. All of it is written
// in one piece, so that the counters are those of the acknowledgement.
type state struct {
	generation uint64
	ack        uint64 // all records up to this sequence number have left
	base       uint64 // sequence numbers up to this were never counted
	inserted   uint64 // from here on: what became of those from base to ack
	amended    uint64
	setAside   uint64
	retired    uint64
	dropped    Drops
	tail       uint64 // the last sequence number that is in a segment
	burned     uint64 // those after tail that the disk refused
}

const (
	stateName  = "state"
	stateMagic = "vegasta\x01"
	// slotStride keeps the slots in different blocks of the disk.
	slotStride = 4096
	slotSize   = 8 + 8*(9+int(numReasons)) + 4
)

// doorDrops are the drops that took no sequence number.
func (s *state) doorDrops() uint64 { return s.dropped[QueueFull] + s.dropped[TooLarge] }

func (s *state) fields() []*uint64 {
	f := []*uint64{&s.generation, &s.ack, &s.base, &s.inserted, &s.amended, &s.setAside, &s.retired, &s.tail, &s.burned}
	for i := range s.dropped {
		f = append(f, &s.dropped[i])
	}
	return f
}

func (s *state) encode() []byte {
	b := make([]byte, 0, slotSize)
	b = append(b, stateMagic...)
	for _, f := range s.fields() {
		b = order.AppendUint64(b, *f)
	}
	return order.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseState(b []byte) (s state, ok bool) {
	sum := len(b) - 4
	if len(b) != slotSize || string(b[:8]) != stateMagic || order.Uint32(b[sum:]) != crc32.Checksum(b[:sum], castagnoli) {
		return state{}, false
	}
	for i, f := range s.fields() {
		*f = order.Uint64(b[8+8*i:])
	}
	return s, true
}

// stateFile holds the state in two slots. The slot that was last synced is
// never written to: one of them is whole whatever happens.
type stateFile struct {
	f          file
	slot       int // that may be written
	generation uint64
	dirty      bool
	// mirrored is up to where both slots acknowledge: what lies there may be
	// deleted even if one slot is damaged later.
	mirrored uint64
}

// openState reads the state, and makes it where there is none. lost says that
// there was one and that it cannot be read.
func openState(dir directory) (f *stateFile, st state, lost bool, err error) {
	f = &stateFile{}
	f.f, err = dir.open(stateName)
	created := errors.Is(err, fs.ErrNotExist)
	if created {
		f.f, err = dir.create(stateName)
	}
	if err != nil {
		return nil, state{}, false, fmt.Errorf("spool: open the state file: %w", err)
	}
	if created {
		return f, state{}, false, nil
	}
	good := 0
	var buf [slotSize]byte
	for slot := range 2 {
		n, err := f.f.ReadAt(buf[:], int64(slot)*slotStride)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, state{}, false, errors.Join(fmt.Errorf("spool: read the state file: %w", err), f.f.Close())
		}
		// The second slot was written when the first was durable.
		lost = slot == 1 && n > 0
		if s, ok := parseState(buf[:n]); ok {
			good++
			if s.generation >= st.generation {
				// Until a sync has succeeded, the other one may be the only one on disk.
				st, f.slot, f.dirty = s, slot, true
			}
		}
	}
	f.generation = st.generation
	return f, st, lost && good == 0, nil
}

// write puts the state into the kernel.
func (f *stateFile) write(st state) error {
	f.dirty = true
	f.generation++
	st.generation = f.generation
	if _, err := f.f.WriteAt(st.encode(), int64(f.slot)*slotStride); err != nil {
		return fmt.Errorf("spool: write the state file: %w", err)
	}
	return nil
}

// sync makes durable what was written.
func (f *stateFile) sync() error {
	if !f.dirty {
		return nil
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("spool: sync the state file: %w", err)
	}
	f.dirty = false
	f.slot = 1 - f.slot
	return nil
}

// mirror makes the state durable in both slots.
func (f *stateFile) mirror(st state) error {
	for range 2 {
		if err := f.write(st); err != nil {
			return err
		}
		if err := f.sync(); err != nil {
			return err
		}
	}
	f.mirrored = st.ack
	return nil
}
