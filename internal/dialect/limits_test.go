package dialect

import (
	"bytes"
	"testing"
)

// TestHostileInput: everything returns, and in linear time, else this would run
// for hours.
func TestHostileInput(t *testing.T) {
	const deep, long, longest = 100_000, 1 << 20, 10 << 20
	inputs := map[string][]byte{
		"arrays":       append(bytes.Repeat([]byte("["), deep), bytes.Repeat([]byte("]"), deep)...),
		"open arrays":  bytes.Repeat([]byte("["), long),
		"objects":      append(append(bytes.Repeat([]byte(`{"A":`), deep), '1'), bytes.Repeat([]byte("}"), deep)...),
		"open objects": bytes.Repeat([]byte(`{"error":`), long/9),
		"choices":      bytes.Repeat([]byte(`{"choices":[`), long/12),
		"one text":     append(append([]byte(`{"model":"`), bytes.Repeat([]byte("a"), longest)...), `"}`...),
		"escapes":      append(append([]byte(`{"model":"`), bytes.Repeat([]byte(`\\`), longest/2)...), `"}`...),
		"quotes":       bytes.Repeat([]byte(`\"`), long/2),
		"names":        append(bytes.Repeat([]byte(`{"X":1},`), long/8), '{'),
		"open text":    append([]byte(`{"a":"`), bytes.Repeat([]byte("a"), longest)...),
		"commas":       bytes.Repeat([]byte(","), long),
		"digits":       append(append([]byte(`{"seed":`), bytes.Repeat([]byte("9"), long)...), '}'),
		"spaces":       bytes.Repeat([]byte(" "), long),
		"zeros":        make([]byte, long),
		"CR":           bytes.Repeat([]byte("\r"), longest),
		"LF":           bytes.Repeat([]byte("\n"), long),
		"CR, then LF":  append(bytes.Repeat([]byte("\r"), long), '\n'),
		"data lines":   bytes.Repeat([]byte("data: x\n"), long/8),
		"events":       bytes.Repeat([]byte("data: {}\n\n"), long/10),
		"members":      manyMembers(100_000),
	}
	paths := []string{chatPath, responsesPath, messagesPath, "/api/chat", "/v1/embeddings"}
	for name, in := range inputs {
		for _, path := range paths {
			var m Meter
			m.Reset(RouteOf("POST", path), FramingJSON)
			m.Whole(in)
			if m.Summary().Complete {
				t.Errorf("%s as an answer on %s: complete", name, path)
			}
		}
		rt := RouteOf("POST", chatPath)
		for _, ev := range [][]byte{in, append([]byte("data: "), in...)} {
			var m Meter
			m.Reset(rt, FramingSSE)
			m.Event(ev)
			if m.Summary().Complete {
				t.Errorf("%s as an event: complete", name)
			}
		}
		ParseRequest(rt, in)
		ModelOf(in)
		SessionInBody(in)
		BlameOf(OpenAI, 500, in)
		if _, err := ReadFields(rt, in); err != nil && name == "one text" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// manyMembers is an object of so many members, each of which could be another's
// spelling.
func manyMembers(n int) []byte {
	b := []byte("{")
	for i := range n {
		b = append(b, '"', 'A'+byte(i%26), 'a'+byte(i/26%26), 'A'+byte(i/676%26), 'a'+byte(i/17576%26), '"', ':', '1', ',')
	}
	return append(b, `"z":1}`...)
}

func TestDeepNestingIsPassedOver(t *testing.T) {
	nest := append(append(bytes.Repeat([]byte("["), 100_000), '1'), bytes.Repeat([]byte("]"), 100_000)...)
	body := append(append([]byte(`{"x":`), nest...), `,"model":"m"}`...)
	if got := ModelOf(body); got != "m" {
		t.Errorf("model behind the nest: got %q, want m", got)
	}
	var m Meter
	m.Reset(RouteOf("POST", "/api/chat"), FramingNDJSON)
	if sig := m.Event(append(append([]byte(`{"x":`), nest...), `,"done":true}`...)); sig != Terminal {
		t.Errorf("end behind the nest: got %q, want T", letters(sig))
	}
}
