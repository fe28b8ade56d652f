package front_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"

// TestRequests sends the same bytes to a front and to net/http alone: handlers
// see the same, and so do clients.
func TestRequests(t *testing.T) {
	long := strings.Repeat("x", 9<<10)
	tests := []struct {
		name  string
		raw   string
		plain bool
	}{
		{"get", get, true},
		{"query", "GET /a/b%20c?d=e&f=%2F HTTP/1.1\r\nHost: a:80\r\n\r\n", true},
		{"double slash", "GET //a/../b HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"head", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"delete", "DELETE /api HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", true},
		{"post", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", true},
		{"get with a body", "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", true},
		{"names in any case", "GET / HTTP/1.1\r\nhOST: a\r\nx-rEQUEST-iD: 1\r\nACCEPT: x\r\n_a!: b\r\n\r\n", true},
		{"repeated field", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\nx: 3\r\nX:\r\n\r\n", true},
		{"blanks", "GET / HTTP/1.1\r\nHost:\t a \t\r\nX:   b c\t d  \r\n\r\n", true},
		{"bytes over 127", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\xff\r\n\r\n", true},
		{"keep-alive", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n" + get, true},
		{"close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", true},
		{"IPv6", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", true},
		{"pipelined", get + "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + get, true},
		{"body over the input", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9216\r\n\r\n" + long + get, true},
		{"body of 64 KiB", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 64512\r\n\r\n" + strings.Repeat(long, 7) + get, true},

		{"nothing", "", true},
		{"half a head", "GET / HTTP/1.1\r\nHost: a\r\n", false},
		{"half a line", "GET / HT", false},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", false},
		{"HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", false},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", false},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false},
		{"no version", "GET /\r\nHost: a\r\n\r\n", false},
		{"no host", "GET / HTTP/1.1\r\n\r\n", false},
		{"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", false},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", false},
		{"odd host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", false},
		{"absolute form", "GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"connect", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"trace", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"unknown method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"bad escape", "GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"escape of no hex", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"umlaut in the target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", false},
		{"one bare line feed", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", false},
		{"bare carriage return", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", false},
		{"leading line end", "\r\n" + get, false},
		{"folded", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", false},
		{"first field indented", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", false},
		{"blank before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", false},
		{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", false},
		{"no name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", false},
		{"no token", "GET / HTTP/1.1\r\nHost: a\r\nX(): b\r\n\r\n", false},
		{"control character", "GET / HTTP/1.1\r\nHost: a\r\nX: b\x00\r\n\r\n", false},
		{"delete character", "GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n", false},
		{"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n", false},
		{"chunked with a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		{"unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", false},
		{"equal lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", false},
		{"different lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", false},
		{"list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nab", false},
		{"length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab", false},
		{"empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", false},
		{"length of 10 GB", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n", false},
		{"length of 20 digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00000000000000000001\r\n\r\na", false},
		{"body over the limit", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 73728\r\n\r\n" + strings.Repeat(long, 8), false},
		{"expect", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab", false},
		{"expect what is unknown", "GET / HTTP/1.1\r\nHost: a\r\nExpect: a\r\n\r\n", false},
		{"upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},
		{"upgrade alone", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", false},
		{"connection names a field", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\n\r\n", false},
		{"two connections", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
		{"trailer", "GET / HTTP/1.1\r\nHost: a\r\nTrailer: x\r\n\r\n", false},
		{"pragma", "GET / HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\n\r\n", false},
		{"long head", "GET / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n", false},
		{"long line", "GET /" + long, false},
		{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 64) + "\r\n", false},
		{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n", false},
	}
	std := startStd(t, echo)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, echo)
			methods := []string{strings.SplitN(tt.raw, " ", 2)[0]}
			want := answers(talk(t, std, tt.raw), methods...)
			if got := answers(talk(t, r.addr, tt.raw), methods...); got != want {
				t.Errorf("front answers\n%s\nnet/http answers\n%s", got, want)
			}
			if got := r.handedOver() == 0; got != tt.plain {
				t.Errorf("served by front: %v", got)
			}
			// Behind requests that were served, with the bytes read at once.
			if tt.raw == "" {
				return
			}
			methods = append([]string{"GET", "POST"}, methods...)
			raw := get + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" + tt.raw
			want = answers(talk(t, std, raw), methods...)
			if got := answers(talk(t, r.addr, raw), methods...); got != want {
				t.Errorf("behind others, front answers\n%s\nnet/http answers\n%s", got, want)
			}
		})
	}
}

// TestShortBody: net/http too closes the connection, but does not say so.
func TestShortBody(t *testing.T) {
	for _, tt := range []struct{ name, length, body string }{
		{"behind the head", "5", "hel"},
		{"in a buffer of its own", "50000", strings.Repeat("x", 9<<10)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, func(w http.ResponseWriter, r *http.Request) {
				got, err := r.Body.(*front.Body).Bytes()
				if string(got) != tt.body || !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("Bytes: %d bytes, %v", len(got), err)
				}
				got, err = io.ReadAll(r.Body)
				if string(got) != tt.body || !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("Read: %d bytes, %v", len(got), err)
				}
				<-r.Context().Done()
				w.Header()["Date"] = nil
				w.WriteHeader(400)
			})
			got := talk(t, r.addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "+tt.length+"\r\n\r\n"+tt.body)
			if want := "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"; got != want {
				t.Errorf("answer: %q", got)
			}
		})
	}
}

// TestOddLength: net/http goes on to send the length to HEAD.
func TestOddLength(t *testing.T) {
	r := start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("Content-Length", "-5")
		io.WriteString(w, "hello")
	})
	if got := talk(t, r.addr, get); got != "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" {
		t.Errorf("answer: %q", got)
	}
}

func TestDate(t *testing.T) {
	r := start(t, func(http.ResponseWriter, *http.Request) {})
	for range 2 { // made, and kept
		before := time.Now().Truncate(time.Second)
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(talk(t, r.addr, get))), nil)
		if err != nil {
			t.Fatal(err)
		}
		at, err := http.ParseTime(resp.Header.Get("Date"))
		if err != nil || at.Before(before) || at.After(time.Now()) {
			t.Errorf("Date: %v, %v", resp.Header["Date"], err)
		}
	}
}

// TestAnswers has the same handlers answer through a front and through net/http.
func TestAnswers(t *testing.T) {
	text := func(n int) string { return strings.Repeat("0123456789abcdef", n/16) }
	set := func(w http.ResponseWriter, kv ...string) {
		w.Header()["Content-Type"] = []string{"text/x"} // or net/http would guess
		for i := 0; i < len(kv); i += 2 {
			w.Header()[kv[i]] = append(w.Header()[kv[i]], kv[i+1])
		}
	}
	flush := func(w http.ResponseWriter) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"nothing", func(http.ResponseWriter, *http.Request) {}},
		{"status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }},
		{"unknown status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799) }},
		{"small", func(w http.ResponseWriter, _ *http.Request) { set(w); io.WriteString(w, "hello") }},
		{"small in pieces", func(w http.ResponseWriter, _ *http.Request) {
			set(w)
			for range 10 {
				io.WriteString(w, "hello")
			}
		}},
		{"with a length", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "5")
			io.WriteString(w, "hello")
		}},
		{"with a length, flushed", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "10")
			flush(w)
			io.WriteString(w, "hello")
			flush(w)
			io.WriteString(w, "hello")
		}},
		{"with a length, large", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "200000")
			io.WriteString(w, text(200000))
		}},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "5")
			io.WriteString(w, "hello")
			if _, err := io.WriteString(w, "!"); !errors.Is(err, http.ErrContentLength) {
				t.Errorf("a byte too many: %v", err)
			}
		}},
		{"too short", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "5")
			io.WriteString(w, "hell")
		}},
		{"large of unknown length", func(w http.ResponseWriter, _ *http.Request) { set(w); io.WriteString(w, text(200000)) }},
		{"large in pieces", func(w http.ResponseWriter, _ *http.Request) {
			set(w)
			for range 100 {
				io.WriteString(w, text(1024))
			}
		}},
		{"flushed", func(w http.ResponseWriter, _ *http.Request) {
			set(w)
			io.WriteString(w, "a")
			flush(w)
			flush(w)
			io.WriteString(w, "b")
		}},
		{"head flushed alone", func(w http.ResponseWriter, _ *http.Request) { set(w); w.WriteHeader(200); flush(w) }},
		{"chunked", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Transfer-Encoding", "chunked")
			io.WriteString(w, "hello")
		}},
		{"chunked and empty", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Transfer-Encoding", "chunked")
			w.WriteHeader(200)
		}},
		{"chunked with a length", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Transfer-Encoding", "chunked", "Content-Length", "3")
			io.WriteString(w, "abc")
		}},
		{"trailers", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Transfer-Encoding", "chunked")
			io.WriteString(w, "hello")
			w.Header()[http.TrailerPrefix+"X-A"] = []string{"b", "c\r\nX-D: e"}
		}},
		{"trailers set before", func(w http.ResponseWriter, _ *http.Request) {
			set(w, http.TrailerPrefix+"X-A", "b")
			io.WriteString(w, "hello")
		}},
		{"trailers behind a length", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "5")
			io.WriteString(w, "hello")
			w.Header()[http.TrailerPrefix+"X-A"] = []string{"b"}
		}},
		{"204", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "5")
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "hello"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("a body to 204: %v", err)
			}
		}},
		{"304", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "5", "Etag", "x")
			w.WriteHeader(304)
		}},
		{"no date, no type", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
			io.WriteString(w, "hello")
		}},
		{"own date", func(w http.ResponseWriter, _ *http.Request) { set(w, "Date", "today") }},
		{"values that would break out", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "X-A", " a\r\nX-B: c\n ", "X C", "d", "", "e", "X-D", "f", "X-D", "g", "X-E", "")
		}},
		{"header changed too late", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "X-A", "b")
			w.WriteHeader(201)
			set(w, "X-A", "c", "X-B", "d")
			w.WriteHeader(500)
			io.WriteString(w, "hello")
		}},
		{"close", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Connection", "close")
			io.WriteString(w, "hello")
		}},
		{"interim", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Link", "a", "Content-Length", "3")
			w.WriteHeader(103)
			clear(w.Header())
			set(w, "X-A", "b")
			w.WriteHeader(103)
			w.WriteHeader(200)
			io.WriteString(w, "hello")
		}},
		{"head that fills a buffer", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				set(w, fmt.Sprint("X-", i), text(96))
			}
			set(w, "Content-Length", "5")
			io.WriteString(w, "hello")
		}},
		{"reads half the body", func(w http.ResponseWriter, r *http.Request) {
			var b [3]byte
			io.ReadFull(r.Body, b[:])
			set(w, "Content-Length", "3")
			w.Write(b[:])
		}},
		{"closes the body", func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			_, err := r.Body.Read(make([]byte, 1))
			set(w)
			if r.ContentLength > 0 {
				fmt.Fprint(w, err)
			}
		}},
		{"abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"abort after a piece", func(w http.ResponseWriter, _ *http.Request) {
			set(w)
			io.WriteString(w, "hello")
			flush(w)
			panic(http.ErrAbortHandler)
		}},
		{"panic with a length", func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "10")
			io.WriteString(w, "hello")
			flush(w)
			panic("oops")
		}},
	}
	const (
		post   = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
		head   = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
		closed = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, std := start(t, tt.answer), startStd(t, tt.answer)
			for _, c := range []struct {
				raw     string
				methods []string
			}{
				{get + post + get, []string{"GET", "POST", "GET"}},
				{head, []string{"HEAD"}},
				{closed + get, []string{"GET"}},
			} {
				want := answers(talk(t, std, c.raw), c.methods...)
				if got := answers(talk(t, r.addr, c.raw), c.methods...); got != want {
					t.Errorf("to %q front answers\n%s\nnet/http answers\n%s", c.raw, got, want)
				}
			}
			if n := r.handedOver(); n > 0 {
				t.Errorf("%d connections were handed over", n)
			}
		})
	}
}

