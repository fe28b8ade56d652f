package stream

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// A reader whose turn panics, in the goroutine that appends, is told so itself. The
// others read on.
func TestTurnThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := NewRecording(1<<20, -1)
		thrown := make(chan any, 2)
		follow := func(event func([]byte, time.Time)) *slowClient {
			d, ok := rec.Reader(t.Context())
			if !ok {
				t.Fatal("no reader")
			}
			out := newClient(1<<20, 0)
			b := NewBuffer(settings(), out, out, NewBudget(1<<20), noEvents())
			go func() {
				defer func() { thrown <- recover() }()
				defer b.Close()
				defer d.Close()
				r := Relay{Framing: SSE, Length: -1, MaxEvent: 1 << 20, Event: event, Buffer: b}
				_ = r.Copy(out, d)
			}()
			return out
		}
		follow(func(ev []byte, _ time.Time) {
			if bytes.Contains(ev, []byte("2")) {
				panic("oh")
			}
		})
		good := follow(nil)
		for _, ev := range []string{"data: 1\n\n", "data: 2\n\n", "data: 3\n\n"} {
			synctest.Wait() // both sleep, and so leave the next to whoever appends
			rec.Append([]byte(ev))
		}
		got, ok := (<-thrown).(*Thrown)
		if !ok || got.Value != "oh" || !bytes.Contains(got.Stack, []byte("TestTurnThatPanics")) {
			t.Errorf("thrown: %v", got)
		}
		rec.Seal(nil, false)
		if p := <-thrown; p != nil {
			t.Errorf("the other one has thrown %v", p)
		}
		if s := good.text(); s != "data: 1\n\ndata: 2\n\ndata: 3\n\n" {
			t.Errorf("the other one has %q", s)
		}
	})
}
