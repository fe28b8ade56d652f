package batchlog

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// A payload of the spool is a byte that says its form, and
//
//	formRaw: facts, request body, answer: a record whose bodies are unread
//	formRow: a Conversation as JSON: a record that was read and reduced
//
// Numbers are varints; texts, bodies and the pieces of an answer together have
// their length before them. A form's bytes never change: what is to be written
// otherwise gets a form of its own, since a spool outlives an upgrade.
const (
	formRaw = 1
	formRow = 2
)

// errPayload says that a payload is of an unknown form, or is cut.
var errPayload = errors.New("the spooled record is in a form that this version does not know")

const (
	flagStreamed = 1 << iota
	flagTruncated
	flagIncomplete
)

// payload is what is written for one record, in pieces, so that bodies are copied
// only once: into what goes to the disk.
type payload struct {
	head  []byte
	parts [][]byte
}

// raw writes a record with its bodies as they are. The parts are valid for as long
// as the record is, and until the next call.
func (p *payload) raw(r *Record, tenant string) [][]byte {
	b := append(p.head[:0], formRaw)
	b = append(b, r.ID[:]...)
	var flags byte
	if r.Streamed {
		flags |= flagStreamed
	}
	if r.Truncated {
		flags |= flagTruncated
	}
	if r.Incomplete {
		flags |= flagIncomplete
	}
	b = append(b, flags, byte(r.Route.Dialect), byte(r.Route.Kind), byte(r.Route.Op), byte(r.Framing))
	for _, n := range [...]int64{
		int64(r.Revision), r.StartedAt.UnixMicro(), int64(r.TTFT), int64(r.Duration),
		int64(r.HTTPStatus), int64(r.Attempts), int64(r.Dropped), r.BytesIn, r.BytesOut,
	} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range [...]string{
		r.RequestID, r.SessionID, r.Endpoint, r.Upstream, r.Model,
		r.CacheStatus, string(r.Outcome), r.EndedBy, r.Error, tenant,
	} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(r.RequestBody)))
	before := len(b)
	size := 0
	for _, piece := range r.Answer {
		size += len(piece)
	}
	b = binary.AppendUvarint(b, uint64(size))
	p.head = b
	p.parts = append(p.parts[:0], b[:before], r.RequestBody, b[before:])
	p.parts = append(p.parts, r.Answer...)
	return p.parts
}

// row writes a record that was read before.
func (p *payload) row(c *Conversation) ([][]byte, error) {
	row, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write a record for the spool: %w", err)
	}
	p.head = append(p.head[:0], formRow)
	p.parts = append(p.parts[:0], p.head, row)
	return p.parts, nil
}

// parseRaw reads what appendRaw wrote, without the form. The record's tenant
// is a hash, its answer is in one piece, and its bodies are parts of b.
func parseRaw(b []byte) (*Record, error) {
	var r Record
	d := decoder{b: b}
	copy(r.ID[:], d.take(16))
	heads := d.take(5)
	if d.bad {
		return nil, errPayload
	}
	r.Streamed = heads[0]&flagStreamed != 0
	r.Truncated = heads[0]&flagTruncated != 0
	r.Incomplete = heads[0]&flagIncomplete != 0
	r.Route.Dialect = dialect.Dialect(heads[1])
	r.Route.Kind = dialect.Kind(heads[2])
	r.Route.Op = dialect.Op(heads[3])
	r.Framing = dialect.Framing(heads[4])
	r.Revision = d.small()
	r.StartedAt = time.UnixMicro(d.number()).UTC()
	r.TTFT = time.Duration(d.number())
	r.Duration = time.Duration(d.number())
	r.HTTPStatus, r.Attempts, r.Dropped = d.small(), d.small(), d.small()
	r.BytesIn, r.BytesOut = d.number(), d.number()
	r.RequestID, r.SessionID = d.text(), d.text()
	r.Endpoint, r.Upstream, r.Model = d.text(), d.text(), d.text()
	r.CacheStatus, r.Outcome, r.EndedBy, r.Error = d.text(), Outcome(d.text()), d.text(), d.text()
	r.Tenant = d.text()
	r.RequestBody = d.bytes()
	r.Answer = [][]byte{d.bytes()}
	if d.bad || len(d.b) > 0 {
		return nil, errPayload
	}
	return &r, nil
}

// parsePayload reads what was spooled, and reads the bodies of a raw record.
func parsePayload(id uuid.UUID, payload []byte, instance string) (*Conversation, error) {
	if len(payload) == 0 {
		return nil, errPayload
	}
	switch payload[0] {
	case formRaw:
		r, err := parseRaw(payload[1:])
		if err != nil {
			return nil, err
		}
		if r.ID != id {
			return nil, fmt.Errorf("the spooled record %v says that it is %v", id, r.ID)
		}
		return readRecord(r, instance), nil
	case formRow:
		var c Conversation
		if err := json.Unmarshal(payload[1:], &c); err != nil {
			return nil, fmt.Errorf("read a record from the spool: %w", err)
		}
		for _, value := range append(c.values(), &c.Params) {
			if string(*value) == "null" { // as nil is written
				*value = nil
			}
		}
		return &c, nil
	default:
		return nil, errPayload
	}
}

// decoder reads numbers and lengths. After the first that is not there all are
// zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	part := d.b[:n:n]
	d.b = d.b[n:]
	return part
}

func (d *decoder) number() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) small() int {
	n := d.number()
	if n < 0 || n > math.MaxInt32 {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.bad = true
		return nil
	}
	d.b = d.b[size:]
	return d.take(n)
}

func (d *decoder) text() string { return string(d.bytes()) }
