package dialect

import "strings"

// Blame is whose fault an error answer is.
type Blame uint8

// The verdicts. Only BlameUpstream says that the upstream is not well.
const (
	BlameUpstream Blame = iota
	BlameClient         // the request cannot be served, here or elsewhere
	BlameBusy           // the server is well and has too much to do
	BlameLoading        // the server is well and not ready yet
)

// String returns the verdict's name.
func (b Blame) String() string {
	switch b {
	case BlameClient:
		return "client"
	case BlameBusy:
		return "busy"
	case BlameLoading:
		return "loading"
	default:
		return "upstream"
	}
}

// fault is a text by which a server gives away that its 500 is the client's
// mistake.
type fault struct {
	prefix string // the message begins with it
	has    string // and has this in it
}

// ollamaFaults are 500s of Ollama: a value in options that has the wrong type,
// and a format that is none.
var ollamaFaults = [...]fault{
	{`option "`, ` must be of type `},
	{"invalid format: ", "expected "},
}

// llamaFaults are 500s of llama.cpp's server: a body that is no JSON or empty,
// a value of the wrong type, an empty text to embed, and a text longer than
// one batch.
var llamaFaults = [...]fault{
	{"[json.exception.parse_error.", ""},
	{"[json.exception.type_error.", ""},
	{`"prompt" must not be empty`, ""},
	{"input is too large to process", ""},
}

// BlameOf judges an answer with a status of 400 or more by the status and what
// its body says. 429 and 529 count as busy. A beginning of the body is enough
// if the error stands in it.
func BlameOf(d Dialect, status int, body []byte) Blame {
	switch {
	case status == 429, status == 529:
		return BlameBusy
	case 400 <= status && status < 500, status == 501:
		return BlameClient
	case status != 500 && status != 503:
		return BlameUpstream
	}
	message, kind := errorText(body)
	if status == 503 {
		return blame503(message, kind)
	}
	// Ollama of 2026 runs llama.cpp's server and hands its error on as a text.
	if inner, _ := errorText([]byte(message)); strings.HasPrefix(message, "{") && inner != "" {
		message = inner
	}
	if faulty(llamaFaults[:], message) || d != Opaque && faulty(ollamaFaults[:], message) {
		return BlameClient
	}
	return BlameUpstream
}

func blame503(message, kind string) Blame {
	message = strings.ToLower(message)
	switch {
	case strings.HasPrefix(message, "loading model"),
		strings.HasPrefix(message, "model ") && strings.Contains(message, "currently loading"):
		return BlameLoading
	case strings.HasPrefix(kind, "overloaded"),
		strings.HasPrefix(message, "server busy"),
		strings.Contains(message, "overloaded"):
		return BlameBusy
	}
	return BlameUpstream
}

func faulty(faults []fault, message string) bool {
	for _, f := range faults {
		if strings.HasPrefix(message, f.prefix) && strings.Contains(message, f.has) {
			return true
		}
	}
	return false
}

// errorText finds message and type of the error in a body of any dialect: an
// object or a text called error, or a message at the top. A body that is no JSON
// is its own message, but for markup, which comes from some proxy on the way.
func errorText(body []byte) (message, kind string) {
	c := cursor{b: body}
	switch c.peek() {
	case '{':
	case '<', 0:
		return "", ""
	default:
		return plainError(body), ""
	}
	var flat, text, class []byte
	c.i++
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "error":
			text, class = readFault(&c, class)
		case "message":
			flat = c.str()
		case "error_type":
			class = c.str()
		default:
			c.skip()
		}
	}
	if len(text) == 0 {
		text = flat
	}
	return unquote(text), unquote(class)
}

// readFault reads the value of an error member.
func readFault(c *cursor, class []byte) (text, kind []byte) {
	kind = class
	if c.peek() != '{' {
		return c.str(), kind
	}
	c.i++
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "message":
			text = c.str()
		case "type":
			kind = c.str()
		default:
			c.skip()
		}
	}
	return text, kind
}
