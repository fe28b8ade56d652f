package dialect

import (
	"net/http"
	"strings"
	"unicode"
)

const maxSession = 256 // bytes kept of a session's id

// What ties exchanges together stands in a header, else in the body. Only printable
// characters of it are kept, at most 256 bytes of them. It is a hint for
// correlation, never for authorisation: anybody can send any id.

// SessionInHeader finds the first of the named headers that says something, in the
// order of the names, which are in canonical form.
func SessionInHeader(header http.Header, names []string) string {
	for _, name := range names {
		values := header[name]
		if len(values) == 0 {
			continue
		}
		if id := printable(values[0]); id != "" {
			return id
		}
	}
	return ""
}

// SessionInBody finds what the body says in session_id, conversation,
// previous_response_id, metadata.session_id or metadata.user_id, in that order.
func SessionInBody(body []byte) string {
	var session, conversation, previous, meta, user []byte
	c := cursor{b: body}
	if !c.object() {
		return ""
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "session_id":
			session = c.str()
		case "conversation":
			conversation = readID(&c)
		case "previous_response_id":
			previous = c.str()
		case "metadata":
			meta, user = readMetadata(&c)
		default:
			c.skip()
		}
	}
	for _, spelled := range [...][]byte{session, conversation, previous, meta} {
		if id := printable(unquote(spelled)); id != "" {
			return id
		}
	}
	return printable(sessionOfUser(unquote(user)))
}

// readID reads an id, or an object that has one.
func readID(c *cursor) (id []byte) {
	if c.peek() != '{' {
		return c.str()
	}
	c.i++
	for name, ok := c.member(); ok; name, ok = c.member() {
		if string(name) == "id" {
			id = c.str()
		} else {
			c.skip()
		}
	}
	return id
}

func readMetadata(c *cursor) (session, user []byte) {
	if !c.object() {
		return nil, nil
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		switch string(name) {
		case "session_id":
			session = c.str()
		case "user_id":
			user = c.str()
		default:
			c.skip()
		}
	}
	return session, user
}

// sessionOfUser finds the session that Claude Code puts into the user's id:
// behind a marker, or as a member of an object written into the text.
func sessionOfUser(user string) string {
	if _, session, ok := strings.Cut(user, "_session_"); ok {
		return session
	}
	c := cursor{b: []byte(user)}
	if c.peek() == '{' {
		if session, _ := readMetadata(&c); len(session) > 0 {
			return unquote(session)
		}
	}
	return user
}

// printable keeps the printable characters of an id, at most maxSession bytes.
func printable(id string) string {
	id = clip(id, 4*maxSession) // enough, and not much to look at
	id = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, id)
	return clip(strings.TrimSpace(id), maxSession)
}
