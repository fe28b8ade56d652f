package stream

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// units cuts body with a Splitter that is given the bytes in pieces of the
// sizes, the last size again and again. It returns the units, and what is left
// over; events holds those units that are events.
func units(t testing.TB, f Framing, body []byte, sizes ...int) (all, events []string, rest string) {
	t.Helper()
	s := NewSplitter(f)
	var held []byte
	for i := 0; len(body) > 0; i++ {
		n := min(max(sizes[min(i, len(sizes)-1)], 1), len(body))
		held = append(held, body[:n]...)
		body = body[n:]
		for {
			n, event := s.Next(held)
			if n == 0 {
				break
			}
			all = append(all, string(held[:n]))
			if event {
				events = append(events, string(held[:n]))
			}
			held = held[n:]
		}
	}
	return all, events, string(held)
}

func TestSplitter(t *testing.T) {
	for _, tt := range []struct {
		name    string
		framing Framing
		body    string
		events  []string
		rest    string
	}{
		{"LF", SSE, "data: 1\n\ndata: 2\n\n", []string{"data: 1\n\n", "data: 2\n\n"}, ""},
		{"CRLF", SSE, "data: 1\r\n\r\ndata: 2\r\n\r\n", []string{"data: 1\r\n\r\n", "data: 2\r\n\r\n"}, ""},
		{"CR", SSE, "data: 1\r\rdata: 2\r\r", []string{"data: 1\r\r", "data: 2\r\r"}, ""},
		{"line ends mixed", SSE, "a: 1\r\n\ndata: 2\n\r\ndata: 3\r\n\rdata: 4\n\r", []string{"a: 1\r\n\n", "data: 2\n\r\n", "data: 3\r\n\r", "data: 4\n\r"}, ""},
		{"several lines", SSE, "event: x\ndata: 1\ndata: 2\n\n", []string{"event: x\ndata: 1\ndata: 2\n\n"}, ""},
		{"comment", SSE, ":\n\n: ping\n\ndata: 1\n\n", []string{":\n\n", ": ping\n\n", "data: 1\n\n"}, ""},
		{"BOM", SSE, "\ufeffdata: 1\n\n", []string{"\ufeffdata: 1\n\n"}, ""},
		{"blank lines between", SSE, "\n\ndata: 1\n\n\n\ndata: 2\n\n\n", []string{"data: 1\n\n", "data: 2\n\n"}, ""},
		{"no end", SSE, "data: 1\n\ndata: 2\n", []string{"data: 1\n\n"}, "data: 2\n"},
		{"a CR that may be half a line end", SSE, "data: 1\n\ndata: 2\r", []string{"data: 1\n\n"}, "data: 2\r"},
		{"no blank inside a line", SSE, "data: \r\ndata:  \n\n", []string{"data: \r\ndata:  \n\n"}, ""},
		{"nothing", SSE, "", nil, ""},
		{"lines", NDJSON, "{}\n{\"a\":1}\n", []string{"{}\n", "{\"a\":1}\n"}, ""},
		{"lines with CRLF", NDJSON, "{}\r\n{}\r\n", []string{"{}\r\n", "{}\r\n"}, ""},
		{"a CR ends no line", NDJSON, "{}\r{}\n", []string{"{}\r{}\n"}, ""},
		{"blank lines", NDJSON, "\n{}\n \r\n{}\n", []string{"{}\n", "{}\n"}, ""},
		{"last line without its end", NDJSON, "{}\n{}", []string{"{}\n"}, "{}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for size := 1; size <= len(tt.body)+1; size++ {
				all, events, rest := units(t, tt.framing, []byte(tt.body), size)
				if !slices.Equal(events, tt.events) && !slices.Equal(joinLF(events), joinLF(tt.events)) {
					t.Errorf("in pieces of %d: events %q, want %q", size, events, tt.events)
				}
				if rest != tt.rest {
					t.Errorf("in pieces of %d: %q left over, want %q", size, rest, tt.rest)
				}
				if got := strings.Join(all, "") + rest; got != tt.body {
					t.Errorf("in pieces of %d: %q came out of %q", size, got, tt.body)
				}
			}
		})
	}
}

// joinLF disregards whether the LF of a last CRLF came with its event or, since
// an event is passed on as soon as it is whole, behind it.
func joinLF(events []string) []string {
	out := slices.Clone(events)
	for i, e := range out {
		if strings.HasSuffix(e, "\r\n") || strings.HasSuffix(e, "\r") {
			out[i] = strings.TrimSuffix(strings.TrimSuffix(e, "\n"), "\r") + "\r"
		}
	}
	return out
}

