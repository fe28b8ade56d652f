package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// certify writes a certificate for this machine and returns what trusts it.
func certify(t *testing.T, cfg *config.Config) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cfg.TLS.CertFile: {Type: "CERTIFICATE", Bytes: der}, cfg.TLS.KeyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{RootCAs: roots}
}

// HTTP/1.1 over TLS is what it is without.
func TestTLS(t *testing.T) {
	b := newBackend(t)
	var trust *tls.Config
	r := start(t, func(cfg *config.Config) { trust = certify(t, cfg) }, b)
	c, protocol := dialTLS(t, r.addr, trust, "http/1.1")
	if protocol != "http/1.1" {
		t.Errorf("agreed on %q", protocol)
	}
	c.send(chat())
	p, got := b.asked()
	if got.header.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("X-Forwarded-Proto %q", got.header.Get("X-Forwarded-Proto"))
	}
	p.say(okSSE)
	body := c.body(c.head())
	for _, ev := range []string{"data: 1\n\n", "data: 2\n\n"} {
		p.chunk(ev)
		expect(t, body, ev)
	}
	p.Close()
	if rest, err := io.ReadAll(body); err == nil || !onlyErrorEvent(string(rest)) {
		t.Errorf("the cut stream ends with %q, %v", rest, err)
	}
	r.ended()

	// Its heads are looked at as well.
	c, _ = dialTLS(t, r.addr, trust, "http/1.1")
	c.send("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if a := c.answer(); a.status != http.StatusBadRequest || a.header.Get("X-Vega-Error") != "ambiguous_request" {
		t.Errorf("an ambiguous request: %d %q", a.status, a.header.Get("X-Vega-Error"))
	}
	c.closed()
	r.ended()

	// A client that leaves is noticed.
	c, _ = dialTLS(t, r.addr, trust, "http/1.1")
	c.send(chat())
	p, _ = b.asked()
	c.Close()
	p.gone()
	if line := r.ended(); line["ended_by"] != "client" {
		t.Errorf("ended by %v", line["ended_by"])
	}

	// Who speaks no TLS is told to, and holds nobody up.
	plain := dial(t, r.addr)
	plain.send(get("/"))
	if a := plain.answer(); a.status != http.StatusBadRequest || !strings.Contains(a.body, "https://") {
		t.Errorf("a plain request: %d %q", a.status, a.body)
	}
}

// crowded is a listener that at first finds no descriptor free.
type crowded struct {
	net.Listener
	left atomic.Int32
}

