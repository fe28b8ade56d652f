package wire

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

type waiter interface{ Wait() error }

const (
	chunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	length10    = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
	toClose     = "HTTP/1.1 200 OK\r\n\r\n"
)

// TestBytesAsTheyCome has the backend wait for each piece to be read before it
// sends the next: a reader that waits for more hangs.
func TestBytesAsTheyCome(t *testing.T) {
	type step struct{ say, read string }
	tests := map[string][]step{
		"length":         {{length10 + "hello", "hello"}, {"world", "world"}},
		"to the close":   {{toClose + "hello", "hello"}, {"world", "world"}},
		"chunks":         {{chunkedHead + "5\r\nhello\r\n", "hello"}, {"5\r\nworld\r\n", "world"}, {"0\r\n\r\n", ""}},
		"several chunks": {{chunkedHead + "5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n", "hello world"}, {"0\r\n\r\n", ""}},
		"with the end":   {{chunkedHead + "5\r\nhello\r\n0\r\n\r\n", "hello"}},
		"half a chunk":   {{chunkedHead + "a\r\nhello", "hello"}, {"world\r\n0\r\n\r\n", "world"}},
		"size ahead":     {{chunkedHead + "5\r\nhello\r\n5\r\n", "hello"}, {"world\r\n0\r\n\r\n", "world"}},
		"half a size":    {{chunkedHead + "5\r\nhello\r\n00", "hello"}, {"5\r\nworld\r\n0\r\n\r\n", "world"}},
		"no CRLF yet":    {{chunkedHead + "5\r\nhello", "hello"}, {"\r\n5\r\nworld\r\n0\r\n\r\n", "world"}},
		"half an end":    {{chunkedHead + "5\r\nhello\r\n0\r\n", "hello"}, {"\r\n", ""}},
	}
	each(t, func(t *testing.T, im implementation) {
		for name, steps := range tests {
			if im.tls && (name == "half a chunk" || name == "size ahead" || name == "half an end") {
				continue // net/http waits for the rest of what it has begun to parse
			}
			t.Run(name, func(t *testing.T) {
				next := make(chan bool)
				tr := im.start(t, func(_ int, p *peer) {
					p.request()
					for _, s := range steps {
						p.say(s.say)
						<-next
					}
				})
				resp := fetch(t, tr, get)
				buf := make([]byte, 100)
				for _, s := range steps {
					if s.read != "" {
						if err := resp.Body.(waiter).Wait(); err != nil {
							t.Fatal(err)
						}
						if n, err := resp.Body.Read(buf); string(buf[:n]) != s.read || err != nil && err != io.EOF {
							t.Errorf("read %q, %v; want %q", buf[:n], err, s.read)
						}
					}
					next <- true
				}
				if n, err := resp.Body.Read(buf); n != 0 || err != io.EOF {
					t.Errorf("at the end: %d, %v", n, err)
				}
				if err := resp.Body.(waiter).Wait(); err != nil {
					t.Errorf("Wait after the end: %v", err)
				}
			})
		}
	})
}

