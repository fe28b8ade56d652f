package dialect

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Request is what the body of a generate or embed request says. What could not
// be read is zero.
type Request struct {
	// Object says that the body is one well formed JSON object and nothing else.
	Object bool

	// Ambiguous says that two readers may see different requests in the body:
	// an object somewhere in it names a member twice, or in two spellings that
	// differ only in case, or a member that matters is spelled in another case.
	// Ollama takes any case and the last one; others do not.
	Ambiguous bool

	Model  string // at most 256 bytes
	Stream bool   // as given, else the route's default

	// IncludeUsage says that stream_options asks for token counts.
	IncludeUsage bool

	// Load says that the request loads or unloads a model and generates nothing.
	Load bool

	// Stateful says that the server is to keep something of the request, or that
	// its answer depends on something the server kept.
	Stateful bool

	// Live says that equal bodies need not mean equal requests: a tool that the
	// server runs itself (web search…), or an image, a sound or a file by URL. It
	// also covers Ollama's debug rendering, which is no answer.
	Live bool

	// Deterministic says that temperature 0 or a seed is asked for, and one choice.
	Deterministic bool
}

const maxModel = 256 // bytes kept of a model's name

// ParseRequest reads the body of a generate or embed request. It never fails.
func ParseRequest(rt Route, body []byte) Request {
	text := jsontext.Value(body)
	ok, ambiguous := text.IsValid(jsontext.AllowInvalidUTF8(true)), false
	if !ok && text.IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) {
		ok, ambiguous = true, true
	}
	return readRequest(rt, body, ok, ambiguous)
}

// ParseSound is ParseRequest for a body that has a canonical form, which only a valid
// object has, and one that is not ambiguous.
func ParseSound(rt Route, body []byte) Request { return readRequest(rt, body, true, false) }

// readRequest reads a body, of which it is known whether it is JSON, and whether an
// object in it names a member twice.
func readRequest(rt Route, body []byte, ok, ambiguous bool) Request {
	r := Request{Stream: rt.StreamDefault, Ambiguous: ambiguous}
	c := cursor{b: body}
	if c.peek() != '{' {
		return r
	}
	r.Object = ok
	s := requestScan{Request: r, rt: rt, choices: 1, empty: true}
	s.read(&c)
	r = s.Request
	if ok {
		audit := auditNames(body)
		r.Ambiguous = r.Ambiguous || audit.ambiguous
		r.Live = r.Live || audit.remote
	}
	r.Load = s.empty && (rt.Op == OpOllamaChat || rt.Op == OpOllamaGenerate)
	r.Deterministic = (s.cold || s.seeded) && s.choices <= 1
	return r
}

// requestScan collects what several members decide together.
type requestScan struct {
	Request
	rt      Route
	empty   bool // no prompt, no messages
	cold    bool // temperature 0
	seeded  bool
	choices int64
}

// members are the names that are read at the top of a request.
var members = [...]string{
	"model", "stream", "stream_options", "messages", "prompt", "options",
	"temperature", "seed", "n", "best_of", "store", "background",
	"previous_response_id", "conversation", "tools", "web_search_options",
	"mcp_servers", "_debug_render_only",
}

// known maps a name as spelled to the name it stands for, and tells whether
// that is how it is spelled.
func known(spelled []byte) (name string, exact bool) {
	for _, m := range members {
		if string(spelled) == m {
			return m, true
		}
	}
	if plain(spelled) {
		return "", true
	}
	text := []byte(unquote(spelled))
	for _, m := range members {
		if bytes.EqualFold(text, []byte(m)) {
			return m, string(text) == m
		}
	}
	return "", true
}