func (l *crowded) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// A process that was out of descriptors accepts again when it has some.
func TestTLSOutOfDescriptors(t *testing.T) {
	b := newBackend(t)
	lines := make(lines, 1<<4)
	r := &rig{t: t, lines: lines, log: slog.New(lines)}
	r.wrap = func(ln net.Listener) net.Listener {
		l := &crowded{Listener: ln}
		l.left.Store(2)
		return l
	}
	var trust *tls.Config
	r.start(func(cfg *config.Config) { trust = certify(t, cfg) }, b.url())
	trust.NextProtos = []string{"http/1.1"}
	d := tls.Dialer{Config: trust, NetDialer: &net.Dialer{Timeout: patience}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// overHTTP2 is a client that speaks only HTTP/2, and the scheme for it.
type overHTTP2 struct {
	name, scheme string
	client       *http.Client
	r            *rig
	b            *backend
}

func eachHTTP2(t *testing.T, configure func(*config.Config), test func(t *testing.T, o overHTTP2)) {
	for _, name := range []string{"TLS", "cleartext"} {
		t.Run(name, func(t *testing.T) {
			o := overHTTP2{name: name, scheme: "https", b: newBackend(t)}
			transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
			o.r = start(t, func(cfg *config.Config) {
				if name == "TLS" {
					transport.TLSClientConfig = certify(t, cfg)
					transport.Protocols.SetHTTP2(true)
				} else {
					o.scheme = "http"
					cfg.HTTP2 = true
					transport.Protocols.SetUnencryptedHTTP2(true)
				}
				if configure != nil {
					configure(cfg)
				}
			}, o.b)
			o.client = &http.Client{Transport: transport}
			t.Cleanup(transport.CloseIdleConnections)
			test(t, o)
		})
	}
}

// post starts an exchange and hands over the backend's end.
func (o overHTTP2) post(t *testing.T, ctx context.Context, path, body string) (*peer, request, <-chan *http.Response) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.scheme+"://"+o.r.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answers := make(chan *http.Response, 1)
	go func() {
		defer close(answers)
		if a, err := o.client.Do(r); err == nil {
			answers <- a
		}
	}()
	p, got := o.b.asked()
	return p, got, answers
}

func TestHTTP2(t *testing.T) {
	eachHTTP2(t, nil, func(t *testing.T, o overHTTP2) {
		// A text that looks like an ambiguous request is only a text.
		text := "POST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n\nPOST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n"
		for range 2 {
			p, got, answers := o.post(t, t.Context(), "/v1/chat/completions?a=%2F", text)
			if got.line != "POST /v1/chat/completions?a=%2F HTTP/1.1" || got.body != text {
				t.Errorf("the backend got %q with %q", got.head, got.body)
			}
			wantVia(t, got.header, "2.0 ")
			p.say(okSSE)
			a := <-answers
			if a == nil || a.ProtoMajor != 2 || a.StatusCode != http.StatusOK {
				t.Fatalf("the answer is %v", a)
			}
			for _, ev := range []string{"data: 1\n\n", "data: 2\n\n"} {
				p.chunk(ev)
				expect(t, a.Body, ev)
			}
			p.say(lastChunk)
			if rest, err := io.ReadAll(a.Body); len(rest) > 0 || err != nil {
				t.Errorf("the stream ends with %q, %v", rest, err)
			}
			p.Close()
		}
	})
}

// Nothing is added to an answer over HTTP/2 either.
func TestHTTP2Fields(t *testing.T) {
	eachHTTP2(t, nil, func(t *testing.T, o overHTTP2) {
		p, _, answers := o.post(t, t.Context(), "/infill", "{}")
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n" + chunked("hello") + lastChunk)
		a := <-answers
		body, err := io.ReadAll(a.Body)
		if string(body) != "hello" || err != nil {
			t.Errorf("body %q, %v", body, err)
		}
		for name := range a.Header {
			if !strings.HasPrefix(name, "X-Vega-") && name != "Via" {
				t.Errorf("%s: %q was added", name, a.Header[name])
			}
		}
		wantVia(t, a.Header, "1.1 ")
	})
}

// A cut shows as an event and as the stream's reset; the connection lives on.
func TestHTTP2Cut(t *testing.T) {
	eachHTTP2(t, nil, func(t *testing.T, o overHTTP2) {
		p, _, answers := o.post(t, t.Context(), "/v1/chat/completions", "{}")
		p.say(okSSE + chunked("data: 1\n\n"))
		a := <-answers
		expect(t, a.Body, "data: 1\n\n")
		p.Close()
		rest, err := io.ReadAll(a.Body)
		if err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") || !onlyErrorEvent(string(rest)) {
			t.Errorf("the stream ends with %q, %v", rest, err)
		}
	})
}

// A stream that its client resets is given up at the upstream, in each phase.
func TestHTTP2ClientGone(t *testing.T) {
	eachHTTP2(t, nil, func(t *testing.T, o overHTTP2) {
		ctx, cancel := context.WithCancel(t.Context())
		p, _, answers := o.post(t, ctx, "/v1/chat/completions", "{}")
		cancel()
		p.gone()
		<-answers
		ctx, cancel = context.WithCancel(t.Context())
		p, _, answers = o.post(t, ctx, "/v1/chat/completions", "{}")
		p.say(okSSE + chunked("data: 1\n\n"))
		a := <-answers
		expect(t, a.Body, "data: 1\n\n")
		cancel()
		p.gone()
		for range 2 {
			if line := o.r.ended(); line["ended_by"] != "client" {
				t.Errorf("ended by %v", line["ended_by"])
			}
		}
	})
}

// A client that opens no window for a stream takes nothing of it.
func TestHTTP2StalledClientIsCut(t *testing.T) {
	eachHTTP2(t, func(cfg *config.Config) { cfg.Upstreams[0].Stream.WriteStallTimeout = 2 * short }, func(t *testing.T, o overHTTP2) {
		p, _, answers := o.post(t, t.Context(), "/v1/chat/completions", "{}")
		p.say(okSSE + chunked("data: 1\n\n"))
		a := <-answers
		defer a.Body.Close()
		ev := chunked("data: " + strings.Repeat("x", 32<<10) + "\n\n")
		p.SetDeadline(time.Now().Add(patience / 4))
		for err := error(nil); err == nil; {
			_, err = io.WriteString(p.Conn, ev)
			if isTimeout(err) {
				t.Fatal("the upstream is still held")
			}
		}
		if line := o.r.ended(); line["ended_by"] != "stall" {
			t.Errorf("ended by %v", line["ended_by"])
		}
	})
}
