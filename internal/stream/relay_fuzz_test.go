package stream

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// relayed passes body on in bursts of the given size and reads of at most limit.
func relayed(t testing.TB, f Framing, body string, maxEvent, size, limit int) (out string, events []string, r *Relay) {
	t.Helper()
	var bursts []burst
	for rest := body; rest != ""; {
		n := min(size, len(rest))
		bursts = append(bursts, burst(rest[:n]))
		rest = rest[n:]
	}
	_, src, dst := pipe(io.EOF, bursts...)
	src.limit = limit
	var shown strings.Builder
	r = &Relay{Framing: f, Length: -1, MaxEvent: maxEvent,
		Event: func(e []byte, _ time.Time) { events = append(events, string(e)) },
		Piece: func(p []byte, _ time.Time) { shown.Write(p) },
	}
	if err := r.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if f == Bytes && shown.String() != body {
		t.Errorf("%q was shown of %q", shown.String(), body)
	}
	return dst.all.String(), events, r
}

func FuzzRelay(f *testing.F) {
	f.Add("data: 1\n\ndata: 猫🐈\r\n\r\n: x\n\n", uint8(1), uint8(0), uint16(1000))
	f.Add("{\"a\":1}\n{}\n\n{}", uint8(3), uint8(2), uint16(4))
	f.Add(strings.Repeat("x", 5000)+"\n\ny\n\n", uint8(200), uint8(90), uint16(100))
	f.Fuzz(func(t *testing.T, body string, size, limit uint8, maxEvent uint16) {
		for _, framing := range []Framing{Bytes, SSE, NDJSON} {
			out, events, r := relayed(t, framing, body, int(maxEvent), int(size)+1, int(limit))
			if out != body {
				t.Errorf("framing %d: %q came out of %q", framing, out, body)
			}
			if r.BytesIn != int64(len(body)) || r.BytesOut != r.BytesIn || r.Events != int64(len(events)) {
				t.Errorf("framing %d: counted %d in, %d out, %d events", framing, r.BytesIn, r.BytesOut, r.Events)
			}
			_, want, _ := relayed(t, framing, body, len(body)+1, len(body)+1, 0)
			if !r.Oversize && !slices.Equal(joinLF(events), joinLF(want)) {
				t.Errorf("framing %d: events %q, want %q", framing, events, want)
			}
		}
	})
}

// No event that was held in part is shown, and no byte is lost, when an event
// is longer than is held: neither that one nor its neighbours.
func TestRelayOversizeBetweenOthers(t *testing.T) {
	long := "data: " + strings.Repeat("猫", 2<<20) + "\n\n"
	body := "data: 1\n\n" + long + "data: 2\n\n"
	for _, size := range []int{1 << 10, 40_000, len(body)} {
		out, events, r := relayed(t, SSE, body, 1<<20, size, 0)
		if out != body {
			t.Errorf("bursts of %d: %d bytes came out of %d", size, len(out), len(body))
		}
		if want := []string{"data: 1\n\n", "data: 2\n\n"}; !slices.Equal(events, want) {
			t.Errorf("bursts of %d: %d events were shown, want the two short ones", size, len(events))
		}
		if !r.Oversize || r.Broken {
			t.Errorf("bursts of %d: Oversize %v, Broken %v", size, r.Oversize, r.Broken)
		}
	}
}

// What follows the first part of an event that is too long is passed on as it
// comes: it is in pieces already.
func TestRelayOversizeIsNotHeldAgain(t *testing.T) {
	log, src, dst := pipe(io.EOF, "data: 12345", "6", "7\n\n")
	r := Relay{Framing: SSE, Length: -1, MaxEvent: 10}
	if err := r.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	want := []string{"wait", "write data: 12345", "flush", "wait", "write 6", "flush", "wait", "write 7\n\n", "flush"}
	if !slices.Equal(log.steps, want) {
		t.Errorf("%q\nwant %q", log.steps, want)
	}
}

// A stream that waits for its next event holds no buffer.
func TestRelayHoldsNoBufferWhileItWaits(t *testing.T) {
	big := burst("data: " + strings.Repeat("x", largeBuffer) + "\n\n")
	_, src, dst := pipe(io.EOF, "data: 1\n\n", big, "data: 2\n\n", "da", "ta: 3\n\n", "data: 4\n\n")
	c := copying{Relay: &Relay{Framing: SSE, Length: -1, MaxEvent: 1 << 20}, dst: dst, src: src, splitter: NewSplitter(SSE), size: smallBuffer}
	waits := 0
	src.onWait = func() {
		waits++
		if c.held == 0 && c.buf != nil {
			t.Errorf("wait %d: a buffer of %d bytes is held", waits, len(c.buf))
		}
	}
	for {
		err := c.step()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c.release()
	if waits != 6 || c.buf != nil {
		t.Errorf("%d waits, %d bytes held in the end", waits, len(c.buf))
	}
}

func TestBorrow(t *testing.T) {
	for _, tt := range []struct{ ask, want int }{
		{1, smallBuffer}, {smallBuffer, smallBuffer},
		{smallBuffer + 1, largeBuffer}, {largeBuffer, largeBuffer},
		{largeBuffer + 1, largeBuffer + 1},
	} {
		b := borrow(tt.ask)
		if len(b) != tt.want || cap(b) != tt.want {
			t.Errorf("borrow(%d) has length %d and capacity %d, want %d", tt.ask, len(b), cap(b), tt.want)
		}
		giveBack(b[:1]) // whatever part of it the borrower still has
		if again := borrow(tt.ask); len(again) != tt.want {
			t.Errorf("borrow(%d) has length %d after a loan was given back", tt.ask, len(again))
		}
	}
}
