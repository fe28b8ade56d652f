package dialect

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// cursor walks over JSON text without building anything: it finds members and
// skips what nobody asked for. It checks brackets, quotes and ends, so that a
// document that was cut short is bad, but not the spelling of numbers. It
// allocates nothing, does not recurse, and never goes back.
type cursor struct {
	b   []byte
	i   int
	bad bool // no JSON, or cut short; whatever was read so far is worth nothing
}

// fail ends the walk: every loop over the cursor stops.
func (c *cursor) fail() {
	c.bad = true
	c.i = len(c.b)
}

// peek returns the first byte of what comes next, or 0 at the end.
func (c *cursor) peek() byte {
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; ch {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return ch
		}
	}
	return 0
}

// object enters an object, or skips a value that is none.
func (c *cursor) object() bool { return c.enter('{') }

// array enters an array, or skips a value that is none.
func (c *cursor) array() bool { return c.enter('[') }

func (c *cursor) enter(open byte) bool {
	if c.peek() != open {
		c.skip()
		return false
	}
	c.i++
	return true
}

// member moves to the next member's value and returns its name as spelled, or
// false behind the object's end.
func (c *cursor) member() (name []byte, ok bool) {
	ch := c.peek()
	if ch == ',' {
		c.i++
		ch = c.peek()
	}
	switch ch {
	case '}':
		c.i++
		return nil, false
	case '"':
		name = c.quoted()
		if c.peek() == ':' {
			c.i++
			return name, true
		}
	}
	c.fail()
	return nil, false
}

// element moves to the array's next value, or returns false behind its end.
func (c *cursor) element() bool {
	ch := c.peek()
	if ch == ',' {
		c.i++
		ch = c.peek()
	}
	switch ch {
	case ']':
		c.i++
		return false
	case 0:
		c.fail()
		return false
	}
	return true
}

// quoted reads the string that begins here and returns it as spelled, without
// its quotes.
func (c *cursor) quoted() []byte {
	c.i++
	start := c.i
	for {
		n := bytes.IndexByte(c.b[c.i:], '"')
		if n < 0 {
			c.fail()
			return nil
		}
		end := c.i + n
		c.i = end + 1
		slashes := end
		for slashes > start && c.b[slashes-1] == '\\' {
			slashes--
		}
		if (end-slashes)%2 == 0 {
			return c.b[start:end]
		}
	}
}

// str reads a string as spelled, or skips a value that is none.
func (c *cursor) str() []byte {
	if c.peek() == '"' {
		return c.quoted()
	}
	c.skip()
	return nil
}

// scalar reads a number or a literal as spelled.
func (c *cursor) scalar() []byte {
	c.peek()
	start := c.i
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ',', ']', '}', ' ', '\t', '\n', '\r', ':', '"', '{', '[':
			if c.i == start {
				c.fail()
			}
			return c.b[start:c.i]
		}
		c.i++
	}
	if c.i == start {
		c.fail()
	}
	return c.b[start:c.i]
}

// value skips the next value and returns its text.
func (c *cursor) value() []byte {
	c.peek()
	start := c.i
	c.skip()
	if c.bad {
		return nil
	}
	return c.b[start:c.i]
}

// skip passes over one value, however deep.
func (c *cursor) skip() {
	switch c.peek() {
	case '"':
		c.quoted()
		return
	case '{', '[':
	default:
		c.scalar()
		return
	}
	depth := 0
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case '"':
			c.quoted()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				c.i++
				return
			}
		}
		c.i++
	}
	c.fail()
}

// isTrue reads a value and tells whether it is true.
func (c *cursor) isTrue() bool {
	if c.peek() == 't' {
		return string(c.scalar()) == "true"
	}
	c.skip()
	return false
}

// given reads a value and tells whether there is something in it: text, an
// element, a member, or true. That is what SDKs call truthy, numbers apart.
func (c *cursor) given() bool {
	switch c.peek() {
	case '"':
		return len(c.quoted()) > 0
	case '[', '{':
		from := c.i
		c.skip()
		return !c.bad && len(bytes.TrimSpace(c.b[from+1:c.i-1])) > 0
	case 't':
		return string(c.scalar()) == "true"
	default:
		c.skip()
		return false
	}
}

// count reads a whole number that is not negative.
func (c *cursor) count() (n int64, ok bool) {
	if ch := c.peek(); ch < '0' || ch > '9' {
		c.skip()
		return 0, false
	}
	for _, ch := range c.scalar() {
		if ch < '0' || ch > '9' || n > (1<<62)/10 {
			return 0, false
		}
		n = n*10 + int64(ch-'0')
	}
	return n, true
}

// end tells whether the text is over, as it must be behind a document.
func (c *cursor) end() bool {
	return !c.bad && c.peek() == 0 && c.i == len(c.b)
}

// unquote decodes the inside of a JSON string. Each byte that is no UTF-8, and
// each half of a broken pair of surrogates, becomes U+FFFD.
func unquote(spelled []byte) string {
	if bytes.IndexByte(spelled, '\\') < 0 {
		return valid(string(spelled))
	}
	quoted := make([]byte, 0, len(spelled)+2)
	quoted = append(append(append(quoted, '"'), spelled...), '"')
	// An error means broken escapes or surrogates: as far as it goes is enough.
	text, _ := jsontext.AppendUnquote(nil, quoted)
	return valid(string(text))
}

func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return string([]rune(text))
}

// clip cuts text to at most limit bytes, between two characters.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
