package proxy_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

func TestBodies(t *testing.T) {
	big := strings.Repeat("x", 200_000)
	model := `{"model":"m","x":"` + big + `"}`
	for _, tt := range []struct{ name, raw, body, field string }{
		{"none", "POST /x HTTP/1.1\r\nHost: localhost\r\n\r\n", "", "Content-Length: 0"},
		{"of length zero", "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "", "Content-Length: 0"},
		{"small", post("/x", "abc"), "abc", "Content-Length: 3"},
		{"small chunks", "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("ab", "c") + lastChunk, "abc", "Transfer-Encoding: chunked"},
		{"large", post("/x", big), big, "Content-Length: 200000"},
		{"large chunks", "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(big, "c") + lastChunk, big + "c", "Transfer-Encoding: chunked"},
		{"large, of a generation", post("/v1/chat/completions", model), model, "Content-Length: 200020"},
		{"chunks of a generation", "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(model) + lastChunk, model, "Content-Length: 200020"},
		{"large, with the model in it", post("/api/pull", model), model, "Content-Length: 200020"},
		{"no JSON", post("/v1/chat/completions", "\x00\xff{"), "\x00\xff{", "Content-Length: 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := forwarded(t, tt.raw)
			if got.body != tt.body {
				t.Errorf("the backend got %d bytes, want %d as they were", len(got.body), len(tt.body))
			}
			if !strings.Contains(got.head, "\r\n"+tt.field+"\r\n") {
				t.Errorf("no %s in %q", tt.field, got.head)
			}
		})
	}
}

// A blob of any size passes in constant memory.
func TestBlobIsStreamed(t *testing.T) {
	size := int64(256 << 20)
	if testing.Short() {
		size = 32 << 20
	}
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	runtime.GC() // what earlier tests left is not this one's
	sent := make(chan error, 1)
	go func() {
		fmt.Fprintf(c, "POST /api/blobs/sha256:1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", size)
		piece := bytes.Repeat([]byte("vega"), 16<<10)
		for n := int64(0); n < size; n += int64(len(piece)) {
			if _, err := c.Write(piece); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	p := b.accept()
	if head := p.head(); !strings.Contains(head, fmt.Sprintf("\r\nContent-Length: %d\r\n", size)) {
		t.Errorf("head %q", head)
	}
	buf := make([]byte, 64<<10)
	most, samples := uint64(0), 0
	for n := int64(0); n < size; samples++ {
		m, err := p.br.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		n += int64(m)
		if samples%1024 == 0 {
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			most = max(most, stats.HeapInuse)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	p.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
	if a := c.answer(); a.status != http.StatusCreated {
		t.Errorf("status %d", a.status)
	}
	if most > 24<<20 {
		t.Errorf("%d MiB of heap for a body that is only passed on", most>>20)
	}
}

func TestTrailers(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + chunked("abc") + "0\r\nX-Sum: 7\r\n\r\n")
	p, got := b.asked()
	if got.body != "abc" || got.trailer.Get("X-Sum") != "7" {
		t.Errorf("the backend got %q with trailers %q", got.body, got.trailer)
	}
	p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Took\r\n\r\n" + chunked("ok") + "0\r\nX-Took: 9\r\n\r\n")
	if a := c.answer(); a.body != "ok" || a.trailer.Get("X-Took") != "9" {
		t.Errorf("the client got %q with trailers %q", a.body, a.trailer)
	}
}

// Who is refused is told before the body is sent; who is not, to go on.
func TestExpectContinue(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) {
		cfg.Limits.MaxBodyBytes = 10
		cfg.Routes.Deny = []string{"/closed"}
	}, b)
	expecting := func(path string, n int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", path, n)
	}
	c := dial(t, r.addr)
	c.send(expecting("/v1/chat/completions", 3))
	expect(t, c.br, "HTTP/1.1 100 Continue\r\n\r\n")
	c.send("abc")
	p, got := b.asked()
	if got.body != "abc" || got.header["Expect"] != nil {
		t.Errorf("the backend got %q with %q", got.body, got.header)
	}
	p.say(okJSON)
	if a := c.answer(); a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
	for path, status := range map[string]int{"/v1/chat/completions": http.StatusRequestEntityTooLarge, "/closed": http.StatusForbidden} {
		if a := do(t, r.addr, expecting(path, 11)); a.status != status {
			t.Errorf("%s: status %d, want %d before the body", path, a.status, status)
		}
	}
	if a := do(t, r.addr, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: else\r\n\r\n"); a.status != http.StatusExpectationFailed {
		t.Errorf("another expectation: status %d", a.status)
	}
}

func gzipped(t *testing.T, s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, s); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstded(t *testing.T, s string) string {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return string(z.EncodeAll([]byte(s), nil))
}

// A compressed request is read for its model, and forwarded as it came.
func TestCompressedRequests(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	one.always(okJSON)
	r := start(t, func(cfg *config.Config) {
		cfg.Upstreams[0].Models = []string{"small"}
		cfg.Upstreams[1].Models = []string{"large"}
		cfg.Limits.MaxBodyBytes = 1 << 20
	}, one, two)
	plain := `{"model":"large","messages":[]}`
	var p *peer
	for encoding, body := range map[string]string{"gzip": gzipped(t, plain), "zstd": zstded(t, plain), "GZIP": gzipped(t, plain), "identity": plain} {
		c := dial(t, r.addr)
		c.send(post("/v1/chat/completions", body, "Content-Encoding: "+encoding))
		if p == nil {
			p = two.accept()
		}
		got := p.request()
		if got.body != body || got.header.Get("Content-Encoding") != encoding {
			t.Errorf("%s: the backend got %d bytes as %q", encoding, len(got.body), got.header.Get("Content-Encoding"))
		}
		p.say(okJSON)
		if a := c.answer(); a.header.Get("X-Vega-Upstream") != "second" {
			t.Errorf("%s: went to %q", encoding, a.header.Get("X-Vega-Upstream"))
		}
	}
	// What cannot be read goes where a request without a model goes.
	for encoding, body := range map[string]string{"gzip": "no gzip", "zstd": "no zstd", "br": plain} {
		if a := do(t, r.addr, post("/v1/chat/completions", body, "Content-Encoding: "+encoding)); a.status != http.StatusOK || a.header.Get("X-Vega-Upstream") != "first" {
			t.Errorf("unreadable %s: %d from %q", encoding, a.status, a.header.Get("X-Vega-Upstream"))
		}
	}
	bomb := strings.Repeat("\x00", 2<<20)
	for encoding, body := range map[string]string{"gzip": gzipped(t, bomb), "zstd": zstded(t, bomb)} {
		a := do(t, r.addr, post("/v1/chat/completions", body, "Content-Encoding: "+encoding))
		if a.status != http.StatusRequestEntityTooLarge || a.header.Get("X-Vega-Error") != "body_too_large" {
			t.Errorf("a bomb of %s: %d %q", encoding, a.status, a.header.Get("X-Vega-Error"))
		}
	}
}

func TestBodyTooLarge(t *testing.T) {
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) { cfg.Limits.MaxBodyBytes = 100 }, b)
	large := strings.Repeat("x", 101)
	for name, raw := range map[string]string{
		"by its length": post("/api/chat", large),
		"in chunks":     "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(large) + lastChunk,
	} {
		c := dial(t, r.addr)
		c.send(raw)
		a := c.answer()
		if a.status != http.StatusRequestEntityTooLarge || a.header.Get("X-Vega-Error") != "body_too_large" || !strings.HasPrefix(a.body, `{"error":"`) {
			t.Errorf("%s: %d %q %q", name, a.status, a.header.Get("X-Vega-Error"), a.body)
		}
		c.closed()
	}
	b.unasked()
	got, _ := forwarded(t, post("/api/pull", large+large))
	if len(got.body) != 202 {
		t.Errorf("management has no limit, but the backend got %d bytes", len(got.body))
	}
}

// An upstream may answer before it has the whole request.
func TestFullDuplex(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send("POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("one"))
	p := b.accept()
	p.head()
	expect(t, p.br, chunked("one"))
	p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("first"))
	a := c.head()
	body := c.body(a)
	expect(t, body, "first")
	c.send(chunked("two"))
	expect(t, p.br, chunked("two"))
	p.chunk("second")
	expect(t, body, "second")
	c.send(lastChunk)
	expect(t, p.br, lastChunk)
	p.say(lastChunk)
	if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
		t.Errorf("the body ends with %q, %v", rest, err)
	}
}

func TestEarlyHints(t *testing.T) {
	b := newBackend(t)
	r := start(t, nil, b)
	c := dial(t, r.addr)
	c.send(get("/v1/models"))
	p, _ := b.asked()
	p.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n" + okJSON)
	hint := c.head()
	if hint.status != http.StatusEarlyHints || hint.header.Get("Link") != "</a>" || hint.header.Get("X-Hop") != "" {
		t.Errorf("the hint is %q", hint.raw)
	}
	if a := c.answer(); a.status != http.StatusOK || a.header.Get("Link") != "" || a.body != "{}" {
		t.Errorf("the answer is %q %q", a.raw, a.body)
	}
	// HTTP/1.0 knows no interim answers.
	c = dial(t, r.addr)
	c.send("GET /v1/models HTTP/1.0\r\nHost: localhost\r\n\r\n")
	p.request()
	p.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okJSON)
	if a := c.head(); a.status != http.StatusOK {
		t.Errorf("HTTP/1.0: the client got %q", a.raw)
	}
}
