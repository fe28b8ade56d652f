package dialect

import (
	"bytes"
	"math/bits"

	"github.com/go-json-experiment/json/jsontext"
)

// Signal is a set of things that an event says.
type Signal uint8

const (
	// Content is text, reasoning or a part of a tool call that is not empty. The
	// first event that has it is the first token.
	Content Signal = 1 << iota

	// Terminal marks the event at which SDKs stop reading: [DONE], Ollama's done,
	// the last event of responses and messages. They stop at an ErrorObject too.
	Terminal

	// ErrorObject is an error inside an answer whose status was good.
	ErrorObject

	// Usage is token counts.
	Usage
)

// Summary is what one answer said, as far as it was read.
type Summary struct {
	// Complete says that the answer came to a positive end without an error: a
	// finish reason for every choice, done, response.completed or .incomplete,
	// message_stop after a stop reason; for embeddings, the vectors. [DONE] alone
	// is no such end, nor are the finish reasons "abort" and "error". Whether
	// the transport ended cleanly is for the caller to know.
	Complete bool

	HasError bool
	Error    string // the error's message, at most 500 bytes

	// FinishReason is the first choice's reason, Ollama's done_reason, the stop
	// reason of a message; for responses the reason they are incomplete, else
	// their status.
	FinishReason string

	Model         string // as the server calls it, at most 256 bytes
	Usage         Tokens
	ContentEvents int // events with Content

	// DoneMarker says that [DONE] was seen.
	DoneMarker bool

	// Remote says that Ollama passed the request on to another host.
	Remote bool
}

// Tokens are counts as the server gave them, never estimates.
type Tokens struct {
	// Known says that the server counted. Most streams that are cut have no
	// counts, and Ollama leaves out those that are 0.
	Known bool

	Prompt     int64 // all of it, with what came from the server's cache
	Completion int64
	Cached     int64 // of the prompt
	Reasoning  int64 // of the completion
}

const (
	maxError  = 500 // bytes kept of an error's message
	maxReason = 64  // bytes kept of a finish reason
	maxChoice = 128 // choices followed; an answer with more is never Complete
	maxJoined = 64 << 10
)

// Meter reads one answer: event by event, or as a whole. The zero Meter reads
// nothing until Reset. It is for one goroutine, allocates nothing for an
// ordinary event, and keeps of the bytes it is shown a copy of one event at most.
type Meter struct {
	rt      Route
	framing Framing

	sum      Summary
	seen     choices // choices that had a chunk
	finished choices // choices that had a finish reason
	whole    bool    // the end was positive
	spoiled  bool    // a choice ended badly, or there were too many
	torn     bool    // the last event is the beginning of one: more was to come

	joined []byte // several data lines of one event
	mould  mould  // of the last event that had nothing but text
}

// choices is a set of choice indexes.
type choices [maxChoice / 64]uint64

func (c *choices) add(i int64) { c[i/64] |= 1 << (i % 64) }

func (c *choices) merge(o choices) {
	for i := range c {
		c[i] |= o[i]
	}
}

func (c *choices) count() (n int) {
	for _, word := range c {
		n += bits.OnesCount64(word)
	}
	return n
}

// Reset makes m ready for another answer.
func (m *Meter) Reset(rt Route, f Framing) {
	joined := m.joined[:0]
	if cap(joined) > maxJoined {
		joined = nil
	}
	*m = Meter{rt: rt, framing: f, joined: joined, mould: mould{head: m.mould.head[:0], tail: m.mould.tail[:0]}}
}

// metered tells whether answers on this route are read at all.
func (m *Meter) metered() bool {
	return m.rt.Kind == KindGenerate || m.rt.Kind == KindEmbed
}

