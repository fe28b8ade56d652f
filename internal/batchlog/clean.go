package batchlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// cleaner makes texts fit for every sink: Postgres takes no NUL and no invalid
// UTF-8, and JSON with half a surrogate pair is read by few. What does not fit
// becomes U+FFFD, and altered says so.
type cleaner struct{ altered bool }

const replacement = "\uFFFD"

func (cl *cleaner) text(s string) string {
	clean := s
	if !utf8.ValidString(clean) {
		clean = strings.ToValidUTF8(clean, replacement)
	}
	if strings.IndexByte(clean, 0) >= 0 {
		clean = strings.ReplaceAll(clean, "\x00", replacement)
	}
	if clean != s {
		cl.altered = true
	}
	return clean
}

// read notes that texts which were read from raw have U+FFFD where raw has something
// else: reading JSON puts it in the place of what is no character.
func (cl *cleaner) read(raw []byte, texts ...string) {
	for _, text := range texts {
		if !cl.altered && strings.Contains(text, replacement) {
			cl.altered = !bytes.Contains(raw, []byte(replacement)) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`))
		}
	}
}

// json cleans a valid JSON value, and puts in place of a picture or a sound that
// stands in it what it was: the bytes would make the log of a conversation
// larger by a hundred times.
func (cl *cleaner) json(value []byte) []byte {
	if value == nil {
		return nil
	}
	return mapStrings(value, func(name, spelled []byte) ([]byte, bool) {
		if holder := payloadName(name); holder && len(spelled) >= minEncoded {
			if kind, data, ok := encoded(spelled); ok {
				cl.altered = true
				sum := sha256.Sum256(data)
				return fmt.Appendf(nil, "[%s, %d bytes, sha256 %s]", kind, len(data), hex.EncodeToString(sum[:])), true
			}
		}
		fixed, changed := fixString(spelled)
		cl.altered = cl.altered || changed
		return fixed, changed
	})
}

// minEncoded is how long an encoded file is at least. What is shorter may be a
// word.
const minEncoded = 128

// payloadName tells which members hold files in one of the dialects.
func payloadName(name []byte) bool {
	switch string(name) {
	case "url", "image_url", "file_data", "data", "images", "file_url", "audio_url", "video_url":
		return true
	}
	return false
}

// encoded reads a file in base64, with or without the head of a data URL.
func encoded(text []byte) (kind string, data []byte, ok bool) {
	kind = "data"
	if rest, found := bytes.CutPrefix(text, []byte("data:")); found {
		head, tail, found := bytes.Cut(rest, []byte(";base64,"))
		if !found || len(head) > 100 || bytes.IndexByte(head, '\\') >= 0 {
			return "", nil, false
		}
		kind, text = string(head), tail
	}
	if bytes.IndexByte(text, '\\') >= 0 { // a slash may be escaped
		text = bytes.ReplaceAll(text, []byte(`\/`), []byte("/"))
	}
	trimmed := bytes.TrimRight(text, "=")
	data = make([]byte, base64.RawStdEncoding.DecodedLen(len(trimmed)))
	n, err := base64.RawStdEncoding.Decode(data, trimmed)
	if err != nil {
		return "", nil, false
	}
	if kind == "" {
		kind = "data"
	}
	return kind, data[:n], true
}

// mapStrings returns a JSON value with each string changed as do says: it is
// given the name of the member that the string, or the array that it is in,
// stands under, and the inside of the string as spelled. Names themselves are
// given too, without a name. The value itself is not changed.
func mapStrings(value []byte, do func(name, spelled []byte) (changed []byte, ok bool)) []byte {
	var out []byte
	var name []byte
	done := 0 // up to where value is in out
	for i := 0; i < len(value); i++ {
		quote := bytes.IndexByte(value[i:], '"')
		if quote < 0 {
			break
		}
		start := i + quote + 1
		end := endOfString(value, start)
		if end < 0 {
			break
		}
		i = end
		spelled := value[start:end]
		isName := followsColon(value[end+1:])
		under := name
		if isName {
			under = nil
		}
		if changed, ok := do(under, spelled); ok {
			out = append(append(out, value[done:start]...), changed...)
			done = end
		}
		if isName {
			name = spelled
		}
	}
	if done == 0 {
		return value
	}
	return append(out, value[done:]...)
}

// endOfString finds the quote that ends the string which begins at start.
func endOfString(b []byte, start int) int {
	for i := start; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := i
		for slashes > start && b[slashes-1] == '\\' {
			slashes--
		}
		if (i-slashes)%2 == 0 {
			return i
		}
	}
	return -1
}

func followsColon(b []byte) bool {
	for _, ch := range b {
		switch ch {
		case ' ', '\t', '\n', '\r':
		default:
			return ch == ':'
		}
	}
	return false
}

// fixString replaces, in the inside of a JSON string, the escape of NUL, halves
// of surrogate pairs, and invalid UTF-8.
func fixString(spelled []byte) (fixed []byte, changed bool) {
	fixed = spelled
	if !utf8.Valid(fixed) {
		fixed, changed = bytes.ToValidUTF8(fixed, []byte(replacement)), true
	}
	if !bytes.Contains(fixed, []byte(`\u`)) {
		return fixed, changed
	}
	var out []byte
	done := 0
	for i := 0; i+1 < len(fixed); i++ {
		if fixed[i] != '\\' {
			continue
		}
		i++ // at what is escaped
		if fixed[i] != 'u' {
			continue
		}
		at := i - 1
		unit := codeUnit(fixed[at:])
		switch {
		case unit >= 0xD800 && unit < 0xDC00:
			if low := codeUnit(fixed[min(at+6, len(fixed)):]); low >= 0xDC00 && low < 0xE000 {
				i = at + 11
				continue
			}
		case unit >= 0xDC00 && unit < 0xE000, unit == 0:
		default:
			continue
		}
		out = append(append(out, fixed[done:at]...), `\ufffd`...)
		done = at + 6
		i = done - 1
	}
	if done == 0 {
		return fixed, changed
	}
	return append(out, fixed[done:]...), true
}

// codeUnit reads the escape \uXXXX at the beginning, or returns -1.
func codeUnit(b []byte) int {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}
