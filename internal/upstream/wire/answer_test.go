package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func mustURL(t testing.TB, s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var goodAnswers = []struct {
	name, method, answer string
	closes               bool // the answer ends with the connection
	status               int
	length               int64
	body                 string
	trailer              http.Header
	kept                 bool
}{
	{name: "length", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", status: 200, length: 5, body: "hello", kept: true},
	{name: "same length twice", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", status: 200, length: 5, body: "hello", kept: true},
	{name: "empty", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, length: 0, kept: true},
	{name: "no reason", answer: "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na", status: 200, length: 1, body: "a", kept: true},
	{name: "chunked", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\n\r\n", status: 200, length: -1, body: "hello world", kept: true},
	{name: "chunked, capitals", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n00A\r\n0123456789\r\n0\r\n\r\n", status: 200, length: -1, body: "0123456789", kept: true},
	{name: "empty chunked", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 200, length: -1, kept: true},
	{name: "trailers", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n", status: 200, length: -1, body: "a",
		trailer: http.Header{"X-Sum": {"7"}}, kept: true},
	{name: "to the close", answer: "HTTP/1.1 200 OK\r\n\r\nhello", closes: true, status: 200, length: -1, body: "hello"},
	{name: "1.0", answer: "HTTP/1.0 200 OK\r\n\r\nhello", closes: true, status: 200, length: -1, body: "hello"},
	{name: "1.0 with length", answer: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", status: 200, length: 5, body: "hello"},
	{name: "close", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\nhello", status: 200, length: 5, body: "hello"},
	{name: "HEAD", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", status: 200, length: 5, kept: true},
	{name: "HEAD chunked", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", status: 200, length: -1, kept: true},
	{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, kept: true},
	{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", status: 304, kept: true},
	{name: "interim", answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", status: 200, length: 1, body: "a", kept: true},
	{name: "folded field", answer: "HTTP/1.1 200 OK\r\nX-A: 1\r\n  2\r\nContent-Length: 1\r\n\r\na", status: 200, length: 1, body: "a", kept: true},
	{name: "large head", answer: "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 40_000) + "\r\nContent-Length: 1\r\n\r\na", status: 200, length: 1, body: "a"},
	{name: "no length but 500", answer: "HTTP/1.1 500 Oops\r\n\r\nsorry", closes: true, status: 500, length: -1, body: "sorry"},
}

// TestAnswers gives each answer whole, byte by byte, and cut in two everywhere.
func TestAnswers(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		for _, test := range goodAnswers {
			t.Run(test.name, func(t *testing.T) {
				splits := []int{0, -1}
				if len(test.answer) < 200 && !im.tls {
					for at := 1; at < len(test.answer); at++ {
						splits = append(splits, at)
					}
				}
				for _, at := range splits {
					tr := im.start(t, func(_ int, p *peer) {
						p.request()
						switch {
						case at < 0 && len(test.answer) < 1000:
							for i := range len(test.answer) {
								p.say(test.answer[i : i+1])
							}
						case at < 0:
							p.say(test.answer)
						default:
							p.say(test.answer[:at])
							time.Sleep(100 * time.Microsecond) // to make two packets likely; nothing hangs on it
							p.say(test.answer[at:])
						}
						if !test.closes {
							p.untilGone()
						}
					})
					resp := fetch(t, tr, &Request{Method: cmp.Or(test.method, "GET"), Target: "/"})
					body := whole(t, resp)
					if resp.Status != test.status || resp.Length != test.length || body != test.body {
						t.Errorf("split at %d: got %d, length %d, %q", at, resp.Status, resp.Length, body)
					}
					if !reflect.DeepEqual(resp.Trailer, test.trailer) {
						t.Errorf("split at %d: trailer %v", at, resp.Trailer)
					}
					for _, name := range []string{"Transfer-Encoding", "Trailer"} {
						if resp.Header.Get(name) != "" {
							t.Errorf("split at %d: %s is left in the header", at, name)
						}
					}
					if !im.tls {
						if kept := tr.Stats().Idle == 1; kept != test.kept {
							t.Errorf("split at %d: kept %v", at, kept)
						}
					}
					resp.Body.Close()
					tr.Close()
				}
			})
		}
	})
}

func TestResetInTheBody(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		read := make(chan bool)
		tr := im.start(t, func(_ int, p *peer) {
			p.request()
			p.say("HTTP/1.1 200 OK\r\n\r\nhello")
			<-read
			p.reset()
		})
		resp := fetch(t, tr, get)
		if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		close(read)
		_, err := resp.Body.Read(make([]byte, 1))
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Body || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a reset body ended with %v", err)
		}
	})
}

func TestNoAnswerOnAFreshConnection(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		for name, end := range map[string]func(p *peer){"EOF": func(p *peer) {}, "reset": (*peer).reset} {
			t.Run(name, func(t *testing.T) {
				var asked atomic.Int32
				tr := im.start(t, func(_ int, p *peer) {
					p.request()
					asked.Add(1)
					end(p)
				})
				_, err := tr.RoundTrip(t.Context(), &Request{Method: "POST", Target: "/", Header: http.Header{"Idempotency-Key": {"1"}}})
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Phase != Head || !e.Sent || e.Reused || !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("got %v", err)
				}
				if n := asked.Load(); n != 1 {
					t.Errorf("asked %d times", n)
				}
			})
		}
	})
}

func TestHeadIsBounded(t *testing.T) {
	tests := map[string]func(w io.Writer) error{
		"fields": func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat("X-Filler: "+strings.Repeat("y", 1000)+"\r\n", 20))
			return err
		},
		"one line": func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat("y", 20_000))
			return err
		},
		"interim answers": func(w io.Writer) error {
			_, err := io.WriteString(w, "X: 1\r\n\r\nHTTP/1.1 100 Continue\r\n")
			return err
		},
	}
	each(t, func(t *testing.T, im implementation) {
		for name, more := range tests {
			t.Run(name, func(t *testing.T) {
				cfg := im.serve(t, func(_ int, p *peer) {
					p.request()
					if name == "interim answers" {
						p.say("HTTP/1.1 100 Continue\r\n")
					} else {
						p.say("HTTP/1.1 200 OK\r\n")
					}
					for more(p.Conn) == nil { // until the other side has had enough
					}
				})
				cfg.MaxHeaderBytes = 64 << 10
				_, err := im.open(t, cfg).RoundTrip(t.Context(), get)
				if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Head {
					t.Errorf("got %v", err)
				}
			})
		}
	})
}

