package simllm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"time"
)

const hugeWord = 5 << 20

// stream is a streamed answer on its way out. Every event is written and
// flushed by itself.
type stream struct {
	x         *exchange
	sse       bool
	sent      int  // events
	words     int  // paced events
	last      bool // the next event is the last one
	faulty    bool // a word was spoilt already
	lostEvent any  // what fail=empty-delta sends; nil where the dialect has nothing like it

	data, frame, word []byte // reused
}

// stream begins a streamed answer. Ollama sends the head with the first event,
// the others at once.
func (x *exchange) stream(contentType string) (*stream, error) {
	x.w.Header().Set("Content-Type", contentType)
	t := &stream{x: x, sse: contentType == typeSSE}
	if x.k.like == likeOllama {
		return t, nil
	}
	x.w.WriteHeader(http.StatusOK)
	return t, x.flush()
}

const (
	typeSSE    = "text/event-stream"
	typeNDJSON = "application/x-ndjson"
)

// event sends v; name is the SSE event's, "" for none.
func (t *stream) event(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.send(name, b, false)
}

// paced sends v after the time that a word takes.
func (t *stream) paced(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.send(name, b, true)
}

// token sends a word in its event, after the time that a word takes.
func (t *stream) token(name string, event template, word string) error {
	t.word = quote(t.word[:0], word)
	if k := &t.x.k; !t.faulty && t.sent >= k.failAfter {
		switch k.fail {
		case failBadUTF8:
			t.faulty = true
			t.word = append(t.word[:0], "\"\xff\xfe\xc3(\""...)
		case failHugeEvent:
			t.faulty = true
			n := cmp.Or(k.size, hugeWord)
			t.word = append(append(append(t.word[:0], '"'), bytes.Repeat([]byte{'x'}, n)...), '"')
		}
	}
	t.data = event.fill(t.data[:0], t.word, t.sent, t.x.now())
	return t.send(name, t.data, true)
}

func (t *stream) send(name string, data []byte, paced bool) error {
	x := t.x
	if x.k.fail != "" && t.sent == x.k.failAfter {
		if err := t.breakOff(name, data); err != nil {
			return err
		}
	}
	if x.k.comments && t.sse {
		if err := t.write([]byte(": keep-alive" + t.lineEnd() + t.lineEnd())); err != nil {
			return err
		}
	}
	if paced {
		pause := x.k.delay
		if t.words == 0 {
			pause = x.k.ttft
		}
		if err := x.wait(pause); err != nil {
			return err
		}
		t.words++
		x.s.tokens.Add(1)
	}
	if err := t.write(t.framed(name, data)); err != nil {
		return err
	}
	t.sent++
	return nil
}

func (t *stream) lineEnd() string {
	if t.x.k.crlf {
		return "\r\n"
	}
	return "\n"
}

// framed puts data into the stream's framing.
func (t *stream) framed(name string, data []byte) []byte {
	k := &t.x.k
	b := t.frame[:0]
	if !t.sse {
		b = append(b, data...)
		if !t.last || !k.noNewline {
			b = append(b, t.lineEnd()...)
		}
		t.frame = b
		return b
	}
	if k.bom && t.sent == 0 {
		b = append(b, "\ufeff"...)
	}
	field := "data: "
	if k.noSpace {
		field = "data:"
	}
	if name != "" {
		b = append(append(b, "event: "...), name...)
		b = append(b, t.lineEnd()...)
	}
	b = append(b, field...)
	if k.multiline && len(data) > 1 && data[0] == '{' {
		b = append(append(b, '{'), t.lineEnd()...)
		b = append(b, field...)
		data = data[1:]
	}
	b = append(b, data...)
	b = append(append(b, t.lineEnd()...), t.lineEnd()...)
	t.frame = b
	return b
}

// write sends b, in pieces if asked.
func (t *stream) write(b []byte) error {
	n := t.x.k.split
	for n > 0 && len(b) > n {
		if err := t.x.write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return t.x.write(b)
}

// done sends "data: [DONE]".
func (t *stream) done() error {
	if t.x.k.noDone {
		return nil
	}
	return t.send("", []byte("[DONE]"), false)
}

// breakOff is the fault in place of the event that would come next. It returns
// nil if the stream goes on.
func (t *stream) breakOff(name string, data []byte) error {
	x := t.x
	switch x.k.fail {
	case failHang:
		return x.hang()
	case failReset:
		// What was flushed needs a moment to leave: a reset discards what the
		// kernel still holds.
		if err := x.wait(resetPause); err != nil {
			return err
		}
		return x.drop(true)
	case failEOF:
		if err := x.flush(); err != nil {
			return err
		}
		return errCut
	case failCleanEOF:
		return t.finish()
	case failHalfEvent:
		b := t.framed(name, data)
		if err := x.write(b[:len(b)/2]); err != nil {
			return err
		}
		return errCut
	case failEmptyDelta:
		if t.lostEvent == nil {
			return t.finish()
		}
		b, err := json.Marshal(t.lostEvent)
		if err != nil {
			return err
		}
		if err := t.write(t.framed("", b)); err != nil {
			return err
		}
		return errAnswered
	case failErrorEvent:
		return t.errorEvent()
	}
	return nil
}

const resetPause = 10 * time.Millisecond

// finish ends a body that may not have begun.
func (t *stream) finish() error {
	if err := t.x.flush(); err != nil {
		return err
	}
	return errAnswered
}

// errorEvent sends the dialect's error in mid-stream.
func (t *stream) errorEvent() error {
	b, err := json.Marshal(t.x.errorObject(http.StatusInternalServerError, textBroken))
	if err != nil {
		return err
	}
	name := ""
	if t.x.dialect == anthropic {
		name = "error"
	}
	if err := t.write(t.framed(name, b)); err != nil {
		return err
	}
	if t.x.k.like == likeVLLM && t.sse {
		if err := t.write(t.framed("", []byte("[DONE]"))); err != nil {
			return err
		}
	}
	return errAnswered
}
