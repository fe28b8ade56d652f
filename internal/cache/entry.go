package cache

import (
	"maps"
	"net/http"
	"sync/atomic"
	"time"
)

// Form is the form in which an answer was asked for. Each is kept on its own.
type Form uint8

const (
	Whole           Form = iota // one document
	Stream                      // events, without counts of tokens at their end
	StreamWithUsage             // events, and the counts asked for
	forms
)

// Entry is one kept answer. What can be seen of it is immutable, and shared by all that replay it:
// neither its header's values nor its body may be written to.
type Entry struct {
	Form   Form
	Status int
	Header http.Header // what a replay may carry, without a length
	Body   []byte      // the bytes that the first asker got
	Events int         // in the body, 0 if it has none

	Model    string // as asked for
	Upstream string // that answered
	Note     any    // as given with the Outcome

	Stored, Expires time.Time

	key   Key
	begun uint64      // when its question was asked, in the order of all
	size  int64       // what it counts for, in bytes
	gone  atomic.Bool // no longer counted

	// For the window, which alone reads and writes them while the entry is there.
	newer, older *Entry
	again        bool // its question was asked again
}

// Age is the answer's age in whole seconds, as the header of this name has it.
func (e *Entry) Age() int64 { return int64(time.Since(e.Stored) / time.Second) }

// overhead is what an entry takes beside its body and header, in bytes: the
// entry itself, its place in the maps, and the allocator's rounding.
const overhead = 640

// weigh sets what the entry counts for.
func (e *Entry) weigh() {
	e.size = int64(cap(e.Body)) + overhead
	for name, values := range e.Header {
		e.size += int64(len(name)) + 64
		for _, v := range values {
			e.size += int64(len(v)) + 16
		}
	}
}

func (e *Entry) slot() slot { return slot{e.key, e.Form} }

// slot is the place of one form of an answer.
type slot struct {
	key  Key
	form Form
}

// Conversion is an answer put into another form.
type Conversion struct {
	Body        []byte
	ContentType string
	Events      int
}

// as is the entry in another form, as old as it is.
func (e *Entry) as(form Form, c *Conversion) *Entry {
	header := make(http.Header, len(e.Header)+1)
	maps.Copy(header, e.Header)
	header["Content-Type"] = []string{c.ContentType}
	other := &Entry{
		Form: form, Status: e.Status, Header: header, Body: c.Body, Events: c.Events,
		Model: e.Model, Upstream: e.Upstream, Note: e.Note,
		Stored: e.Stored, Expires: e.Expires, key: e.key, begun: e.begun,
	}
	other.weigh()
	return other
}