// Event reads one whole event: of SSE all lines through the blank one, of NDJSON
// one line. The last event of a body may lack its end. Pieces of an event that
// was too long to hold are not events. What cannot be read says nothing. On
// routes other than generate and embed nothing is read.
func (m *Meter) Event(ev []byte) Signal {
	if !m.metered() {
		return 0
	}
	switch m.framing {
	case FramingSSE:
		if m.mould.holds(ev) {
			m.sum.ContentEvents++
			return Content
		}
		sig := m.events(ev)
		if sig == Content {
			m.mould.learn(m.rt.Op, ev)
		}
		return sig
	case FramingNDJSON:
		return m.document(ev, nil)
	default:
		return 0
	}
}

// Whole reads an answer that is one JSON document. Unlike an event it is checked
// to be valid to the letter before it counts as complete: nobody else will have
// told its parts.
func (m *Meter) Whole(body []byte) Signal {
	if !m.metered() {
		return 0
	}
	sig := m.document(body, nil) &^ Terminal
	if !m.Summary().Complete {
		return sig
	}
	if !jsontext.Value(body).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) {
		m.spoiled = true
		return sig
	}
	return sig | Terminal
}

// Summary returns what was read since Reset.
func (m *Meter) Summary() Summary {
	s := m.sum
	s.Complete = m.whole
	if n := m.seen.count(); n > 0 {
		s.Complete = m.finished == m.seen
	}
	if m.rt.Op == OpMessages && s.FinishReason == "" {
		s.Complete = false // message_stop alone
	}
	s.Complete = s.Complete && !s.HasError && !m.spoiled && !m.torn
	return s
}

// document reads one JSON document, under the name its SSE event had.
func (m *Meter) document(text, event []byte) (sig Signal) {
	c := cursor{b: text}
	if c.peek() == '{' {
		var p part
		p.read(&c, m.rt.Op)
		if m.torn = !c.end(); !m.torn {
			return m.take(&p, event)
		}
	}
	if string(event) == "error" {
		return m.failed(plainError(text))
	}
	return 0
}

// plainError is the message of an error that is no JSON.
func plainError(text []byte) string {
	text = bytes.TrimSpace(text)
	return valid(string(text[:min(len(text), maxError)]))
}

// take adds what one document said to what the answer said so far.
func (m *Meter) take(p *part, event []byte) (sig Signal) {
	if p.content {
		m.sum.ContentEvents++
		sig |= Content
	}
	if m.sum.Model == "" && len(p.model) > 0 {
		m.sum.Model = clip(unquote(p.model), maxModel)
	}
	m.sum.Usage.update(p.usage)
	if p.usage.Known {
		sig |= Usage
	}
	m.seen.merge(p.seen)
	m.finished.merge(p.finished)
	m.spoiled = m.spoiled || p.spoiled
	m.sum.Remote = m.sum.Remote || p.remote
	if len(p.reason) > 0 && (m.sum.FinishReason == "" || p.firstChoice) {
		m.sum.FinishReason = clip(unquote(p.reason), maxReason)
	}
	if p.whole {
		m.whole = true
	}
	if p.terminal {
		sig |= Terminal
	}
	switch {
	case p.hasError:
		sig |= m.failed(unquote(p.message))
	case string(event) == "error", string(p.kind) == "error", string(p.object) == "error":
		sig |= m.failed(unquote(p.flat))
	}
	return sig
}

// failed notes an error. The first message stays: what follows is its echo.
func (m *Meter) failed(message string) Signal {
	if m.sum.Error == "" {
		m.sum.Error = clip(message, maxError)
	}
	m.sum.HasError = true
	if m.rt.Op == OpResponses || m.rt.Op == OpMessages {
		return ErrorObject | Terminal
	}
	return ErrorObject
}

// update replaces the counts that are given anew: servers that count as they go
// send running totals, not differences.
func (t *Tokens) update(n Tokens) {
	t.Known = t.Known || n.Known
	if n.Prompt > 0 {
		t.Prompt = n.Prompt
	}
	if n.Completion > 0 {
		t.Completion = n.Completion
	}
	if n.Cached > 0 {
		t.Cached = n.Cached
	}
	if n.Reasoning > 0 {
		t.Reasoning = n.Reasoning
	}
}
