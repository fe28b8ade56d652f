package stream

import (
	"io"
	"testing"
)

// endless gives an event n times, one a read. With a shift each read gives the
// end of one and the beginning of the next.
type endless struct {
	event    []byte
	n, shift int
	begun    bool
}

func (e *endless) Wait() error { return nil }
func (e *endless) Ready() bool { return false }

func (e *endless) Read(p []byte) (int, error) {
	switch {
	case !e.begun:
		e.begun = true
		if e.shift > 0 {
			return copy(p, e.event[:e.shift]), nil
		}
	case e.n == 0:
		return 0, io.EOF
	}
	e.n--
	n := copy(p, e.event[e.shift:])
	if e.n > 0 {
		n += copy(p[n:], e.event[:e.shift])
	}
	return n, nil
}

// ready is a client that always keeps up.
type ready struct{ bytes int64 }

func (r *ready) Write(p []byte) (int, error) { r.bytes += int64(len(p)); return len(p), nil }
func (r *ready) FlushError() error           { return nil }
func (r *ready) Hold(bool)                   {}
func (r *ready) Stuck() bool                 { return false }
func (r *ready) Push() error                 { return nil }

func noEvents() *Events {
	return &Events{Began: func() {}, State: func(_, _ State) {}, Ended: func(State) {}, Passed: func(_, _, _, _ int64) {}}
}

var token = []byte(`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}` + "\n\n")

func relayEvents(tb testing.TB, n, shift int, buffered bool) {
	dst := &ready{}
	src := &endless{event: token, n: n, shift: shift}
	r := Relay{Framing: SSE, Length: -1, MaxEvent: 1 << 20}
	if buffered {
		r.Buffer = NewBuffer(settings(), dst, dst, NewBudget(1<<20), noEvents())
	}
	if err := r.Copy(dst, src); err != nil {
		tb.Fatal(err)
	}
	if buffered {
		if err := r.Buffer.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	if dst.bytes != int64(n*len(token)) {
		tb.Fatalf("%d bytes came out", dst.bytes)
	}
}

// An event costs no allocation while the client keeps up: a thousand more of
// them cost none more. They are read with a shift, so that the read buffer is
// kept: the race detector makes pools lose what is given back.
func TestNoAllocationPerEvent(t *testing.T) {
	for _, buffered := range []bool{false, true} {
		few := testing.AllocsPerRun(50, func() { relayEvents(t, 10, 20, buffered) })
		many := testing.AllocsPerRun(50, func() { relayEvents(t, 1010, 20, buffered) })
		if many-few >= 1 {
			t.Errorf("buffer %v: 1000 events cost %v allocations", buffered, many-few)
		}
	}
}

func BenchmarkRelay(b *testing.B) {
	for _, buffered := range []bool{false, true} {
		b.Run(map[bool]string{false: "bare", true: "buffered"}[buffered], func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(token)))
			relayEvents(b, b.N, 0, buffered)
		})
	}
}
