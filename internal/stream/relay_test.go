package stream

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// wireLog records in which order the relay's two sides were used.
type wireLog struct{ steps []string }

func (l *wireLog) add(step string) { l.steps = append(l.steps, step) }

// burst is what a source has at hand at one time.
type burst string

// source gives bursts, one after each wait, and then ends with err.
type source struct {
	log    *wireLog
	bursts []burst
	now    string
	err    error
	// limit is the most that one Read returns; 0 is no limit.
	limit  int
	onWait func()
}

func (s *source) arrive() {
	if s.now == "" && len(s.bursts) > 0 {
		s.log.add("wait")
		if s.onWait != nil {
			s.onWait()
		}
		s.now, s.bursts = string(s.bursts[0]), s.bursts[1:]
	}
}

func (s *source) Wait() error {
	s.arrive()
	if s.now == "" && !errors.Is(s.err, io.EOF) {
		return s.err
	}
	return nil
}

// Ready knows what is at hand; that the end is, it learns by reading.
func (s *source) Ready() bool { return s.now != "" }

func (s *source) Read(p []byte) (int, error) {
	s.arrive()
	if s.now == "" {
		return 0, s.err
	}
	n := copy(p, s.now)
	if s.limit > 0 {
		n = min(n, s.limit)
	}
	s.now = s.now[n:]
	return n, nil
}

// sink keeps what it gets apart from what was flushed.
type sink struct {
	log     *wireLog
	all     bytes.Buffer
	flushed int
	err     error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.log.add("write " + string(p))
	return s.all.Write(p)
}

func (s *sink) FlushError() error {
	if s.err != nil {
		return s.err
	}
	s.log.add("flush")
	s.flushed = s.all.Len()
	return nil
}

func pipe(err error, bursts ...burst) (*wireLog, *source, *sink) {
	log := &wireLog{}
	return log, &source{log: log, bursts: bursts, err: err}, &sink{log: log}
}

func TestRelayOrder(t *testing.T) {
	for _, tt := range []struct {
		name    string
		framing Framing
		bursts  []burst
		want    []string
	}{
		{"each event is flushed before the next is waited for", SSE,
			[]burst{"data: 1\n\n", "data: 2\n\n"},
			[]string{"wait", "write data: 1\n\n", "flush", "wait", "write data: 2\n\n", "flush"}},
		{"what is ready together goes out together", SSE,
			[]burst{"data: 1\n\ndata: 2\n\n", "data: 3\n\n"},
			[]string{"wait", "write data: 1\n\ndata: 2\n\n", "flush", "wait", "write data: 3\n\n", "flush"}},
		{"half an event waits for its end", SSE,
			[]burst{"data: 1\n\nda", "ta: 2\n\n"},
			[]string{"wait", "write data: 1\n\n", "flush", "wait", "write data: 2\n\n", "flush"}},
		{"the LF of a CRLF comes late", SSE,
			[]burst{"data: 1\r\n\r", "\ndata: 2\r\n\r\n"},
			[]string{"wait", "write data: 1\r\n\r", "flush", "wait", "write \ndata: 2\r\n\r\n", "flush"}},
		{"lines", NDJSON,
			[]burst{"{}\n{", "}\n", "{}"},
			[]string{"wait", "write {}\n", "flush", "wait", "write {}\n", "flush", "wait", "write {}"}},
		{"bytes go as they come", Bytes,
			[]burst{"ab", "c"},
			[]string{"wait", "write ab", "flush", "wait", "write c", "flush"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log, src, dst := pipe(io.EOF, tt.bursts...)
			r := Relay{Framing: tt.framing, Length: -1, MaxEvent: 1 << 20}
			if err := r.Copy(dst, src); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(log.steps, tt.want) {
				t.Errorf("%q\nwant %q", log.steps, tt.want)
			}
		})
	}
}

// Before each wait for the network, all that may go out has been flushed:
// also where a burst filled the buffer and ended in half an event.
func TestRelayFlushesBeforeEveryWait(t *testing.T) {
	event := "data: " + strings.Repeat("x", 100) + "\n\n"
	for _, f := range []Framing{SSE, NDJSON} {
		for _, limit := range []int{1, 7, len(event), len(event) + 3, smallBuffer} {
			if f == NDJSON {
				event = strings.Repeat("x", 100) + "\n"
			}
			body := strings.Repeat(event, 100)
			var bursts []burst
			for rest := body + event[:5]; rest != ""; {
				n := min(smallBuffer+len(event)/2, len(rest))
				bursts = append(bursts, burst(rest[:n]))
				rest = rest[n:]
			}
			_, src, dst := pipe(io.EOF, bursts...)
			src.limit = limit
			arrived := 0
			src.onWait = func() {
				if whole := arrived / len(event) * len(event); dst.flushed < whole {
					t.Fatalf("framing %d, limit %d: the relay waits with %d bytes flushed of %d that are whole", f, limit, dst.flushed, whole)
				}
				arrived += len(src.bursts[0])
			}
			r := Relay{Framing: f, Length: -1, MaxEvent: 1 << 20}
			if err := r.Copy(dst, src); err != nil {
				t.Fatal(err)
			}
			if got := dst.all.String(); got != body+event[:5] {
				t.Errorf("framing %d, limit %d: %d bytes came out of %d", f, limit, len(got), len(body)+5)
			}
		}
	}
}

