package dialect

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// answer is what was put together.
func (a *assembly) answer(s Summary) Answer {
	out := Answer{Summary: s}
	if a.op == OpResponses && len(a.whole) > 0 && len(a.voices) > 0 {
		a.voices[0].complete(a.whole)
	}
	if len(a.voices) == 0 {
		return out
	}
	slices.SortStableFunc(a.voices, func(v, w voice) int { return cmp.Compare(v.index, w.index) })
	first := &a.voices[0]
	out.Text = text(first.text)
	out.Reasoning = text(first.reasoning)
	out.ToolCalls = first.toolCalls()
	if len(a.voices) > 1 {
		out.Choices = writeChoices(a.voices)
	}
	return out
}

// complete fills in, from the response that ends a stream, what no delta said.
func (v *voice) complete(output []byte) {
	var whole voice
	whole.readOutput(output)
	if len(v.text) == 0 {
		v.text = whole.text
	}
	if len(v.reasoning) == 0 {
		v.reasoning = whole.reasoning
	}
	if len(v.calls) == 0 {
		v.calls = whole.calls
	}
}

func writeChoices(voices []voice) []byte {
	dst := []byte{'['}
	for i := range voices {
		v := &voices[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `{"index":`...), v.index, 10)
		dst = appendText(append(dst, `,"text":`...), text(v.text))
		if len(v.reasoning) > 0 {
			dst = appendText(append(dst, `,"reasoning":`...), text(v.reasoning))
		}
		if calls := v.toolCalls(); calls != nil {
			dst = append(append(dst, `,"tool_calls":`...), calls...)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// toolCalls writes the calls in the order in which they began.
func (v *voice) toolCalls() []byte {
	if len(v.calls) == 0 {
		return nil
	}
	dst := []byte{'['}
	for i := range v.calls {
		k := &v.calls[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		if len(k.id) > 0 {
			dst = append(appendText(append(dst, `"id":`...), text(k.id)), ',')
		}
		dst = appendText(append(dst, `"name":`...), text(k.name))
		dst = append(dst, `,"arguments":`...)
		dst = k.appendArguments(dst)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendArguments writes arguments as the JSON value that they spell, else as
// the text they are.
func (k *call) appendArguments(dst []byte) []byte {
	value := jsontext.Value(bytes.Clone(k.arguments))
	written := ""
	if len(k.spelled) > 0 {
		written = text(k.spelled)
		value = jsontext.Value(written)
	}
	if value.Compact(jsontext.AllowDuplicateNames(true)) == nil {
		return append(dst, value...)
	}
	if written == "" {
		return append(dst, "null"...)
	}
	return appendText(dst, written)
}

// text decodes the inside of JSON strings that were put side by side. It never
// gives up: a half of a surrogate pair, and what is no UTF-8, becomes U+FFFD;
// an escape that there is none of stays as it is.
func text(spelled []byte) string {
	if bytes.IndexByte(spelled, '\\') < 0 {
		return valid(string(spelled))
	}
	dst := make([]byte, 0, len(spelled))
	for {
		n := bytes.IndexByte(spelled, '\\')
		if n < 0 || n+1 == len(spelled) {
			return valid(string(append(dst, spelled...)))
		}
		dst = append(dst, spelled[:n]...)
		spelled = spelled[n+1:]
		ch := spelled[0]
		spelled = spelled[1:]
		switch ch {
		case '"', '\\', '/':
			dst = append(dst, ch)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, ok := hex4(spelled)
			if !ok {
				dst = append(dst, `\u`...)
				continue
			}
			spelled = spelled[4:]
			if utf16.IsSurrogate(r) {
				if low, ok := escape(spelled); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
					r = utf16.DecodeRune(r, low)
					spelled = spelled[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '\\', ch)
		}
	}
}

// escape reads an escape by number that stands at the beginning.
func escape(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	return hex4(b[2:])
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(n), err == nil
}
