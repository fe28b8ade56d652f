package dialect

import "bytes"

// events reads the lines of one SSE event. Should the bytes hold several, each
// is read as it would be on its own.
func (m *Meter) events(ev []byte) (sig Signal) {
	ev = bytes.TrimPrefix(ev, []byte("\xef\xbb\xbf"))
	lines := lineReader{b: ev, feed: -1, back: -1}
	var name, data []byte
	count, open := 0, false // data lines; a line of an event whose end is to come
	for {
		line, ok := lines.next()
		if !ok || len(line) == 0 {
			if open {
				m.torn = !ok && count == 0
			}
			if count > 0 || string(name) == "error" {
				sig |= m.dispatch(name, data)
			}
			if !ok {
				return sig
			}
			name, data, count, open = nil, nil, 0, false
			continue
		}
		open = open || line[0] != ':'
		field, value := splitField(line)
		switch string(field) {
		case "data":
			count++
			switch count {
			case 1:
				data = value
			case 2:
				m.joined = append(append(append(m.joined[:0], data...), '\n'), value...)
				data = m.joined
			default:
				m.joined = append(append(m.joined, '\n'), value...)
				data = m.joined
			}
		case "event":
			name = value
		case "error":
			// llama.cpp before 2026: a field that SSE parsers pass over.
			sig |= m.document(value, []byte("error"))
		case "proxy error":
			// llama-server's router, when a model's process dies: bare text.
			sig |= m.failed(plainError(line))
		}
	}
}

// dispatch reads one event's data. OpenAI's SDKs stop at whatever begins with
// the marker.
func (m *Meter) dispatch(name, data []byte) Signal {
	if data = bytes.TrimSpace(data); bytes.HasPrefix(data, []byte("[DONE]")) {
		m.sum.DoneMarker = true
		return Terminal
	}
	return m.document(data, name)
}

// splitField splits a line at its colon. One space behind it does not count.
func splitField(line []byte) (field, value []byte) {
	field, value, _ = bytes.Cut(line, []byte(":"))
	return field, bytes.TrimPrefix(value, []byte(" "))
}

// lineReader yields lines that end in LF, CR or CRLF. It looks for each kind of
// end only once behind the last one found, so that no mixture of them is slow.
type lineReader struct {
	b          []byte
	i          int
	feed, back int // the next LF and CR; len(b) if there is none
}

func (r *lineReader) next() (line []byte, ok bool) {
	if r.i >= len(r.b) {
		return nil, false
	}
	r.feed = r.find(r.feed, '\n')
	r.back = r.find(r.back, '\r')
	end := min(r.feed, r.back)
	line = r.b[r.i:end]
	r.i = end + 1
	if r.back+1 == r.feed && end == r.back {
		r.i++
	}
	return line, true
}

// find returns the first place of ch at or behind the reader, given the place
// found before.
func (r *lineReader) find(at int, ch byte) int {
	if at >= r.i {
		return at
	}
	if n := bytes.IndexByte(r.b[r.i:], ch); n >= 0 {
		return r.i + n
	}
	return len(r.b)
}
