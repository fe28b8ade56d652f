package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A segment is a header and frames; docs/spool-format.md draws both.
const (
	headerSize = 48
	frameSize  = 52

	segmentMagic  = "vegaspl"
	formatVersion = 1
	segmentSuffix = ".seg"
	asideSuffix   = ".damaged"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var order = binary.LittleEndian

// marker begins each frame of one segment, and no payload in it contains it: so
// what is found by looking for it is a frame, also behind damage. Its first
// byte occurs in no UTF-8 text, which makes looking for it fast.
type marker [8]byte

func newMarker() (m marker) {
	rand.Read(m[:])
	m[0] = 0xFF
	return m
}

// segmentHeader begins a segment.
type segmentHeader struct {
	marker  marker
	first   uint64 // sequence number of the first record
	skipped uint64 // sequence numbers right before first that the disk refused
	created time.Time
}

func (h segmentHeader) put(b []byte) {
	copy(b, segmentMagic)
	b[7] = formatVersion
	copy(b[8:], h.marker[:])
	order.PutUint64(b[16:], h.first)
	order.PutUint64(b[24:], h.skipped)
	order.PutUint64(b[32:], uint64(h.created.UnixNano()))
	order.PutUint32(b[40:], 0)
	order.PutUint32(b[44:], crc32.Checksum(b[:44], castagnoli))
}

var errDamagedHeader = errors.New("damaged segment header")

func parseHeader(b []byte) (segmentHeader, error) {
	if len(b) < headerSize || order.Uint32(b[44:]) != crc32.Checksum(b[:44], castagnoli) || string(b[:7]) != segmentMagic {
		return segmentHeader{}, errDamagedHeader
	}
	if b[7] != formatVersion {
		return segmentHeader{}, fmt.Errorf("segment of format %d, this version reads format %d: start the version that wrote it, and let it drain", b[7], formatVersion)
	}
	return segmentHeader{
		marker:  marker(b[8:16]),
		first:   order.Uint64(b[16:]),
		skipped: order.Uint64(b[24:]),
		created: time.Unix(0, int64(order.Uint64(b[32:]))),
	}, nil
}

// segmentName repeats what is needed to read a segment whose header is damaged.
func segmentName(first uint64, m marker) string {
	return fmt.Sprintf("%016x-%x%s", first, m[:], segmentSuffix)
}

func parseName(name string) (first uint64, m marker, ok bool) {
	name, ok = strings.CutSuffix(name, segmentSuffix)
	if !ok || len(name) != 33 || name[16] != '-' {
		return 0, m, false
	}
	first, err := strconv.ParseUint(name[:16], 16, 64)
	if err != nil {
		return 0, m, false
	}
	_, err = hex.Decode(m[:], []byte(name[17:]))
	return first, m, err == nil
}

// appendFrame appends a frame of a payload in pieces, without marker and
// checksums, which stamp adds when it is known in which segment the frame will be.
func appendFrame(b []byte, seq uint64, at time.Time, id [16]byte, payload ...[]byte) []byte {
	size := 0
	for _, part := range payload {
		size += len(part)
	}
	b = slices.Grow(b, frameSize+size)
	var h [frameSize]byte
	order.PutUint64(h[8:], seq)
	order.PutUint64(h[16:], uint64(at.UnixNano()))
	copy(h[24:], id[:])
	order.PutUint32(h[40:], uint32(size))
	b = append(b, h[:]...)
	for _, part := range payload {
		b = append(b, part...)
	}
	return b
}

// stamp makes the frames those of a segment. It reports false if a payload
// contains the segment's marker, which therefore cannot hold it.
func stamp(frames []byte, m marker) bool {
	for len(frames) > 0 {
		end := frameSize + int(order.Uint32(frames[40:]))
		h, payload := frames[:frameSize], frames[frameSize:end]
		if bytes.Contains(payload, m[:]) {
			return false
		}
		copy(h, m[:])
		order.PutUint32(h[44:], crc32.Checksum(payload, castagnoli))
		order.PutUint32(h[48:], crc32.Checksum(h[:48], castagnoli))
		frames = frames[end:]
	}
	return true
}

// frame is the header of a frame.
type frame struct {
	seq    uint64
	at     time.Time
	id     [16]byte
	length uint32
	crc    uint32 // of the payload
}

func parseFrame(b []byte, m marker) (frame, bool) {
	if len(b) < frameSize || marker(b[:8]) != m || order.Uint32(b[48:]) != crc32.Checksum(b[:48], castagnoli) {
		return frame{}, false
	}
	return frame{
		seq:    order.Uint64(b[8:]),
		at:     time.Unix(0, int64(order.Uint64(b[16:]))),
		id:     [16]byte(b[24:40]),
		length: order.Uint32(b[40:]),
		crc:    order.Uint32(b[44:]),
	}, true
}