func TestInformational(t *testing.T) {
	const answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Own\r\nX: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
	each(t, func(t *testing.T, im implementation) {
		var got []string
		r := *get
		r.Informational = func(status int, h http.Header) { got = append(got, fmt.Sprint(status, h)) }
		if body := whole(t, fetch(t, im.start(t, says(answer)), &r)); body != "a" {
			t.Errorf("body %q", body)
		}
		if want := []string{"103 map[Link:[</a>]]", "199 map[X:[1]]"}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestHeaderAsItCame(t *testing.T) {
	tr := h1Only.start(t, says("HTTP/1.1 200 OK\r\nserver: uvicorn\r\nSet-Cookie: a\r\nPragma: no-cache\r\nSet-Cookie: b\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n"))
	want := http.Header{"Server": {"uvicorn"}, "Set-Cookie": {"a", "b"}, "Pragma": {"no-cache"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}, "Content-Length": {"0"}}
	if resp := fetch(t, tr, get); !reflect.DeepEqual(resp.Header, want) {
		t.Errorf("got %v, want %v", resp.Header, want)
	}
}

func TestRefusedConnection(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		cfg := im.serve(t, nil)
		ln := cfg.URL.Host
		cfg.URL.Host = "127.0.0.1:1"
		_, err := im.open(t, cfg).RoundTrip(context.Background(), get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Dial || e.Sent || e.Timeout != "" {
			t.Errorf("got %v (beside %s)", err, ln)
		}
	})
}
