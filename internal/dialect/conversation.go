package dialect

import "bytes"

// Answer is what an answer said, for the conversation log.
type Answer struct {
	// Text, Reasoning and ToolCalls are those of the first choice. What an answer
	// said in pieces is joined without anything between them, as SDKs do it.
	Text      string
	Reasoning string

	// ToolCalls is a JSON array of {"id", "name", "arguments"}, by one form for all
	// dialects. The arguments are the JSON value that was written, or a string
	// where what was written is none, as it is when the answer was cut. Nil if no
	// tool was called.
	ToolCalls []byte

	// Choices is, of an answer with more than one, a JSON array of {"index",
	// "text", "reasoning", "tool_calls"}; else nil.
	Choices []byte

	Summary
}

// ReadAnswer reads the body of an answer of generate or embed, or the beginning
// of one that was cut: of streams all events that came are read. Vectors are
// not kept. It takes time and memory linear in the length, and is not meant for
// the request path.
func ReadAnswer(rt Route, f Framing, body []byte) Answer {
	if rt.Kind != KindGenerate && rt.Kind != KindEmbed {
		return Answer{}
	}
	var m Meter
	m.Reset(rt, f)
	a := assembly{op: rt.Op}
	switch f {
	case FramingSSE:
		m.Event(body)
		eachData(body, a.document)
	case FramingNDJSON:
		for line := range bytes.Lines(body) {
			m.Event(line)
			a.document(line)
		}
	default:
		m.Whole(body)
		a.document(body)
	}
	return a.answer(m.Summary())
}

// eachData calls do with the data of each SSE event. The last event may lack
// its end.
func eachData(body []byte, do func([]byte)) {
	lines := lineReader{b: bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), feed: -1, back: -1}
	var data, joined []byte
	for {
		line, ok := lines.next()
		if !ok || len(line) == 0 {
			if data != nil {
				do(data)
			}
			if !ok {
				return
			}
			data = nil
			continue
		}
		field, value := splitField(line)
		switch {
		case string(field) != "data":
		case data == nil:
			data = value
		default:
			joined = append(append(append(joined[:0], data...), '\n'), value...)
			data = bytes.Clone(joined)
		}
	}
}

// assembly puts an answer together. Texts are kept as spelled until the end: a
// character may be split over two events, as halves of a surrogate pair or as
// bytes, and is whole only when they stand side by side.
type assembly struct {
	op     Op
	voices []voice // by choice, in the order in which they began to speak

	whole []byte // the output of the response that ends a stream
}

// voice is one choice's part of the answer.
type voice struct {
	index     int64
	text      []byte
	reasoning []byte
	calls     []call
}

// call is one call of a tool.
type call struct {
	slot      int64 // by which later pieces name it
	id        []byte
	name      []byte
	spelled   []byte // arguments that came as text
	arguments []byte // arguments that came as a JSON value
}

// maxCalls bounds how many calls of one choice are told apart.
const maxCalls = 1024

// voice returns the choice with that index. Those beyond what is followed share
// one.
func (a *assembly) voice(index int64) *voice {
	index = min(index, maxChoice)
	for i := range a.voices {
		if a.voices[i].index == index {
			return &a.voices[i]
		}
	}
	a.voices = append(a.voices, voice{index: index})
	return &a.voices[len(a.voices)-1]
}

// call returns the call in that slot. Those beyond what is followed share one.
func (v *voice) call(slot int64) *call {
	slot = min(slot, maxCalls)
	for i := len(v.calls) - 1; i >= 0; i-- {
		if v.calls[i].slot == slot {
			return &v.calls[i]
		}
	}
	v.calls = append(v.calls, call{slot: slot})
	return &v.calls[len(v.calls)-1]
}

// document reads one event, one line, or an answer that is one document. What
// is no object says nothing.
func (a *assembly) document(text []byte) {
	c := cursor{b: text}
	if c.peek() != '{' {
		return
	}
	switch a.op {
	case OpChat, OpCompletions:
		a.readChoices(&c)
	case OpOllamaChat, OpOllamaGenerate:
		a.readOllama(&c)
	case OpMessages:
		a.readMessages(&c)
	case OpResponses:
		a.readResponses(&c)
	}
}

// saying reads a text, or parts that have one, to the end of what was said. The
// first text is not copied, but what follows it is.
func saying(c *cursor, to []byte) []byte {
	if c.peek() == '"' {
		text := c.quoted()
		if len(to) == 0 {
			return text[:len(text):len(text)]
		}
		return append(to, text...)
	}
	if !c.array() {
		return to
	}
	for c.element() {
		if !c.object() {
			continue
		}
		for name, ok := c.member(); ok; name, ok = c.member() {
			switch string(name) {
			case "text", "refusal":
				to = append(to, c.str()...)
			default:
				c.skip()
			}
		}
	}
	return to
}

// argue reads a call's arguments: a text in pieces, or a value.
func (k *call) argue(c *cursor) {
	if c.peek() == '"' {
		k.spelled = append(k.spelled, c.quoted()...)
		return
	}
	if value := c.value(); string(value) != "null" {
		k.arguments = value
	}
}
