package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds waits that only a failing test sees the end of.
const patience = 20 * time.Second

// backend is an upstream of raw bytes. A test either takes its connections one
// by one with accept and plays the server itself, step by step, or lets serve
// do it for all of them.
type backend struct {
	t     testing.TB
	ln    net.Listener
	conns chan *peer
	wg    sync.WaitGroup

	mu    sync.Mutex
	peers []*peer
}

func newBackend(t testing.TB) *backend {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{t: t, ln: ln, conns: make(chan *peer, 256)}
	b.wg.Go(b.run)
	t.Cleanup(b.close)
	return b
}

func (b *backend) run() {
	defer close(b.conns)
	for {
		c, err := b.ln.Accept()
		if err != nil {
			return
		}
		p := &peer{Conn: c, t: b.t, br: bufio.NewReader(c)}
		b.mu.Lock()
		b.peers = append(b.peers, p)
		b.mu.Unlock()
		b.conns <- p
	}
}

// close ends the listener and every connection.
func (b *backend) close() {
	b.ln.Close()
	b.mu.Lock()
	for _, p := range b.peers {
		p.Close()
	}
	b.peers = nil
	b.mu.Unlock()
	for range b.conns { // lets run end, should it wait to hand one over
	}
	b.wg.Wait()
}

func (b *backend) url() string  { return "http://" + b.ln.Addr().String() }
func (b *backend) host() string { return b.ln.Addr().String() }

// accept takes the next connection.
func (b *backend) accept() *peer {
	b.t.Helper()
	select {
	case p := <-b.conns:
		p.SetDeadline(time.Now().Add(patience))
		return p
	case <-time.After(patience):
		b.t.Fatal("the proxy did not connect to the backend")
		return nil
	}
}

// asked takes the next connection and its request.
func (b *backend) asked() (*peer, request) {
	b.t.Helper()
	p := b.accept()
	return p, p.request()
}

// unasked fails if a connection is or was open that nobody took.
func (b *backend) unasked() {
	b.t.Helper()
	select {
	case p := <-b.conns:
		b.t.Fatalf("the backend got a connection from %s that it must not get", p.RemoteAddr())
	default:
	}
}

// serve plays the server on every connection: answer gives the raw bytes for
// each request; "" closes the connection.
func (b *backend) serve(answer func(r request) string) {
	b.wg.Go(func() {
		for p := range b.conns {
			b.wg.Go(func() {
				defer p.Close()
				for {
					r, err := p.tryRequest()
					if err != nil {
						return
					}
					a := answer(r)
					if _, err := io.WriteString(p, a); err != nil || a == "" {
						return
					}
				}
			})
		}
	})
}

// always serves one and the same answer.
func (b *backend) always(answer string) {
	b.serve(func(request) string { return answer })
}

// request is one request as it came over the wire.
type request struct {
	head    string // raw, with the blank line
	line    string // the request line
	header  http.Header
	body    string // decoded
	trailer http.Header
}

// peer is the backend's end of a connection.
type peer struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

// request reads one request with its body.
func (p *peer) request() request {
	p.t.Helper()
	r, err := p.tryRequest()
	if err != nil {
		p.t.Fatalf("backend: no whole request: %v", err)
	}
	return r
}

func (p *peer) tryRequest() (request, error) {
	head, err := readHead(p.br)
	if err != nil {
		return request{}, err
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return request{}, fmt.Errorf("%w in %q", err, head)
	}
	body, trailer, err := readBody(p.br, r)
	line, _, _ := strings.Cut(head, "\r\n")
	return request{head: head, line: line, header: r.Header, body: body, trailer: trailer}, err
}

// readHead reads a head byte for byte.
func readHead(br *bufio.Reader) (string, error) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := br.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			return head.String(), err
		}
	}
	return head.String(), nil
}

func (p *peer) head() string {
	p.t.Helper()
	head, err := readHead(p.br)
	if err != nil {
		p.t.Fatalf("backend: no whole head: %v after %q", err, head)
	}
	return head
}

func (p *peer) say(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Fatalf("backend: %v", err)
	}
}

// chunk sends s as one chunk.
func (p *peer) chunk(s string) {
	p.t.Helper()
	p.say(chunked(s))
}

// gone waits for the proxy to close the connection, and discards what it sends.
func (p *peer) gone() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, p.br); isTimeout(err) {
		p.t.Fatal("backend: the connection is still open")
	}
}

// reset closes with RST.
func (p *peer) reset() {
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Conn.Close()
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// chunked is each piece as a chunk, without the last one that ends a body.
func chunked(pieces ...string) string {
	var b strings.Builder
	for _, s := range pieces {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(s), s)
	}
	return b.String()
}

const lastChunk = "0\r\n\r\n"

// The heads of answers.
const (
	okSSE    = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	okNDJSON = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)

// sized is an answer of known length.
func sized(status int, body string, fields ...string) string {
	var head strings.Builder
	head.WriteString(fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", status, http.StatusText(status), len(body)))
	for _, f := range fields {
		head.WriteString(f + "\r\n")
	}
	return head.String() + "\r\n" + body
}

// readBody decodes the body that follows a request's head.
func readBody(br *bufio.Reader, r *http.Request) (string, http.Header, error) {
	if len(r.TransferEncoding) > 0 {
		body, err := io.ReadAll(httputil.NewChunkedReader(br))
		if err != nil {
			return string(body), nil, err
		}
		end, err := readTrailer(br)
		return string(body), end, err
	}
	body := make([]byte, max(r.ContentLength, 0))
	n, err := io.ReadFull(br, body)
	return string(body[:n]), nil, err
}

// readTrailer reads what follows the last chunk, up to the blank line.
func readTrailer(br *bufio.Reader) (http.Header, error) {
	h := http.Header{}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return h, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		if line == "" {
			return h, nil
		}
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
}
