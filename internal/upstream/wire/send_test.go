package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
)

func TestBodiesArrive(t *testing.T) {
	random := bytes.Repeat([]byte("0123456789abcdef\r\n"), 300_000) // about 5 MB
	each(t, func(t *testing.T, im implementation) {
		for _, size := range []int{1, inlineBody - 1, inlineBody, inlineBody + 1, inlineBody + bodyPiece, len(random)} {
			want := string(random[:size])
			for name, r := range map[string]*Request{
				"memory":                              {Body: []byte(want)},
				"stream of known length":              {Stream: strings.NewReader(want), Length: int64(size)},
				"stream that ends early with its EOF": {Stream: iotest.DataErrReader(strings.NewReader(want)), Length: -1},
				"stream with more behind":             {Stream: strings.NewReader(want + "more"), Length: int64(size)},
				"chunked":                             {Stream: strings.NewReader(want), Length: -1},
			} {
				r.Method, r.Target = "POST", "/"
				tr := im.start(t, func(_ int, p *peer) {
					got, body := p.request()
					if body != want || (got.ContentLength == -1) != (r.length() < 0) {
						t.Errorf("%s: %d bytes arrived, length %d", name, len(body), got.ContentLength)
					}
					p.say(ok1)
					p.untilGone()
				})
				whole(t, fetch(t, tr, r))
				until(t, "the connection is kept", func() bool { return tr.Stats().Idle == 1 })
				tr.CloseIdle()
			}
		}
	})
}

func TestHeadAndBodyAreOneWrite(t *testing.T) {
	r := &Request{Method: "POST", Target: "/", Header: http.Header{"X": {"1"}}, Body: []byte("hello")}
	tr := h1Only.start(t, func(_ int, p *peer) {
		p.request()
		p.say(ok1)
		p.request()
		p.say(ok1)
		p.untilGone()
	})
	whole(t, fetch(t, tr, r))
	c := tr.(*h1).pool.idle[0]
	counted := &countedWrites{Conn: c.nc.(syscall.Conn)}
	sock, err := poll.NewSocket(counted)
	if err != nil {
		t.Fatal(err)
	}
	c.rw = sock
	whole(t, fetch(t, tr, r))
	if counted.n != 1 {
		t.Errorf("%d writes", counted.n)
	}
}

func TestTrailersOfARequest(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		var trailer = http.Header{"X-Sum": nil, "Content-Length": nil}
		stream := io.MultiReader(strings.NewReader("hello"), readerFunc(func([]byte) (int, error) {
			trailer = http.Header{"X-Sum": {"7"}, "Content-Length": {"9"}}
			return 0, io.EOF
		}))
		tr := im.start(t, func(_ int, p *peer) {
			r, body := p.request()
			if want := (http.Header{"X-Sum": {"7"}}); body != "hello" || !reflect.DeepEqual(r.Trailer, want) {
				t.Errorf("got %q, trailer %v", body, r.Trailer)
			}
			p.say(ok1)
		})
		whole(t, fetch(t, tr, &Request{Method: "POST", Target: "/", Stream: stream, Length: -1, Trailer: func() http.Header { return trailer }}))
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestEarlyAnswer has the backend answer while the request is still being sent.
func TestEarlyAnswer(t *testing.T) {
	const tooLarge = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nsorry"
	each(t, func(t *testing.T, im implementation) {
		for name, source := range map[string]func() *Request{
			"memory": func() *Request { return &Request{Body: filled(64 << 20)} },
			"stream": func() *Request { return &Request{Stream: bytes.NewReader(filled(64 << 20)), Length: 64 << 20} },
			"stream that waits": func() *Request {
				b := newBlocked("hello")
				return &Request{Stream: b, Length: -1, StopStream: b.stop}
			},
		} {
			t.Run(name, func(t *testing.T) {
				read := make(chan bool)
				tr := im.start(t, func(_ int, p *peer) {
					p.head()
					p.say(tooLarge)
					<-read
					p.untilGone()
				})
				r := source()
				r.Method, r.Target = "POST", "/"
				resp := fetch(t, tr, r)
				if body := whole(t, resp); resp.Status != 413 || body != "sorry" {
					t.Errorf("got %d %q", resp.Status, body)
				}
				close(read)
				until(t, "the connection is closed", func() bool { return tr.Stats().Open == 0 })
			})
		}
	})
}

// TestEarlyAnswerThenClose: the failed write does not hide what was said before.
func TestEarlyAnswerThenClose(t *testing.T) {
	for name, r := range map[string]*Request{
		"large":   {Body: filled(64 << 20)},
		"small":   {Body: []byte("hello")},
		"chunked": {Stream: bytes.NewReader(filled(64 << 20)), Length: -1},
	} {
		t.Run(name, func(t *testing.T) {
			r.Method, r.Target = "POST", "/"
			tr := h1Only.start(t, func(_ int, p *peer) {
				p.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
			})
			resp := fetch(t, tr, r)
			if body := whole(t, resp); resp.Status != 401 || body != "no" {
				t.Errorf("got %d %q", resp.Status, body)
			}
			until(t, "the connection is closed", func() bool { return tr.Stats().Open == 0 })
		})
	}
}

// TestEarlyAnswerReadLate: what has come before the connection broke is not lost
// to a reader that takes its time.
func TestEarlyAnswerReadLate(t *testing.T) {
	const size = 30_000
	tr := h1Only.start(t, func(_ int, p *peer) {
		p.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 30000\r\n\r\n" + string(filled(size)))
	})
	resp := fetch(t, tr, &Request{Method: "POST", Target: "/", Body: filled(64 << 20)})
	time.Sleep(lingerTime + 50*time.Millisecond) // which is the point
	if got := whole(t, resp); len(got) != size {
		t.Errorf("%d bytes", len(got))
	}
}

func TestBackendClosesWhileItIsSentTo(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		b := newBlocked("hello")
		tr := im.start(t, func(_ int, p *peer) {
			p.head()
			<-b.reached
		})
		_, err := tr.RoundTrip(t.Context(), &Request{Method: "POST", Target: "/", Stream: b, Length: -1, StopStream: b.stop})
		e, ok := errors.AsType[*Error](err)
		if !ok || !e.Sent || e.Phase > Head || e.Phase < Send || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v: %+v", err, e)
		}
	})
}

