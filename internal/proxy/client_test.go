package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"time"
)

// client is a client of raw bytes.
type client struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, c)
}

func newClient(t testing.TB, c net.Conn) *client {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{Conn: c, t: t, br: bufio.NewReader(c)}
}

// CloseWrite says that no more comes.
func (c *client) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("client: %v", err)
	}
}

// post composes a POST of JSON.
func post(path, body string, fields ...string) string {
	var head strings.Builder
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, len(body))
	for _, f := range fields {
		head.WriteString(f + "\r\n")
	}
	return head.String() + "\r\n" + body
}

func get(path string, fields ...string) string {
	var head strings.Builder
	head.WriteString("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n")
	for _, f := range fields {
		head.WriteString(f + "\r\n")
	}
	return head.String() + "\r\n"
}

// chat is a request for a streamed generation.
func chat(fields ...string) string {
	return post("/v1/chat/completions", `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`, fields...)
}

// answer is what a client got.
type answer struct {
	raw     string // the head, byte for byte
	status  int
	header  http.Header
	body    string
	err     error // why the body is not whole
	trailer http.Header
}

// head reads an answer's head.
func (c *client) head() answer {
	c.t.Helper()
	raw, err := readHead(c.br)
	if err != nil {
		c.t.Fatalf("client: no whole head: %v after %q", err, raw)
	}
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw)), nil)
	if err != nil {
		c.t.Fatalf("client: %v in %q", err, raw)
	}
	return answer{raw: raw, status: r.StatusCode, header: r.Header}
}

// body gives the body of an answer whose head was read, undone of its framing.
// Its end is io.EOF if it is whole, else io.ErrUnexpectedEOF or the reset.
func (c *client) body(a answer) io.Reader {
	if strings.Contains(a.raw, "Transfer-Encoding: chunked\r\n") {
		return httputil.NewChunkedReader(c.br)
	}
	var n int64
	if v := a.header.Get("Content-Length"); v != "" {
		fmt.Sscan(v, &n)
		return &exactly{r: c.br, n: n}
	}
	if a.status < http.StatusOK || a.status == http.StatusNoContent || a.status == http.StatusNotModified {
		return strings.NewReader("")
	}
	return c.br // to the close
}

// exactly reads n bytes; fewer are an unexpected end.
type exactly struct {
	r io.Reader
	n int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.n)])
	e.n -= int64(n)
	if errors.Is(err, io.EOF) && e.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// answer reads one whole answer.
func (c *client) answer() answer {
	c.t.Helper()
	a := c.head()
	c.rest(&a)
	return a
}

// rest reads the body and what follows it.
func (c *client) rest(a *answer) {
	c.t.Helper()
	var b bytes.Buffer
	_, a.err = b.ReadFrom(c.body(*a))
	a.body = b.String()
	if isTimeout(a.err) {
		c.t.Fatalf("client: the answer does not end after %q", a.body)
	}
	if a.err == nil && strings.Contains(a.raw, "Transfer-Encoding: chunked\r\n") {
		a.trailer, a.err = readTrailer(c.br)
	}
}

// expect reads exactly want.
func expect(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if err != nil || string(got) != want {
		t.Fatalf("got %q (%v), want %q", got[:n], err, want)
	}
}

// closed waits for the proxy to close the connection without another byte.
func (c *client) closed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.br)
	if len(rest) > 0 || isTimeout(err) {
		c.t.Fatalf("client: got %q (%v), want the end of the connection", rest, err)
	}
}

// do sends one request on a connection of its own and reads the answer.
func do(t testing.TB, addr, request string) answer {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	c.send(request)
	return c.answer()
}

// dialTLS connects with one ALPN protocol and says which was agreed on.
func dialTLS(t testing.TB, addr string, config *tls.Config, protocols ...string) (*client, string) {
	t.Helper()
	config = config.Clone()
	config.NextProtos = protocols
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, c), c.ConnectionState().NegotiatedProtocol
}
