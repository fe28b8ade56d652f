package dialect

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Convert puts a complete answer of chat, completions, /api/chat or /api/generate
// into another form: a stream into one document, a document into a stream, or a
// stream that ends with counts of tokens into one that does not. With usage, the
// stream that is wanted ends with them, as stream_options.include_usage asks.
//
// It says no where anything would be lost or made up: counts that the stream does
// not have, a member or an event that is not known, an answer that did not come to
// its end. Then there is no other way than to ask again. Members that are null
// count as absent, comments of SSE as nothing, and of the times that chunks were
// made at only one stays.
func Convert(rt Route, from, to Framing, body []byte, usage bool) ([]byte, bool) {
	switch rt.Op {
	case OpChat, OpCompletions:
		shape := &chatShape
		if rt.Op == OpCompletions {
			shape = &completionShape
		}
		switch {
		case from == FramingSSE && to == FramingJSON:
			return shape.join(body)
		case from == FramingJSON && to == FramingSSE:
			return shape.split(body, usage)
		case from == FramingSSE && to == FramingSSE && !usage:
			return withoutUsage(body)
		}
	case OpOllamaChat, OpOllamaGenerate:
		switch {
		case from == FramingNDJSON && to == FramingJSON:
			return joinLines(body, rt.Op)
		case from == FramingJSON && to == FramingNDJSON:
			return splitDocument(body, rt.Op)
		}
	}
	return nil, false
}

// field is a member as it is spelled.
type field struct {
	name  string
	value []byte
}

func (f field) null() bool { return string(f.value) == "null" }

// text returns the inside of a string, as spelled.
func (f field) text() ([]byte, bool) {
	if len(f.value) < 2 || f.value[0] != '"' {
		return nil, false
	}
	return f.value[1 : len(f.value)-1], true
}

// readObject returns the members of an object in text that is valid.
func readObject(text []byte) ([]field, bool) {
	c := cursor{b: text}
	if c.peek() != '{' {
		return nil, false
	}
	c.i++
	var all []field
	for {
		name, ok := c.member()
		if !ok {
			return all, !c.bad
		}
		all = append(all, field{string(name), c.value()})
	}
}

// readDocument returns the members of a document, which must be valid to the
// letter: what is put together from its pieces is to be so too.
func readDocument(text []byte) ([]field, bool) {
	if !jsontext.Value(text).IsValid() {
		return nil, false
	}
	return readObject(text)
}

// readArray returns the elements of an array in text that is valid.
func readArray(text []byte) ([][]byte, bool) {
	c := cursor{b: text}
	if c.peek() != '[' {
		return nil, false
	}
	c.i++
	var all [][]byte
	for c.element() {
		all = append(all, c.value())
	}
	return all, !c.bad
}

// joined is a text that comes in pieces.
type joined struct {
	seen bool // be it null
	text bool
	raw  []byte
}

func (j *joined) add(f field) bool {
	j.seen = true
	if f.null() {
		return true
	}
	piece, ok := f.text()
	j.text = j.text || ok
	j.raw = append(j.raw, piece...)
	return ok
}

// series is an array that comes in pieces.
type series struct {
	name string
	seen bool // not only as null
	raw  []byte
}

func (l *series) add(value []byte) bool {
	if string(value) == "null" {
		return true
	}
	elements, ok := readArray(value)
	l.seen = l.seen || ok
	for _, e := range elements {
		if len(l.raw) > 0 {
			l.raw = append(l.raw, ',')
		}
		l.raw = append(l.raw, e...)
	}
	return ok
}

func (l *series) appendTo(dst []byte) []byte {
	return append(append(append(dst, '['), l.raw...), ']')
}

// writer writes an object member by member.
type writer struct {
	b    []byte
	some bool
}

func (o *writer) name(name string) {
	if o.some {
		o.b = append(o.b, ',')
	}
	o.some = true
	o.b = append(append(append(o.b, '"'), name...), `":`...)
}

