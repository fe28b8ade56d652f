package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// http2Backend is a server that talks HTTP/2 to those who can.
func http2Backend(t *testing.T, h http.HandlerFunc) Transport {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	tr := New(Config{URL: mustURL(t, s.URL), TLS: &tls.Config{RootCAs: roots}})
	t.Cleanup(s.Close)
	t.Cleanup(tr.Close)
	return tr
}

func TestHTTP2(t *testing.T) {
	tr := http2Backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for _, name := range []string{"User-Agent", "Accept-Encoding", "Connection"} {
			if v, ok := r.Header[name]; ok {
				t.Errorf("%s: %q", name, v)
			}
		}
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, r.Proto+" "+r.RequestURI+" "+r.Header.Get("Idempotency-Key")+" "+string(body))
		w.Header().Set("X-Sum", "7")
	})
	hints := 0
	for i := range 3 {
		resp := fetch(t, tr, &Request{Method: "POST", Target: "/a%2Fb?x=\"", Header: http.Header{"Idempotency-Key": {"k"}}, Body: []byte("hello"),
			Informational: func(int, http.Header) { hints++ }})
		if got := whole(t, resp); got != "HTTP/2.0 /a%2Fb?x=\" k hello" || resp.ProtoMajor != 2 || resp.Reused != (i > 0) || resp.Trailer.Get("X-Sum") != "7" {
			t.Errorf("got %q, %+v", got, resp)
		}
	}
	if hints != 3 {
		t.Errorf("%d early hints", hints)
	}
	if got := tr.Stats(); got.Dials != 1 || got.Reused != 2 || got.Open != 1 {
		t.Errorf("%+v", got)
	}
}

func TestHTTP2Cancel(t *testing.T) {
	gone := make(chan bool)
	tr := http2Backend(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	b := newBlocked("x")
	resp, err := tr.RoundTrip(ctx, &Request{Method: "POST", Target: "/", Stream: b, Length: -1, StopStream: b.stop})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	cancel(errGone)
	_, err = resp.Body.Read(make([]byte, 1))
	if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Body || !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
	<-gone
}

// TestHTTP2EarlyAnswer has the handler answer without reading the request.
func TestHTTP2EarlyAnswer(t *testing.T) {
	tr := http2Backend(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "sorry", http.StatusRequestEntityTooLarge) })
	for name, r := range map[string]*Request{
		"memory": {Body: filled(8 << 20)},
		"stream": {Stream: strings.NewReader(strings.Repeat("x", 8<<20)), Length: -1},
	} {
		r.Method, r.Target = "POST", "/"
		resp := fetch(t, tr, r)
		if got := whole(t, resp); resp.Status != 413 || got != "sorry\n" {
			t.Errorf("%s: %d %q", name, resp.Status, got)
		}
	}
}

func TestHTTP2StreamReset(t *testing.T) {
	var asked atomic.Int32
	tr := http2Backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ok" {
			return
		}
		asked.Add(1)
		panic(http.ErrAbortHandler)
	})
	fetch(t, tr, &Request{Method: "GET", Target: "/ok"})
	_, err := tr.RoundTrip(t.Context(), &Request{Method: "POST", Target: "/", Body: []byte("x")})
	e, ok := errors.AsType[*Error](err)
	if !ok || !e.Sent || asked.Load() != 1 {
		t.Errorf("asked %d times, got %v: %+v", asked.Load(), err, e)
	}
}
