package l2

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// magic begins each value; its last byte is the version of what follows.
const magic = "vega\x01"

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errValue   = errors.New("it is no value of this version, or damaged")
)

// envelope is a value as it lies in Redis: magic, place, model, name, payload, and
// a checksum over all of it. The name is that under which it lies, so that a value
// in the wrong place is noticed.
type envelope struct {
	at      place
	model   string
	name    string
	payload []byte
}

// seal appends all but the payload's own bytes, which write appends.
func (e *envelope) seal(to []byte, write func([]byte) []byte) []byte {
	start := len(to)
	to = append(to, magic...)
	to = binary.BigEndian.AppendUint64(to, e.at.ms)
	to = binary.BigEndian.AppendUint64(to, e.at.n)
	to = appendText(to, e.model)
	to = appendText(to, e.name)
	to = write(to)
	return binary.BigEndian.AppendUint32(to, crc32.Checksum(to[start:], castagnoli))
}

// open reads a value. Its payload is part of the text.
func open(text []byte) (e envelope, err error) {
	if len(text) < len(magic)+16+4 || string(text[:len(magic)]) != magic {
		return e, errValue
	}
	body, sum := text[:len(text)-4], text[len(text)-4:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return e, errValue
	}
	body = body[len(magic):]
	e.at = place{binary.BigEndian.Uint64(body), binary.BigEndian.Uint64(body[8:])}
	body = body[16:]
	var ok, ok2 bool
	e.model, body, ok = cutText(body)
	e.name, body, ok2 = cutText(body)
	if !ok || !ok2 {
		return envelope{}, errValue
	}
	e.payload = body[:len(body):len(body)]
	return e, nil
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

func cutText(b []byte) (s string, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return "", nil, false
	}
	b = b[size:]
	return string(b[:n]), b[n:], true
}
