package batchlog

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

var postgresCopy = "COPY conversations (" + columnNames() + ") FROM STDIN (FORMAT binary)"

// copyRows inserts rows by COPY, all or none: that costs the server half of what a
// statement costs it. It fails where one of them is there already.
func copyRows(ctx context.Context, conn *pgx.Conn, rows []*Conversation) error {
	source := &copySource{rows: rows, buf: []byte(copyHead)}
	defer source.end()
	if _, err := conn.PgConn().CopyFrom(ctx, source, postgresCopy); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}

// amends tells whether one of the rows corrects what is there.
func amends(rows []*Conversation) bool {
	for _, row := range rows {
		if row.Revision > 0 {
			return true
		}
	}
	return false
}

const (
	copyHead = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" // no flags, nothing more in the head
	copyEnd  = "\xff\xff"

	// copyEpoch is the Postgres year 2000 in Unix time, in microseconds.
	copyEpoch = 946_684_800_000_000
)

// copySource writes rows in the binary form of COPY, one at a time while the
// server takes those before.
type copySource struct {
	// mu is there because the library may go on reading for a moment after it has
	// returned that the connection broke.
	mu    sync.Mutex
	rows  []*Conversation
	buf   []byte // one row
	read  int    // of buf
	ended bool
}

// Read implements io.Reader.
func (c *copySource) Read(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(p) {
		if c.read == len(c.buf) {
			if c.ended {
				return n, io.EOF
			}
			if err := c.next(); err != nil {
				return n, err
			}
		}
		copied := copy(p[n:], c.buf[c.read:])
		n += copied
		c.read += copied
	}
	return n, nil
}

// end lets go of the rows.
func (c *copySource) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows, c.buf, c.read, c.ended = nil, nil, 0, true
}

func (c *copySource) next() (err error) {
	c.buf, c.read = c.buf[:0], 0
	if len(c.rows) == 0 {
		c.buf, c.ended = append(c.buf, copyEnd...), true
		return nil
	}
	c.buf, err = appendCopy(c.buf, c.rows[0])
	c.rows = c.rows[1:]
	return err
}

// appendCopy writes a row: how many values there are, and each behind its length.
func appendCopy(b []byte, row *Conversation) ([]byte, error) {
	b = binary.BigEndian.AppendUint16(b, uint16(len(columns)))
	for i, field := range row.fields() {
		if absent(field) {
			b = binary.BigEndian.AppendUint32(b, math.MaxUint32) // NULL
			continue
		}
		switch f := field.(type) {
		case *string:
			if columns[i].role != isID {
				b = appendSized(b, *f)
				continue
			}
			id, err := uuid.Parse(*f)
			if err != nil {
				return b, err
			}
			b = appendSized(b, id[:])
		case *json.RawMessage:
			b = appendSized(b, *f)
		case *int64:
			b = append64(b, uint64(*f))
		case **int64:
			b = append64(b, uint64(**f))
		case *float64:
			b = append64(b, math.Float64bits(*f))
		case **float64:
			b = append64(b, math.Float64bits(**f))
		case *time.Time:
			b = append64(b, uint64(f.UnixMicro()-copyEpoch))
		case *bool:
			truth := byte(0)
			if *f {
				truth = 1
			}
			b = append(binary.BigEndian.AppendUint32(b, 1), truth)
		}
	}
	return b, nil
}

func appendSized[T ~string | ~[]byte](b []byte, value T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(value))), value...)
}

func append64(b []byte, value uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), value)
}