func TestRelayEnds(t *testing.T) {
	broken := errors.New("connection reset")
	for _, tt := range []struct {
		name   string
		f      Framing
		max    int
		end    error
		bursts []burst
		out    string
		events []string
		pieces string
		broken bool
	}{
		{"clean", SSE, 100, io.EOF, []burst{"data: 1\n\n"}, "data: 1\n\n", []string{"data: 1\n\n"}, "", false},
		{"half an event at a clean end passes", SSE, 100, io.EOF, []burst{"data: 1\n\nda"}, "data: 1\n\nda", []string{"data: 1\n\n", "da"}, "", false},
		{"half an event is dropped at a cut", SSE, 100, broken, []burst{"data: 1\n\nda"}, "data: 1\n\n", []string{"data: 1\n\n"}, "", false},
		{"half a line is dropped at a cut", NDJSON, 100, broken, []burst{"{}\n{"}, "{}\n", []string{"{}\n"}, "", false},
		{"last line without its end", NDJSON, 100, io.EOF, []burst{"{}\n{}"}, "{}\n{}", []string{"{}\n", "{}"}, "", false},
		{"bytes all pass", Bytes, 0, broken, []burst{"ab", "c"}, "abc", nil, "abc", false},
		{"too long, whole in the end", SSE, 8, io.EOF, []burst{"data: 123", "4\n\n", ":\n\n"}, "data: 1234\n\n:\n\n", []string{":\n\n"}, "data: 1234\n\n", false},
		{"too long and cut", SSE, 8, broken, []burst{"data: 123", "4"}, "data: 1234", nil, "data: 1234", true},
		{"empty", SSE, 8, io.EOF, nil, "", nil, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, src, dst := pipe(tt.end, tt.bursts...)
			var events []string
			var pieces strings.Builder
			r := Relay{Framing: tt.f, Length: -1, MaxEvent: tt.max,
				Event: func(e []byte, _ time.Time) { events = append(events, string(e)) },
				Piece: func(p []byte, _ time.Time) { pieces.Write(p) },
			}
			err := r.Copy(dst, src)
			if errors.Is(tt.end, io.EOF) {
				if err != nil {
					t.Errorf("error %v after a clean end", err)
				}
			} else if re, ok := errors.AsType[*ReadError](err); !ok || re.Err != tt.end {
				t.Errorf("error %v, want a ReadError", err)
			}
			if got := dst.all.String(); got != tt.out {
				t.Errorf("out %q, want %q", got, tt.out)
			}
			if !slices.Equal(events, tt.events) || pieces.String() != tt.pieces {
				t.Errorf("events %q and pieces %q, want %q and %q", events, pieces.String(), tt.events, tt.pieces)
			}
			if r.Broken != tt.broken {
				t.Errorf("Broken is %v", r.Broken)
			}
			if r.BytesOut != int64(len(tt.out)) || r.Events != int64(len(tt.events)) {
				t.Errorf("counted %d bytes and %d events", r.BytesOut, r.Events)
			}
		})
	}
}

func TestRelayClientGone(t *testing.T) {
	gone := errors.New("broken pipe")
	_, src, dst := pipe(io.EOF, "data: 1\n\n", "data: 2\n\n")
	dst.err = gone
	r := Relay{Framing: SSE, Length: -1, MaxEvent: 100}
	if err := r.Copy(dst, src); !errors.Is(err, gone) {
		t.Errorf("error %v, want the client's", err)
	}
	if r.BytesIn != 9 {
		t.Errorf("%d bytes were read for a client that is gone", r.BytesIn)
	}

	_, src, dst = pipe(io.EOF, "data: 1\n\n", "data: 2\n\n")
	dst.err = gone
	r = Relay{Framing: SSE, Length: -1, MaxEvent: 100, Finish: true}
	if _, ok := errors.AsType[*WriteError](r.Copy(dst, src)); !ok || r.Events != 2 {
		t.Errorf("Finish: %d events were read, want both and a WriteError", r.Events)
	}

	cut := errors.New("cut")
	_, src, dst = pipe(cut, "data: 1\n\n")
	dst.err = gone
	r = Relay{Framing: SSE, Length: -1, MaxEvent: 100, Finish: true}
	if err := r.Copy(dst, src); !errors.Is(err, cut) {
		t.Errorf("both sides failed: error %v, want the upstream's", err)
	}
}
