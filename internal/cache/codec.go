package cache

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// codec writes entries for the second tier, and reads what may have been written
// by anybody: nothing of a value is believed that could not be an entry.
//
// A value is, one after the other: status, stored and expires in milliseconds since
// 1970, events, model, upstream, note, the number of header fields, each with its
// name, the number of its values and the values, and the body. Numbers are
// varints, and each text has its length before it.
type codec struct{ notes Notes }

// maxHead is what a value has at most beside the body.
const maxHead = 64 << 10

var errEntry = errors.New("it is no entry")

// size is how long a value becomes, or more.
func (c codec) size(e *Entry) int64 { return e.size + maxNote }

// maxNote bounds a note, which is a few numbers and names.
const maxNote = 2 << 10

func (c codec) append(to []byte, e *Entry) []byte {
	to = binary.AppendUvarint(to, uint64(e.Status))
	to = binary.AppendVarint(to, e.Stored.UnixMilli())
	to = binary.AppendVarint(to, e.Expires.UnixMilli())
	to = binary.AppendUvarint(to, uint64(e.Events))
	to = appendText(to, e.Model)
	to = appendText(to, e.Upstream)
	note, err := c.notes.Encode(e.Note)
	if err != nil || len(note) > maxNote {
		note = nil // it is of use, not of need
	}
	to = appendText(to, string(note))
	to = binary.AppendUvarint(to, uint64(len(e.Header)))
	for name, values := range e.Header {
		to = appendText(to, name)
		to = binary.AppendUvarint(to, uint64(len(values)))
		for _, v := range values {
			to = appendText(to, v)
		}
	}
	return append(binary.AppendUvarint(to, uint64(len(e.Body))), e.Body...)
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

// decode reads the entry of a slot, with a body of at most so many bytes, which is
// part of the value. An entry that another machine's clock has put into the future
// is as if it had come now.
func (c codec) decode(value []byte, sl slot, now time.Time, maxBody int64) (*Entry, error) {
	d := decoder{rest: value}
	e := &Entry{Form: sl.form, key: sl.key}
	e.Status = int(d.number(1 << 10))
	e.Stored, e.Expires = time.UnixMilli(d.signed()), time.UnixMilli(d.signed())
	e.Events = int(d.number(uint64(len(value))))
	e.Model, e.Upstream = string(d.text()), string(d.text())
	note := d.text()
	e.Header = d.header()
	e.Body = d.text()
	e.Body = e.Body[:len(e.Body):len(e.Body)]
	lives := e.Expires.Sub(e.Stored)
	if d.bad || len(d.rest) > 0 || int64(len(e.Body)) > maxBody || e.Status != http.StatusOK || lives <= 0 {
		return nil, errEntry
	}
	if len(note) > 0 {
		var err error
		if e.Note, err = c.notes.Decode(note); err != nil {
			return nil, errEntry
		}
	}
	if e.Stored.After(now) {
		e.Stored, e.Expires = now, now.Add(lives)
	}
	e.weigh()
	return e, nil
}

// decoder cuts a value up. Once something is wrong, all that follows is empty.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) fail() {
	d.bad, d.rest = true, nil
}

func (d *decoder) number(most uint64) uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > most {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) signed() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) text() []byte {
	n := d.number(uint64(len(d.rest)))
	if n > uint64(len(d.rest)) { // what told its length was of it
		d.fail()
		return nil
	}
	text := d.rest[:n]
	d.rest = d.rest[n:]
	return text
}

// header reads header fields, of which none may do harm in an answer.
func (d *decoder) header() http.Header {
	h := http.Header{}
	for range d.number(uint64(len(d.rest))) {
		name := string(d.text())
		if !fieldName(name) || h[name] != nil || !replayable(name) {
			d.fail()
			return nil
		}
		values := []string{}
		for range d.number(uint64(len(d.rest))) {
			v := string(d.text())
			if strings.ContainsFunc(v, control) {
				d.fail()
			}
			if d.bad {
				return nil
			}
			values = append(values, v)
		}
		h[name] = values
	}
	return h
}

// fieldName tells whether a name is one in canonical spelling.
func fieldName(name string) bool {
	for _, r := range name {
		if r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) {
			return false
		}
	}
	return name != "" && textproto.CanonicalMIMEHeaderKey(name) == name
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