// TestReadAfterWaitIsReady looks at what Wait has left to read, which must be a
// byte, or the end.
func TestReadAfterWaitIsReady(t *testing.T) {
	answer := chunkedHead + "5\r\nhello\r\n5;ext\r\nworld\r\n0\r\nX: 1\r\n\r\n"
	step := make(chan bool)
	tr := h1Only.start(t, func(_ int, p *peer) {
		p.request()
		p.say(chunkedHead)
		for i := len(chunkedHead); i < len(answer); i++ {
			<-step
			p.say(answer[i : i+1])
		}
		p.untilGone()
	})
	resp := fetch(t, tr, get)
	b := resp.Body.(*body)
	go func() {
		defer close(step)
		for range len(answer) - len(chunkedHead) {
			step <- true
		}
	}()
	var got strings.Builder
	for b.err == nil {
		if err := b.Wait(); err != nil {
			t.Fatal(err)
		}
		if !b.Ready() {
			t.Fatal("Wait returned before the body was ready")
		}
		if b.err == nil && b.at != atEnd && (b.at != atData || b.c.br.Buffered() == 0) {
			t.Fatalf("Wait returned in front of %d with %d bytes", b.at, b.c.br.Buffered())
		}
		var one [1]byte
		n, err := b.Read(one[:])
		got.Write(one[:n])
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	if got.String() != "helloworld" || resp.Trailer.Get("X") != "1" {
		t.Errorf("got %q, trailer %v", got.String(), resp.Trailer)
	}
	<-step
}

func TestReady(t *testing.T) {
	step := make(chan string)
	tr := h1Only.start(t, func(_ int, p *peer) {
		p.request()
		for s := range step {
			p.say(s)
		}
	})
	defer close(step)
	go func() { step <- chunkedHead }()
	resp := fetch(t, tr, get)
	b := resp.Body.(*body)
	buf := make([]byte, 100)
	for _, part := range []struct {
		say, read string
		ready     bool // after reading
	}{
		{"5\r\nhello\r\n", "hello", false},
		{"5\r\nhello\r\n5\r\n", "hello", false},
		{"world", "world", false},
		{"\r\n1\r\na\r\n0\r\n\r\n", "a", true},
	} {
		if b.Ready() {
			t.Errorf("ready before %q", part.say)
		}
		step <- part.say
		if err := b.Wait(); err != nil || !b.Ready() {
			t.Errorf("after %q: %v, ready %v", part.say, err, b.Ready())
		}
		if n, err := b.Read(buf); string(buf[:n]) != part.read || err != nil && err != io.EOF {
			t.Errorf("read %q, %v", buf[:n], err)
		}
		if b.Ready() != part.ready {
			t.Errorf("after reading %q: ready %v", part.read, b.Ready())
		}
	}
}

func TestWaitTellsHowItEnds(t *testing.T) {
	for name, answer := range map[string]string{"length": length10 + "hello", "chunk": chunkedHead + "a\r\nhello", "size": chunkedHead + "5\r\nhello\r\n5", "malformed": chunkedHead + "5\r\nhello\r\nx\r\n", "malformed trailer": chunkedHead + "5\r\nhello\r\n0\r\nx\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			resp := fetch(t, h1Only.start(t, saysAndCloses(answer)), get)
			if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			w := resp.Body.(waiter)
			err := w.Wait()
			if _, ok := errors.AsType[*Error](err); !ok || errors.Is(err, io.ErrUnexpectedEOF) == strings.HasPrefix(name, "malformed") {
				t.Errorf("Wait: %v", err)
			}
			if _, again := resp.Body.Read(make([]byte, 1)); again != err || w.Wait() != err {
				t.Errorf("ended with %v, then %v and %v", err, again, w.Wait())
			}
		})
	}
	resp := fetch(t, h1Only.start(t, saysAndCloses(toClose+"hello")), get)
	if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.(waiter).Wait(); err != nil {
		t.Errorf("Wait at a clean end: %v", err)
	}
}

func TestLimits(t *testing.T) {
	const short, long = 50 * time.Millisecond, time.Hour
	tests := []struct {
		name        string
		answer      string
		first, idle time.Duration
		phase       Phase
		timeout     string // "" ends well
		body        string
	}{
		{"no answer", "", short, long, Head, "first_byte", ""},
		{"half a head", "HTTP/1.1 200 OK\r\n", short, long, Head, "first_byte", ""},
		{"interim answers only", "HTTP/1.1 103 Early Hints\r\n\r\n", short, long, Head, "first_byte", ""},
		{"head and no byte", chunkedHead, short, long, Body, "first_byte", ""},
		{"head and no byte of a length", length10, short, long, Body, "first_byte", ""},
		{"size and no byte", chunkedHead + "5\r\n", short, long, Body, "first_byte", ""},
		{"silence in the body", chunkedHead + "5\r\nhello\r\n", long, short, Body, "idle", "hello"},
		{"silence in a length", length10 + "hello", long, short, Body, "idle", "hello"},
		{"silence before the close", toClose + "hello", long, short, Body, "idle", "hello"},
		{"empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", short, short, 0, "", ""},
	}
	each(t, func(t *testing.T, im implementation) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				cfg := im.serve(t, func(_ int, p *peer) {
					p.request()
					p.say(test.answer)
					p.untilGone()
				})
				cfg.FirstByteTimeout, cfg.IdleTimeout = test.first, test.idle
				start := time.Now()
				tr := im.open(t, cfg)
				resp, err := tr.RoundTrip(t.Context(), get)
				var got []byte
				if err == nil {
					got, err = io.ReadAll(resp.Body)
				}
				if string(got) != test.body {
					t.Errorf("body %q", got)
				}
				if test.timeout == "" {
					if err != nil {
						t.Error(err)
					}
					tr.CloseIdle()
					return
				}
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Phase != test.phase || e.Timeout != test.timeout || !e.Sent {
					t.Errorf("got %v: %+v", err, e)
				}
				if waited := time.Since(start); waited < short {
					t.Errorf("early: after %v", waited)
				}
			})
		}
	})
}

