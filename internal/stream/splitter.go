package stream

import "bytes"

// Framing says how a body is cut into events.
type Framing uint8

const (
	// Bytes is a body without events: it is passed on as it is read.
	Bytes Framing = iota
	// SSE is text/event-stream: an event ends with a blank line.
	SSE
	// NDJSON is one JSON value a line.
	NDJSON
)

// Splitter finds the ends of events in a body that arrives in arbitrary
// pieces. The caller keeps the bytes; the splitter remembers how far it has
// looked, so that a body costs linear time however it is cut.
//
// Every byte belongs to exactly one unit, in order: an event together with the
// blank line that ends it, or a filler, which is a line end between events.
type Splitter struct {
	framing Framing
	scanned int  // bytes of the held data that were examined
	line    int  // where the current line starts; negative if its start was taken already
	text    bool // the current event has a line that is not blank
	cr      bool // the bytes taken last ended with a CR: an LF at the start belongs to it
}

// NewSplitter returns a splitter at the start of a body.
func NewSplitter(f Framing) Splitter { return Splitter{framing: f} }

// Next returns the length of the first unit in data and whether it is an event.
// It returns 0 if data holds no whole unit yet: call again with more appended.
// After a unit the caller must drop its bytes from data.
func (s *Splitter) Next(data []byte) (n int, event bool) {
	switch {
	case s.framing == Bytes:
		return len(data), false
	case len(data) == 0:
		return 0, false
	case s.framing == NDJSON:
		return s.nextLine(data)
	}
	if s.cr {
		s.cr = false
		if data[0] == '\n' {
			return 1, false
		}
	}
	for s.scanned < len(data) {
		end, next := lineEnd(data, s.scanned)
		if end < 0 {
			s.scanned = len(data)
			break
		}
		edge := next == len(data) && data[next-1] == '\r'
		if end == s.line { // a blank line
			event = s.text
			s.scanned, s.line, s.text, s.cr = 0, 0, false, edge
			return next, event
		}
		if edge { // wait for the LF that may follow: it would look like a blank line
			s.scanned = end
			break
		}
		s.scanned, s.line, s.text = next, next, true
	}
	return 0, false
}

func (s *Splitter) nextLine(data []byte) (n int, event bool) {
	i := bytes.IndexByte(data[s.scanned:], '\n')
	if i < 0 {
		s.scanned = len(data)
		return 0, false
	}
	n = s.scanned + i + 1
	event = s.text || len(bytes.TrimSpace(data[:n])) > 0
	s.scanned, s.text = 0, false
	return n, event
}

// Skip tells that all of data was taken although no unit ended there: an event
// too long to be held passes in pieces. Next has been asked about data before.
func (s *Splitter) Skip(data []byte) {
	if s.scanned < len(data) { // Next stopped before a CR at the edge
		s.cr, s.line = true, len(data)
	}
	s.scanned, s.text = 0, true
	s.line -= len(data)
}

// lineEnd finds the first line end at or after from: end is where the line's
// text stops and next where the following line starts. Without one, end is -1.
func lineEnd(data []byte, from int) (end, next int) {
	rest := data[from:]
	lf := bytes.IndexByte(rest, '\n')
	if lf >= 0 {
		rest = rest[:lf]
	}
	if cr := bytes.IndexByte(rest, '\r'); cr >= 0 {
		end = from + cr
		if cr == lf-1 {
			return end, end + 2
		}
		return end, end + 1
	}
	if lf < 0 {
		return -1, -1
	}
	return from + lf, from + lf + 1
}
