package dialect

import (
	"bytes"
	"slices"
	"sync"
)

// framingMembers are the members of a request that only frame or label its
// answer, or hint at how the server should go about it. All others may change
// what is answered, those not known today too.
var framingMembers = [...]string{
	"stream", "keep_alive", "store",
	"user", "metadata", "safety_identifier", "session_id", "request_id", "client_metadata",
	"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
	"cache_salt", "cache_prompt", "id_slot", "priority", "sse_ping_interval",
}

const (
	maxDepth = 256 // of nesting
	// maxMoved bounds the bytes moved to sort members, as a multiple of the
	// body's length: deep nesting could ask for each byte to be moved often.
	maxMoved = 32
)

// Canonical appends to dst what a generate or embed request asks for, in one
// spelling: two JSON texts of the same value give the same bytes, and two values
// never do. Members that only frame or label the answer are left out, and
// Ollama's `m:latest` is `m`.
//
// Numbers are equal if their values are, to the last digit. Strings are equal if
// their characters are. It is not ok, and what is appended worth nothing, if the
// body is not one valid JSON object, if readers may see different values in it
// (a name given twice or in two cases, half a surrogate pair, bytes that are no
// UTF-8), or if it is nested deeper than 256.
//
// It takes linear time, and allocates nothing but what dst lacks.
func Canonical(rt Route, body, dst []byte) ([]byte, bool) {
	c := canons.Get().(*canon)
	defer canons.Put(c)
	c.in, c.out, c.i = body, slices.Grow(dst, len(body)+1), 0
	c.latest = rt.Dialect == Ollama
	c.open, c.spans = c.open[:0], c.spans[:0]
	c.seen, c.usageSeen, c.moved = 0, false, 0
	ok := c.document()
	dst = c.out
	c.in, c.out = nil, nil
	if cap(c.scratch) > maxScratch || cap(c.spans) > maxSpans {
		c.scratch, c.spans = nil, nil
	}
	return dst, ok
}

// What is kept for the next request.
const (
	maxScratch = 1 << 20 // bytes
	maxSpans   = 16 << 10
)

var canons = sync.Pool{New: func() any { return new(canon) }}

// canon rewrites one document. It does not recurse.
type canon struct {
	in      []byte
	i       int
	out     []byte
	open    []container
	spans   []span // members of the open objects, those of each on end
	scratch []byte
	moved   int

	latest    bool   // names of models end in :latest or do not, which is the same
	seen      uint32 // which of the framing members, and stream_options, were given
	usageSeen bool   // stream_options.include_usage was left out
}

// container is an object or array that is not closed yet.
type container struct {
	object bool
	mixed  bool // a name could be another spelling of a plain one
	usage  bool // it is stream_options
	first  int  // where its spans begin
}

// span is a member in the output: its name without quotes, its value, and the
// comma behind it.
type span struct{ name, nameEnd, end int }

func (c *canon) peek() byte {
	for c.i < len(c.in) {
		switch ch := c.in[c.i]; ch {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return ch
		}
	}
	return 0
}

func (c *canon) put(ch byte) { c.out = append(c.out, ch) }

func (c *canon) document() bool {
	if c.peek() != '{' {
		return false
	}
	for {
		ok, opened := c.value()
		if !ok {
			return false
		}
		if opened {
			continue
		}
		// Behind a value: go on in its container, and out of those that end.
		for {
			if len(c.open) == 0 {
				return c.peek() == 0 && c.i == len(c.in)
			}
			more, ok := c.behind()
			if !ok {
				return false
			}
			if more {
				break
			}
		}
	}
}

// value reads a value, or the opening of one that has something in it.
func (c *canon) value() (ok, opened bool) {
	switch ch := c.peek(); ch {
	case '{':
		return c.enter(ch, '}')
	case '[':
		return c.enter(ch, ']')
	case '"':
		return c.text(), false
	case 't':
		return c.literal("true"), false
	case 'f':
		return c.literal("false"), false
	case 'n':
		return c.literal("null"), false
	default:
		return c.number(), false
	}
}