// TestDrippingHead: bytes of a head put no limit off.
func TestDrippingHead(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		cfg := im.serve(t, func(_ int, p *peer) {
			p.request()
			for _, err := io.WriteString(p.Conn, "HTTP/1.1 200 OK\r\nX: "); err == nil; _, err = io.WriteString(p.Conn, "x") {
				time.Sleep(2 * time.Millisecond)
			}
		})
		cfg.FirstByteTimeout, cfg.IdleTimeout = 60*time.Millisecond, 60*time.Millisecond
		_, err := im.open(t, cfg).RoundTrip(t.Context(), get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Head || e.Timeout != "first_byte" {
			t.Errorf("got %v", err)
		}
	})
}

// TestSteadyBytesRunIntoNoLimit streams for many times the limit's length.
func TestSteadyBytesRunIntoNoLimit(t *testing.T) {
	const tokens = 60
	each(t, func(t *testing.T, im implementation) {
		cfg := im.serve(t, func(_ int, p *peer) {
			p.request()
			p.say(chunkedHead)
			for i := range tokens {
				time.Sleep(10 * time.Millisecond)
				p.say(fmt.Sprintf("3\r\n%03d\r\n", i))
			}
			p.say("0\r\n\r\n")
		})
		cfg.FirstByteTimeout, cfg.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond
		if got := whole(t, fetch(t, im.open(t, cfg), get)); len(got) != 3*tokens {
			t.Errorf("got %q", got)
		}
	})
}

// TestIdleLimitIsNotTheReadersFault lets the reader be slower than the limit.
func TestIdleLimitIsNotTheReadersFault(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		cfg := im.serve(t, func(_ int, p *peer) {
			p.request()
			p.say(chunkedHead + "5\r\nhello\r\n")
			p.say("5\r\nworld\r\n0\r\n\r\n")
		})
		cfg.FirstByteTimeout, cfg.IdleTimeout = 40*time.Millisecond, 40*time.Millisecond
		resp := fetch(t, im.open(t, cfg), get)
		time.Sleep(100 * time.Millisecond) // longer than the limit, which is the point
		buf := make([]byte, 3)
		var got strings.Builder
		for {
			n, err := resp.Body.Read(buf)
			got.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(60 * time.Millisecond)
		}
		if got.String() != "helloworld" {
			t.Errorf("got %q", got.String())
		}
	})
}

func TestCloseEarly(t *testing.T) {
	tests := []struct {
		name, answer string
		read         int
		kept         bool
	}{
		{"small rest at hand", length10 + "helloworld", 3, true},
		{"all read but not asked for the end", length10 + "helloworld", 10, true},
		{"rest not there yet", length10 + "hello", 3, false},
		{"chunks", chunkedHead + "5\r\nhello\r\n", 3, false},
		{"to the close", toClose + "hello", 3, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := h1Only.start(t, func(_ int, p *peer) {
				p.request()
				p.say(test.answer)
				p.untilGone()
			})
			resp := fetch(t, tr, get)
			if _, err := io.ReadFull(resp.Body, make([]byte, test.read)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
			}
			if stats := tr.Stats(); stats.Idle == 1 != test.kept || stats.Open == 1 != test.kept {
				t.Errorf("%+v", stats)
			}
			if _, err := resp.Body.Read(make([]byte, 1)); err == nil || !test.kept && err == io.EOF {
				t.Errorf("read after Close: %v", err)
			}
		})
	}
	t.Run("std", func(t *testing.T) {
		gone := make(chan bool)
		tr := implementations[1].start(t, func(_ int, p *peer) {
			p.request()
			p.say(chunkedHead + "5\r\nhello\r\n")
			p.untilGone()
			close(gone)
		})
		fetch(t, tr, get).Body.Close()
		<-gone
	})
}