// An event that ends with CR is whole: nothing is waited for.
func TestSplitterDoesNotWaitForLF(t *testing.T) {
	s := NewSplitter(SSE)
	if n, event := s.Next([]byte("data: 1\r\n\r")); n != 10 || !event {
		t.Fatalf("Next = %d, %v; want the whole event", n, event)
	}
	if n, event := s.Next([]byte("\ndata: 2\n\n")); n != 1 || event {
		t.Fatalf("Next = %d, %v; want the late LF as a filler", n, event)
	}
	if n, event := s.Next([]byte("data: 2\n\n")); n != 9 || !event {
		t.Fatalf("Next = %d, %v; want the next event", n, event)
	}
}

// Taken in pieces, an event is found to end where it ends.
func TestSplitterSkip(t *testing.T) {
	for _, tt := range []struct {
		framing      Framing
		first, after string
		n            int // of after, up to the end of the event
	}{
		{SSE, "data: x", "y\n\ndata: z\n\n", 3},
		{SSE, "data: x\n", "\ndata: z\n\n", 1},
		{SSE, "data: x\n", "data: y\n\n", 9},
		{SSE, "data: x\r", "\r", 1},
		{SSE, "data: x\r\n", "\r\n", 2},
		{NDJSON, "{", "}\n{}\n", 2},
		{NDJSON, "{", "\n", 1},
	} {
		s := NewSplitter(tt.framing)
		if n, _ := s.Next([]byte(tt.first)); n != 0 {
			t.Fatalf("%q is a whole unit", tt.first)
		}
		s.Skip([]byte(tt.first))
		if n, event := s.Next([]byte(tt.after)); n != tt.n || !event {
			t.Errorf("%q after %q: Next = %d, %v; want %d, true", tt.after, tt.first, n, event, tt.n)
		}
	}
	s := NewSplitter(SSE)
	s.Next([]byte("data: x\r"))
	s.Skip([]byte("data: x\r"))
	if n, event := s.Next([]byte("\ndata: y\n\n")); n != 1 || event {
		t.Fatalf("the LF of a skipped CR: Next = %d, %v; want a filler", n, event)
	}
	if n, event := s.Next([]byte("data: y\n\n")); n != 9 || !event {
		t.Fatalf("Next = %d, %v; want the rest of the event", n, event)
	}
}

func FuzzSplitter(f *testing.F) {
	for _, s := range []string{"data: 1\n\n", "a\r\n\r\nb\r\rc\n\n", ":\n\n\n\r", "\ufeffdata: 猫🐈\r\n\r\n", "{}\n\n{}\r\n{}"} {
		f.Add([]byte(s), uint8(1), uint8(3))
	}
	f.Fuzz(func(t *testing.T, body []byte, first, size uint8) {
		for _, framing := range []Framing{SSE, NDJSON} {
			_, want, rest := units(t, framing, body, len(body))
			all, events, left := units(t, framing, body, int(first), int(size))
			if !slices.Equal(joinLF(events), joinLF(want)) || left != rest {
				t.Errorf("framing %d in pieces of %d, %d: %q and %q, want %q and %q", framing, first, size, events, left, want, rest)
			}
			if got := strings.Join(all, "") + left; got != string(body) {
				t.Errorf("framing %d: %q came out of %q", framing, got, body)
			}
			if framing == SSE {
				if want := blankLines(body); len(events) != want {
					t.Errorf("%d events in %q, want %d", len(events), body, want)
				}
			}
		}
	})
}

// blankLines counts the events in body the plain way: with one kind of line end.
func blankLines(body []byte) (n int) {
	body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	body = bytes.ReplaceAll(body, []byte("\r"), []byte("\n"))
	lines := bytes.Split(body, []byte("\n"))
	text := false
	for _, line := range lines[:len(lines)-1] {
		switch {
		case len(line) > 0:
			text = true
		case text:
			n++
			text = false
		}
	}
	return n
}

// A body of one long line that comes byte by byte is looked at once: what was
// examined is never examined again.
func TestSplitterLooksOnce(t *testing.T) {
	for _, f := range []Framing{SSE, NDJSON} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			s := NewSplitter(f)
			body := bytes.Repeat([]byte("x"), 1<<10)
			for n := 1; n <= len(body); n++ {
				if got, _ := s.Next(body[:n]); got != 0 {
					t.Fatalf("Next = %d", got)
				}
				if s.scanned != n {
					t.Fatalf("after %d bytes %d are marked as examined", n, s.scanned)
				}
			}
		})
	}
}
