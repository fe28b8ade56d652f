package wire

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

// playedConn gives prepared bytes, a few at a time, then EOF.
type playedConn struct {
	net.Conn
	rest []byte
	step int
}

func (c *playedConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.step)], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *playedConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *playedConn) Close() error                     { return nil }
func (c *playedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *playedConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswer compares with net/http: what we accept it accepts, with the same
// bodies; that we refuse some of what it accepts is on purpose.
func FuzzAnswer(f *testing.F) {
	for _, test := range goodAnswers {
		f.Add([]byte(test.answer), uint8(0), test.method == "HEAD")
		f.Add([]byte(test.answer), uint8(1), false)
	}
	f.Add([]byte(chunkedHead+"5\r\nhello\r\n0\r\nX: 1\r\nY:2\r\n\r\nHTTP/1.1 200 OK\r\n"), uint8(3), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"), uint8(9), false)
	f.Add([]byte("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"+ok1), uint8(2), false)
	tr := newH1(Config{URL: mustURL(f, "http://backend"), MaxIdle: 1, MaxHeaderBytes: 64 << 10, FirstByteTimeout: time.Hour, IdleTimeout: time.Hour})
	f.Cleanup(tr.Close)
	f.Fuzz(func(t *testing.T, answer []byte, step uint8, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		c := newConn(tr, &playedConn{rest: answer, step: int(step) + 1})
		resp, err := tr.exchange(t.Context(), c, &Request{Method: method, Target: "/"}, 0)
		defer tr.CloseIdle()
		if err != nil {
			return
		}
		got, bodyErr := readInTurns(resp.Body.(*body))

		theirs, theirErr := readResponse(answer, method)
		if theirErr != nil {
			t.Fatalf("accepted what net/http refuses: %v", theirErr)
		}
		want, wantErr := io.ReadAll(theirs.Body)
		if resp.Status != theirs.StatusCode || resp.Length != theirs.ContentLength {
			t.Fatalf("status %d, length %d; net/http: %d, %d", resp.Status, resp.Length, theirs.StatusCode, theirs.ContentLength)
		}
		switch {
		case bodyErr == nil && wantErr != nil:
			t.Fatalf("a clean end after %q; net/http: %v", got, wantErr)
		case bodyErr == nil && !bytes.Equal(got, want), !bytes.HasPrefix(want, got) && !bytes.HasPrefix(got, want):
			t.Fatalf("body %q; net/http: %q", got, want)
		}
		for name, values := range resp.Trailer {
			if bodyErr == nil && !slices.Equal(values, theirs.Trailer[name]) {
				t.Fatalf("trailer %v; net/http: %v", resp.Trailer, theirs.Trailer)
			}
		}
	})
}

// readInTurns reads with and without looking first, in portions that fit nothing.
func readInTurns(b *body) ([]byte, error) {
	var all []byte
	buf := make([]byte, 7)
	for turn := 0; ; turn++ {
		switch turn % 3 {
		case 0:
			if err := b.Wait(); err != nil {
				return all, err
			}
		case 1:
			b.Ready()
		}
		n, err := b.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// readResponse is net/http's reading of the same bytes, interim answers skipped.
func readResponse(answer []byte, method string) (*http.Response, error) {
	br := bufio.NewReader(bytes.NewReader(answer))
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
}