func TestSourceFails(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		for name, r := range map[string]*Request{
			"chunked":      {Stream: io.MultiReader(strings.NewReader("hello"), iotest.ErrReader(errGone)), Length: -1},
			"known length": {Stream: io.MultiReader(strings.NewReader("hello"), iotest.ErrReader(errGone)), Length: 10},
		} {
			t.Run(name, func(t *testing.T) {
				r.Method, r.Target = "POST", "/"
				tr := im.start(t, func(_ int, p *peer) {
					got, err := http.ReadRequest(p.br)
					if err != nil {
						t.Error(err)
						return
					}
					if body, err := io.ReadAll(got.Body); err == nil {
						t.Errorf("the backend took %q for the whole body", body)
					}
				})
				_, err := tr.RoundTrip(t.Context(), r)
				if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Send || !errors.Is(err, errGone) || !e.Sent {
					t.Errorf("got %v", err)
				}
			})
		}
	})
	each(t, func(t *testing.T, im implementation) {
		tr := im.start(t, func(_ int, p *peer) { p.untilGone() })
		_, err := tr.RoundTrip(t.Context(), &Request{Method: "POST", Target: "/", Stream: strings.NewReader("hello"), Length: 10})
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Send || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	})
}

// TestWriteLimit has the backend stop reading.
func TestWriteLimit(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		release := make(chan bool)
		cfg := im.serve(t, func(_ int, p *peer) {
			p.head()
			<-release
		})
		cfg.FirstByteTimeout = 100 * time.Millisecond
		_, err := im.open(t, cfg).RoundTrip(t.Context(), &Request{Method: "POST", Target: "/", Body: filled(64 << 20)})
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase > Head || e.Phase < Send || e.Timeout != "first_byte" {
			t.Errorf("got %v", err)
		}
		close(release)
	})
}

// TestSlowSourceIsNotTheBackendsFault lets the source take longer than the limit.
func TestSlowSourceIsNotTheBackendsFault(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		cfg := im.serve(t, saysAfterRequest)
		cfg.FirstByteTimeout = 60 * time.Millisecond
		slow := readerFunc(func(p []byte) (int, error) {
			time.Sleep(150 * time.Millisecond)
			return copy(p, "hello"), io.EOF
		})
		if got := whole(t, fetch(t, im.open(t, cfg), &Request{Method: "POST", Target: "/", Stream: slow, Length: -1})); got != "a" {
			t.Errorf("got %q", got)
		}
	})
}

func saysAfterRequest(_ int, p *peer) {
	p.request()
	p.say(ok1)
	p.untilGone()
}

// TestPreparedCauseOfADeadline: a caller's deadline is the caller's, not ours.
func TestCallersDeadline(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		cfg := im.serve(t, func(_ int, p *peer) { p.untilGone() })
		cfg.FirstByteTimeout = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := im.open(t, cfg).RoundTrip(ctx, get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Timeout != "" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