// TestComplete: a handler that is held up ends its answer before it returns, in
// every framing, and the client is told that nothing follows.
func TestComplete(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		write  func(w http.ResponseWriter)
		want   string
	}{
		{"counted", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		}, "200 OK length=5 encoding=[] close=false\n  Content-Length: [\"5\"]\n  Date: [\"some\"]\n\"hello\" <nil>\n"},
		{"undecided", "GET", func(w http.ResponseWriter) { io.WriteString(w, "hello") },
			"200 OK length=5 encoding=[] close=false\n  Content-Length: [\"5\"]\n  Date: [\"some\"]\n\"hello\" <nil>\n"},
		{"chunked", "GET", func(w http.ResponseWriter) {
			w.Header()["Transfer-Encoding"] = []string{"chunked"}
			io.WriteString(w, "hel")
			w.(http.Flusher).Flush()
			io.WriteString(w, "lo")
		}, "200 OK length=-1 encoding=[chunked] close=false\n  Date: [\"some\"]\n\"hello\" <nil>\n"},
		{"nothing", "HEAD", func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }, "200 OK length=-1 encoding=[] close=false\n  Date: [\"some\"]\n\"\" <nil>\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			free := make(chan struct{})
			after := make(chan error, 1)
			r := start(t, func(w http.ResponseWriter, _ *http.Request) {
				tt.write(w)
				done := make(chan struct{})
				go func() {
					defer close(done)
					w.(interface{ Complete() }).Complete()
					w.(interface{ Complete() }).Complete()
				}()
				<-done
				<-free
				_, err := io.WriteString(w, "more")
				after <- err
			})
			nc := dial(t, r.addr)
			if _, err := io.WriteString(nc, tt.method+get[3:]+get); err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(nc) // to the end, which the held handler does not keep back
			if err != nil {
				t.Error(err)
			}
			if got := answers(string(raw), tt.method); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			close(free)
			if err := <-after; err == nil {
				t.Error("what comes after the end is taken")
			}
		})
	}
}
