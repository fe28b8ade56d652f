package wire

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestDeadConnectionIsNotUsed closes the idle connection, or says something on
// it, and waits until that has arrived.
func TestDeadConnectionIsNotUsed(t *testing.T) {
	for name, say := range map[string]string{"closed": "", "unasked answer": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"} {
		t.Run(name, func(t *testing.T) {
			spoken := make(chan bool)
			tr := h1Only.start(t, func(n int, p *peer) {
				if n > 0 {
					says(ok1)(n, p)
					return
				}
				p.request()
				p.say(ok1)
				p.say(say)
				if say == "" {
					p.Conn.Close()
				}
				close(spoken)
				if say != "" {
					p.untilGone()
				}
			})
			whole(t, fetch(t, tr, get))
			<-spoken
			if idle := tr.(*h1).pool.idle; len(idle) == 1 {
				until(t, "it has arrived", func() bool { return !idle[0].alive() })
			}
			resp := fetch(t, tr, &Request{Method: "POST", Target: "/", Stream: strings.NewReader("x"), Length: 1})
			if body := whole(t, resp); body != "a" || resp.Reused {
				t.Errorf("got %q, reused %v", body, resp.Reused)
			}
			if got := tr.Stats(); got.StaleRetries != 0 || got.Reused != 0 || got.Dials != 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestStaleConnection has the backend close a kept connection when it gets a
// request there, as if its own timeout and the request had crossed.
func TestStaleConnection(t *testing.T) {
	tests := []struct {
		name  string
		r     *Request
		again bool
	}{
		{"no body", &Request{Method: "POST", Target: "/"}, true},
		{"body", &Request{Method: "POST", Target: "/", Body: []byte("hello")}, true},
		{"large body", &Request{Method: "POST", Target: "/", Body: filled(100 << 10)}, true},
		{"stream", &Request{Method: "POST", Target: "/", Stream: strings.NewReader("hello"), Length: 5}, false},
	}
	each(t, func(t *testing.T, im implementation) {
		for _, end := range []string{"EOF", "reset"} {
			for _, test := range tests {
				t.Run(test.name+", "+end, func(t *testing.T) {
					r := *test.r
					if r.Stream != nil {
						r.Stream = strings.NewReader("hello")
					}
					tr := im.start(t, func(n int, p *peer) {
						p.request()
						p.say(ok1)
						if n == 0 {
							p.request()
							if end == "reset" {
								p.reset()
							}
							return
						}
						p.untilGone()
					})
					whole(t, fetch(t, tr, get))
					resp, err := tr.RoundTrip(t.Context(), &r)
					if test.again {
						if err != nil {
							t.Fatal(err)
						}
						if body := whole(t, resp); body != "a" || resp.Reused {
							t.Errorf("got %q, reused %v", body, resp.Reused)
						}
						if got := tr.Stats(); got.StaleRetries != 1 || got.Dials != 2 {
							t.Errorf("%+v", got)
						}
						tr.CloseIdle()
						return
					}
					e, ok := errors.AsType[*Error](err)
					if !ok || e.Sent || !e.Reused {
						t.Errorf("got %v: %+v", err, e)
					}
				})
			}
		}
	})
}

// TestAskedOnceMoreAtMost has every connection die at its second request, and
// the fresh ones at their first.
func TestAskedOnceMoreAtMost(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		for name, r := range map[string]*Request{
			"plain":       {Method: "POST", Target: "/", Body: []byte("hello")},
			"keyed":       {Method: "POST", Target: "/", Body: []byte("hello"), Header: http.Header{"Idempotency-Key": {"1"}}},
			"keyed empty": {Method: "POST", Target: "/", Header: http.Header{"X-Idempotency-Key": {"1"}}},
		} {
			t.Run(name, func(t *testing.T) {
				var asked atomic.Int32
				tr := im.start(t, func(n int, p *peer) {
					if n == 0 {
						p.request()
						p.say(ok1)
					}
					got, _ := p.request()
					if got.Header.Get("Idempotency-Key") != r.Header.Get("Idempotency-Key") {
						t.Errorf("header %v", got.Header)
					}
					asked.Add(1)
				})
				whole(t, fetch(t, tr, get))
				_, err := tr.RoundTrip(t.Context(), r)
				e, ok := errors.AsType[*Error](err)
				if !ok || !e.Sent || e.Reused || e.Phase != Head {
					t.Errorf("got %v: %+v", err, e)
				}
				if n := asked.Load(); n != 2 {
					t.Errorf("asked %d times", n)
				}
			})
		}
	})
}

// TestAnswerBegunIsNotAskedAgain: the beginning of an answer ends the right to ask.
func TestAnswerBegunIsNotAskedAgain(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		tr := im.start(t, func(_ int, p *peer) {
			p.request()
			p.say(ok1)
			p.request()
			p.say("HTTP/1.1 200 OK\r\n")
		})
		whole(t, fetch(t, tr, get))
		_, err := tr.RoundTrip(t.Context(), &Request{Method: "POST", Target: "/", Body: []byte("x")})
		e, ok := errors.AsType[*Error](err)
		if !ok || !e.Sent || !e.Reused || e.Phase != Head || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v: %+v", err, e)
		}
		if got := tr.Stats(); got.StaleRetries != 0 || got.Dials != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestBytesLeftOverEndTheConnection(t *testing.T) {
	tr := h1Only.start(t, func(_ int, p *peer) {
		p.request()
		p.say(ok1 + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
		p.untilGone()
	})
	for range 2 {
		if got := whole(t, fetch(t, tr, get)); got != "a" {
			t.Errorf("got %q", got)
		}
	}
}
