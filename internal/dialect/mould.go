package dialect

import "bytes"

// A mould is an event that was read, with its text left out. The chunks of a
// stream differ in little else: an event that has the same bytes before and after
// its text says the same, and need not be read again.
type mould struct {
	head, tail []byte
}

// maxMoulded bounds the events that are remembered, and the text within them.
const maxMoulded = 4 << 10

// texts are the members that hold the text of a chunk, with the beginning of
// their value. Within a string the quotes would be escaped, so that only a member
// can look like this.
var texts = map[Op][]byte{
	OpChat:        []byte(`"content":"`),
	OpCompletions: []byte(`"text":"`),
}

// holds tells that ev differs from the event that was learnt only in its text,
// which is not empty.
func (f *mould) holds(ev []byte) bool {
	n := len(ev) - len(f.head) - len(f.tail)
	if len(f.head) == 0 || n <= 0 || n > maxMoulded || !bytes.HasPrefix(ev, f.head) || !bytes.HasSuffix(ev, f.tail) {
		return false
	}
	return asIs(ev[len(f.head) : len(f.head)+n])
}

// learn remembers an event that was read and said nothing but that it has text.
func (f *mould) learn(op Op, ev []byte) {
	f.head = f.head[:0]
	text := texts[op]
	if text == nil || len(ev) > maxMoulded {
		return
	}
	_, after, found := bytes.Cut(ev, text)
	end := bytes.IndexByte(after, '"')
	if !found || end <= 0 || !asIs(after[:end]) {
		return
	}
	f.head = append(f.head, ev[:len(ev)-len(after)]...)
	f.tail = append(f.tail[:0], after[end:]...)
}

// asIs tells that p can stand in a JSON string, and in a line, as it is.
func asIs(p []byte) bool {
	for _, c := range p {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