func (o *writer) put(name string, value []byte) {
	o.name(name)
	o.b = append(o.b, value...)
}

func (o *writer) putText(name string, raw []byte) {
	o.name(name)
	o.b = append(append(append(o.b, '"'), raw...), '"')
}

// open begins an object inside; shut ends it.
func (o *writer) open(name string) {
	o.name(name)
	o.b = append(o.b, '{')
	o.some = false
}

// item begins the i-th object of an array.
func (o *writer) item(i int) {
	if i == 0 {
		o.b = append(o.b, "[{"...)
	} else {
		o.b = append(o.b, ",{"...)
	}
	o.some = false
}

func (o *writer) shut() {
	o.b = append(o.b, '}')
	o.some = true
}

// sseData returns the data of each event, without [DONE], which must be the last
// if there is one. It says no to fields that no known server sends here.
func sseData(body []byte) (data [][]byte, done, ok bool) {
	lines := lineReader{b: body, feed: -1, back: -1}
	var current []byte
	some := false
	for {
		line, more := lines.next()
		if len(line) == 0 {
			if some && done {
				return nil, false, false
			}
			if some && string(bytes.TrimSpace(current)) == "[DONE]" {
				done = true
			} else if some {
				data = append(data, current)
			}
			if !more {
				return data, done, true
			}
			current, some = nil, false
			continue
		}
		if line[0] == ':' {
			continue
		}
		name, value := splitField(line)
		if string(name) != "data" {
			return nil, false, false
		}
		if some {
			value = append(append(bytes.Clone(current), '\n'), value...)
		}
		current, some = value, true
	}
}

// withoutUsage drops the chunk of a stream that has nothing but counts.
func withoutUsage(body []byte) ([]byte, bool) {
	data, done, ok := sseData(body)
	if !ok || !done {
		return nil, false
	}
	var out []byte
	dropped := false
	for _, d := range data {
		fields, ok := readDocument(d)
		if !ok {
			return nil, false
		}
		counts, empty := false, false
		for _, f := range fields {
			switch f.name {
			case "usage":
				counts = !f.null()
			case "choices":
				elements, ok := readArray(f.value)
				empty = ok && len(elements) == 0
			}
		}
		if !counts {
			out = append(append(append(out, "data: "...), d...), "\n\n"...)
			continue
		}
		if !empty || dropped || !onlyCounts(fields) {
			return nil, false
		}
		dropped = true
	}
	return append(out, "data: [DONE]\n\n"...), dropped
}

// onlyCounts tells whether a chunk says nothing else that others do not.
func onlyCounts(fields []field) bool {
	for _, f := range fields {
		switch f.name {
		case "id", "object", "created", "model", "system_fingerprint", "service_tier", "choices", "usage":
		default:
			if !f.null() {
				return false
			}
		}
	}
	return true
}

// CallsTools tells whether an answer, in any framing, asks its reader to call a
// tool.
func CallsTools(f Framing, body []byte) bool {
	if f == FramingSSE {
		data, _, _ := sseData(body)
		if slices.ContainsFunc(data, callsTools) {
			return true
		}
		// Responses and messages have events of other names.
		return len(data) == 0 && callsTools(body)
	}
	return callsTools(body)
}

func callsTools(text []byte) bool {
	for _, mark := range []string{`"tool_calls"`, `"function_call"`, `"tool_use"`, `"custom_tool_call"`} {
		rest := text
		for {
			_, behind, found := bytes.Cut(rest, []byte(mark))
			if !found {
				break
			}
			rest = behind
			value, isName := bytes.CutPrefix(bytes.TrimSpace(behind), []byte(":"))
			value = bytes.TrimSpace(value)
			switch {
			case !isName: // a type
				return true
			case bytes.HasPrefix(value, []byte("null")):
			case bytes.HasPrefix(value, []byte("[")) && bytes.HasPrefix(bytes.TrimSpace(value[1:]), []byte("]")):
			default:
				return true
			}
		}
	}
	return false
}
