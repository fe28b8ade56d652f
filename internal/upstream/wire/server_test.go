package wire

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/testkit/loop"
)

// patience bounds waits that only a failing test sees the end of.
const patience = 20 * time.Second

// script is what a backend does with its n-th connection, counted from 0.
type script func(n int, c *peer)

// peer is the backend's end of a connection.
type peer struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

// request reads one request with its body.
func (p *peer) request() (*http.Request, string) {
	p.t.Helper()
	r, err := http.ReadRequest(p.br)
	if err != nil {
		p.t.Errorf("backend: %v", err)
		return &http.Request{}, ""
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Errorf("backend: body: %v", err)
	}
	return r, string(body)
}

// head reads a request's head, byte for byte.
func (p *peer) head() string {
	p.t.Helper()
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := p.br.ReadString('\n')
		if err != nil {
			p.t.Errorf("backend: %v after %q", err, head.String())
			return head.String()
		}
		head.WriteString(line)
	}
	return head.String()
}

func (p *peer) say(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Errorf("backend: %v", err)
	}
}

// untilGone waits for the other side to close, and discards what it sends.
func (p *peer) untilGone() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, p.br); isTimeout(err) {
		p.t.Error("backend: the connection is still open")
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// reset closes with RST.
func (p *peer) reset() {
	if tc, ok := p.Conn.(*tls.Conn); ok {
		p.Conn = tc.NetConn()
	}
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Conn.Close()
}

var certified = sync.OnceValue(func() *httptest.Server {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	s.Close() // only its certificate is wanted
	return s
})

// implementation is a transport with a backend that suits it, and a way to read
// its answers.
type implementation struct {
	name   string
	tls    bool
	looped bool // a loop's goroutine reads
}

var implementations = []implementation{{name: "h1"}, {name: "std", tls: true}, {name: "h1 by a loop", looped: true}}

// each runs the test against all of them.
func each(t *testing.T, test func(t *testing.T, im implementation)) {
	for _, im := range implementations {
		t.Run(im.name, func(t *testing.T) { test(t, im) })
	}
}

var h1Only = implementations[0]

// serve starts a backend and returns how to reach it. Scripts have ended when
// the test has.
func (im implementation) serve(t testing.TB, play script) Config {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{URL: &url.URL{Scheme: "http", Host: ln.Addr().String()}}
	var serverTLS *tls.Config
	if im.tls {
		s := certified()
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		cfg.URL.Scheme = "https"
		cfg.TLS = &tls.Config{RootCAs: roots}
		serverTLS = &tls.Config{Certificates: s.TLS.Certificates}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			if im.tls {
				nc = tls.Server(nc, serverTLS)
			}
			wg.Go(func() {
				p := &peer{Conn: nc, t: t, br: bufio.NewReader(nc)}
				defer func() { p.Conn.Close() }()
				play(n, p)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return cfg
}

// start is serve, and a transport to it.
func (im implementation) start(t testing.TB, play script) Transport {
	t.Helper()
	return im.open(t, im.serve(t, play))
}

func (im implementation) open(t testing.TB, cfg Config) Transport {
	if im.looped {
		cfg.Loop = loop.Run(t, 1)
	}
	tr := New(cfg)
	t.Cleanup(tr.Close)
	if im.looped {
		return loopedTransport{tr}
	}
	return tr
}

// says answers every request with the same bytes, for as long as the other side likes.
func says(answer string) script {
	return func(_ int, p *peer) {
		for {
			r, err := http.ReadRequest(p.br)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			if _, err := io.WriteString(p.Conn, answer); err != nil {
				return
			}
		}
	}
}

// saysAndCloses answers one request and closes.
func saysAndCloses(answer string) script {
	return func(_ int, p *peer) {
		p.request()
		p.say(answer)
	}
}

var get = &Request{Method: "GET", Target: "/"}

// fetch is a round trip that must succeed up to the head.
func fetch(t *testing.T, tr Transport, r *Request) *Response {
	t.Helper()
	resp, err := tr.RoundTrip(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// whole reads a body that must end cleanly.
func whole(t *testing.T, resp *Response) string {
	t.Helper()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body %.60q: %v", got, err)
	}
	return string(got)
}

// until polls, bounded, for what other goroutines or the kernel are about to do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func sortedLines(head string) []string {
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	slices.Sort(lines[1:])
	return lines
}

func filled(n int) []byte { return bytes.Repeat([]byte("x"), n) }

// nopConn is a connection that is only closed.
type nopConn struct{ net.Conn }

func (nopConn) Close() error { return nil }

// countedWrites counts the writes to a socket.
type countedWrites struct {
	syscall.Conn
	n int
}

func (c *countedWrites) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.Conn.SyscallConn()
	return countedRaw{raw, c}, err
}

type countedRaw struct {
	syscall.RawConn
	c *countedWrites
}

func (r countedRaw) Write(f func(uintptr) bool) error {
	r.c.n++
	return r.RawConn.Write(f)
}