func (c *canon) enter(ch, end byte) (ok, opened bool) {
	if len(c.open) == maxDepth {
		return false, false
	}
	usage := ch == '{' && len(c.open) == 1 && string(c.name()) == "stream_options"
	c.i++
	c.put(ch)
	if c.peek() == end {
		c.i++
		c.put(end)
		return true, false
	}
	c.open = append(c.open, container{object: ch == '{', first: len(c.spans), usage: usage})
	return ch != '{' || c.member(), true
}

func (c *canon) literal(word string) bool {
	if !bytes.HasPrefix(c.in[c.i:], []byte(word)) {
		return false
	}
	c.i += len(word)
	c.out = append(c.out, word...)
	return true
}

// behind goes on behind a value: to the next one, or out of the container.
func (c *canon) behind() (more, ok bool) {
	top := &c.open[len(c.open)-1]
	ch := c.peek()
	c.i++
	if !top.object {
		switch ch {
		case ',':
			c.put(',')
			return true, true
		case ']':
			c.put(']')
			c.open = c.open[:len(c.open)-1]
			return false, true
		}
		return false, false
	}
	if !c.endMember() {
		return false, false
	}
	switch ch {
	case ',':
		return true, c.member()
	case '}':
		return false, c.endObject()
	}
	return false, false
}

// member reads a name and its colon.
func (c *canon) member() bool {
	if c.peek() != '"' {
		return false
	}
	s := span{name: len(c.out) + 1}
	if !c.text() {
		return false
	}
	s.nameEnd = len(c.out) - 1
	c.spans = append(c.spans, s)
	top := &c.open[len(c.open)-1]
	name := c.name()
	if !plain(name) {
		top.mixed = true
		if len(c.open) == 1 && misspelled(name) || top.usage && bytes.EqualFold(name, []byte("include_usage")) {
			return false
		}
	}
	if c.peek() != ':' {
		return false
	}
	c.i++
	c.put(':')
	return true
}

// name is the name of the member that was read last, as it stands in the output.
func (c *canon) name() []byte {
	s := c.spans[len(c.spans)-1]
	return c.out[s.name:s.nameEnd]
}

// misspelled tells whether a name at the top stands for one that matters, or is
// left out, in another case.
func misspelled(name []byte) bool {
	if _, exact := known(name); !exact {
		return true
	}
	for _, m := range framingMembers {
		if bytes.EqualFold(name, []byte(m)) {
			return true
		}
	}
	return false
}

// endMember ends the current object's last member behind its value, and leaves
// it out if it is none that counts.
func (c *canon) endMember() bool {
	s := &c.spans[len(c.spans)-1]
	name, value := c.out[s.name:s.nameEnd], c.out[s.nameEnd+2:]
	omit := false
	switch {
	case c.open[len(c.open)-1].usage && string(name) == "include_usage":
		if c.usageSeen {
			return false
		}
		omit, c.usageSeen = true, true
	case len(c.open) > 1:
	case string(name) == "stream_options":
		// It may have more in it than what is left out of it.
		omit = string(value) == "{}" || string(value) == "null"
		if !c.once(len(framingMembers)) {
			return false
		}
	case string(name) == "model":
		if c.latest {
			c.out = c.out[:len(c.out)-len(value)+len(withoutLatest(value))]
			c.out[len(c.out)-1] = value[len(value)-1]
		}
	default:
		for i, m := range framingMembers {
			if string(name) == m {
				if omit = true; !c.once(i) {
					return false
				}
				break
			}
		}
	}
	if omit {
		c.out = c.out[:s.name-1]
		c.spans = c.spans[:len(c.spans)-1]
		return true
	}
	c.put(',')
	s.end = len(c.out)
	return true
}

// once notes a member that may be left out, and tells whether it was the first
// of its name.
func (c *canon) once(i int) bool {
	before := c.seen
	c.seen |= 1 << i
	return c.seen != before
}

// withoutLatest cuts the tag that a model's name has by default off the quoted
// name. What is left must be a name without a tag.
func withoutLatest(quoted []byte) []byte {
	const tag = `:latest"`
	bare, ok := bytes.CutSuffix(quoted, []byte(tag))
	if !ok || len(bare) < 2 {
		return quoted
	}
	last := bare[1+bytes.LastIndexByte(bare, '/'):]
	if len(last) == 0 || bytes.IndexByte(last, ':') >= 0 {
		return quoted
	}
	return quoted[:len(bare)+1]
}
