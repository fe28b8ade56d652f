package dialect

import (
	"bytes"
	"unicode"
)

// nameAudit is what the names in a valid document give away.
type nameAudit struct {
	ambiguous bool // one object has names that differ only in case
	remote    bool // a string by the name of an URL points to the web
}

// auditNames walks over every object of a valid JSON document. Two spellings of
// one name are as bad as a duplicate: sorting them for a key loses their order,
// and to a reader that ignores case the order is the meaning.
func auditNames(body []byte) (found nameAudit) {
	var firsts [32]frame
	var some [64][]byte
	open, names := firsts[:0], some[:0]
	c := cursor{b: body}
	for !c.bad {
		switch c.peek() {
		case 0:
			return found
		case '{':
			c.i++
			open = append(open, frame{first: len(names)})
		case '[', ']', ',':
			c.i++
		case '}':
			c.i++
			if len(open) == 0 {
				return found
			}
			last := open[len(open)-1]
			if last.mixed && !found.ambiguous {
				found.ambiguous = variants(names[last.first:])
			}
			open, names = open[:len(open)-1], names[:last.first]
		case '"':
			text := c.quoted()
			if c.peek() != ':' {
				continue
			}
			c.i++
			if len(open) == 0 {
				return found
			}
			names = append(names, text)
			if !plain(text) {
				open[len(open)-1].mixed = true
			}
			if c.peek() == '"' && locates(text) && onWeb(c.quoted()) {
				found.remote = true
			}
		default:
			c.scalar()
		}
	}
	return found
}

// frame is an object that is not closed yet.
type frame struct {
	first int  // where its names begin
	mixed bool // a name could be another spelling of a plain one
}

// plain tells that a name has one spelling only among names that are plain.
func plain(name []byte) bool {
	for _, ch := range name {
		if 'A' <= ch && ch <= 'Z' || ch >= 0x80 || ch == '\\' {
			return false
		}
	}
	return true
}

// variants tells whether two of the names differ only in case, or not at all.
func variants(names [][]byte) bool {
	if len(names) < 2 {
		return false
	}
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		folded := string(name)
		if !plain(name) {
			folded = fold(unquote(name))
		}
		seen[folded] = struct{}{}
	}
	return len(seen) < len(names)
}

// fold maps all spellings of a name to one, by Unicode's simple folding, as Go's
// own JSON decoder does: the long s is an s to it.
func fold(name string) string {
	folded := make([]rune, 0, len(name))
	for _, r := range name {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		folded = append(folded, unicode.ToLower(least))
	}
	return string(folded)
}

// locates tells whether a member of this name holds a URL in one of the dialects.
func locates(name []byte) bool {
	switch string(name) {
	case "url", "image_url", "file_url", "audio_url", "video_url", "file_data":
		return true
	}
	return false
}

// onWeb tells a URL to fetch from one that carries its data.
func onWeb(url []byte) bool {
	return len(url) > 4 && bytes.EqualFold(url[:4], []byte("http"))
}