func (s *requestScan) read(c *cursor) {
	c.object()
	for {
		spelled, ok := c.member()
		if !ok {
			return
		}
		name, exact := known(spelled)
		if !exact {
			s.Ambiguous = true
		}
		switch name {
		case "model":
			if c.peek() != '"' {
				c.skip()
				continue
			}
			s.Model = clip(unquote(c.quoted()), maxModel)
		case "stream":
			s.readStream(c)
		case "stream_options":
			s.readStreamOptions(c)
		case "messages":
			given := c.given()
			if s.rt.Op != OpOllamaGenerate {
				s.empty = !given
			}
		case "prompt":
			given := c.given()
			if s.rt.Op != OpOllamaChat {
				s.empty = !given
			}
		case "options":
			s.readOptions(c)
		case "temperature":
			s.cold = isZero(c)
		case "seed":
			_, s.seeded = c.count()
		case "n", "best_of":
			if n, ok := c.count(); ok {
				s.choices = max(s.choices, n)
			}
		case "store", "background":
			s.Stateful = c.isTrue() || s.Stateful
		case "previous_response_id", "conversation":
			s.Stateful = c.given() || s.Stateful
		case "tools":
			s.readTools(c)
		case "web_search_options":
			s.Live = c.peek() == '{' || s.Live
			c.skip()
		case "mcp_servers", "_debug_render_only":
			s.Live = c.given() || s.Live
		default:
			c.skip()
		}
	}
}

func (s *requestScan) readStream(c *cursor) {
	switch c.peek() {
	case 't', 'f':
		s.Stream = string(c.scalar()) == "true"
	case 'n':
		c.skip()
		// Ollama's own API has an optional here, which null takes back; where it
		// is a plain boolean, null changes nothing.
		if s.rt.Dialect == Ollama {
			s.Stream = s.rt.StreamDefault
		}
	default:
		c.skip()
	}
}

func (s *requestScan) readStreamOptions(c *cursor) {
	if c.object() {
		for name, ok := c.member(); ok; name, ok = c.member() {
			if !bytes.EqualFold(name, []byte("include_usage")) {
				c.skip()
				continue
			}
			s.IncludeUsage = c.isTrue()
			s.Ambiguous = s.Ambiguous || string(name) != "include_usage"
		}
	}
}

// readOptions reads Ollama's sampling options. Their names are exact there.
func (s *requestScan) readOptions(c *cursor) {
	if !c.object() {
		return
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "temperature":
			s.cold = isZero(c)
		case "seed":
			_, s.seeded = c.count()
		default:
			c.skip()
		}
	}
}

// readTools looks for tools that the server runs itself. A function is run by
// the client, and so is a tool without a type.
func (s *requestScan) readTools(c *cursor) {
	if !c.array() {
		return
	}
	for c.element() {
		if !c.object() {
			continue
		}
		for name, ok := c.member(); ok; name, ok = c.member() {
			if string(name) != "type" {
				c.skip()
				continue
			}
			switch string(c.str()) {
			case "function", "custom", "":
			default:
				s.Live = true
			}
		}
	}
}

// isZero reads a number and tells whether it is 0, however it is spelled.
func isZero(c *cursor) bool {
	switch ch := c.peek(); {
	case ch == '-', '0' <= ch && ch <= '9':
		f, err := strconv.ParseFloat(string(c.scalar()), 64)
		return err == nil && f == 0
	default:
		c.skip()
		return false
	}
}

// ModelOf returns the model that the body of a show, pull, push, delete, create,
// copy or count_tokens request names: `model`, else the older `name`, else the
// `destination` of a copy. At most 256 bytes, empty if there is none. Of a body
// the beginning is enough, if the name is in it.
func ModelOf(body []byte) string {
	var model, name, destination string
	c := cursor{b: body}
	if !c.object() {
		return ""
	}
	for {
		spelled, ok := c.member()
		if !ok {
			break
		}
		if c.peek() != '"' {
			c.skip()
			continue
		}
		switch text := unquote(spelled); {
		case strings.EqualFold(text, "model"):
			model = unquote(c.quoted())
		case strings.EqualFold(text, "name"):
			name = unquote(c.quoted())
		case strings.EqualFold(text, "destination"):
			destination = unquote(c.quoted())
		default:
			c.skip()
		}
	}
	switch {
	case model != "":
		return clip(model, maxModel)
	case name != "":
		return clip(name, maxModel)
	default:
		return clip(destination, maxModel)
	}
}
