package front_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a front with net/http behind it.
type rig struct {
	addr   string
	server *front.Server

	mu     sync.Mutex
	handed int
}

func (r *rig) handedOver() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handed
}

// counting counts what net/http gets.
type counting struct {
	net.Listener
	r *rig
}

func (c counting) Accept() (net.Conn, error) {
	nc, err := c.Listener.Accept()
	if err == nil {
		c.r.mu.Lock()
		c.r.handed++
		c.r.mu.Unlock()
	}
	return nc, err
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

var quiet = slog.New(slog.DiscardHandler)

func start(t testing.TB, h http.HandlerFunc, change ...func(*front.Config)) *rig {
	t.Helper()
	cfg := front.Config{Handler: h, MaxBody: 64 << 10, Log: quiet}
	for _, f := range change {
		f(&cfg)
	}
	return startOn(t, listen(t), cfg)
}

func startOn(t testing.TB, ln net.Listener, cfg front.Config) *rig {
	r := &rig{addr: ln.Addr().String(), server: front.New(cfg)}
	std := &http.Server{Handler: cfg.Handler, ErrorLog: slog.NewLogLogger(quiet.Handler(), 0)}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	wg.Go(func() { _ = std.Serve(counting{r.server.Fallback(), r}) })
	t.Cleanup(func() {
		if err := r.server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := std.Close(); err != nil {
			t.Errorf("close net/http: %v", err)
		}
		wg.Wait()
	})
	return r
}

// startStd is net/http alone.
func startStd(t testing.TB, h http.HandlerFunc) (addr string) {
	t.Helper()
	ln := listen(t)
	startStdOn(t, ln, h)
	return ln.Addr().String()
}

func startStdOn(t testing.TB, ln net.Listener, h http.HandlerFunc) {
	std := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(quiet.Handler(), 0)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = std.Serve(ln) })
	t.Cleanup(func() {
		std.Close()
		wg.Wait()
	})
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second)) // so that a failure is no hang
	return nc.(*net.TCPConn)
}

// talk sends the pieces, says that no more comes, and returns all that is
// answered.
func talk(t testing.TB, addr string, pieces ...string) string {
	t.Helper()
	nc := dial(t, addr)
	for _, p := range pieces {
		if _, err := io.WriteString(nc, p); err != nil {
			break // the server has heard enough
		}
	}
	nc.CloseWrite()
	all, _ := io.ReadAll(nc) // a reset is an end too
	nc.Close()
	return string(all)
}

// answers makes the answers on a connection comparable: what a client can tell
// of each, and how the last one ends.
func answers(raw string, methods ...string) string {
	br := bufio.NewReader(strings.NewReader(raw))
	var out strings.Builder
	for i := 0; ; i++ {
		if _, err := br.Peek(1); err != nil {
			return out.String()
		}
		method := "GET"
		if i < len(methods) {
			method = methods[i]
		}
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintf(&out, "%v\n", err)
			return out.String()
		}
		body, err := io.ReadAll(resp.Body)
		fmt.Fprintf(&out, "%s length=%d encoding=%v close=%v\n", resp.Status, resp.ContentLength, resp.TransferEncoding, resp.Close)
		if len(resp.Header["Date"]) > 0 {
			resp.Header["Date"] = []string{"some"}
		}
		writeHeader(&out, resp.Header)
		fmt.Fprintf(&out, "%s %v\n", short(body), err)
		writeHeader(&out, resp.Trailer)
	}
}

func writeHeader(w io.Writer, h http.Header) {
	var lines []string
	for name, values := range h {
		lines = append(lines, fmt.Sprintf("  %s: %q\n", name, values))
	}
	slices.Sort(lines)
	fmt.Fprint(w, strings.Join(lines, ""))
}

// echo answers with all that a handler can see of a request.
func echo(w http.ResponseWriter, r *http.Request) {
	text := seen(r)
	w.Header()["Content-Type"] = []string{"text/plain"}
	w.Header()["Content-Length"] = []string{fmt.Sprint(len(text))}
	io.WriteString(w, text)
}

func seen(r *http.Request) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %q %s %d.%d host=%q length=%d close=%v encoding=%v trailer=%v tls=%v url=%#v %q\n",
		r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, r.ContentLength, r.Close, r.TransferEncoding, r.Trailer, r.TLS, *r.URL, r.Pattern)
	writeHeader(&out, r.Header)
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(&out, "%s %v\n", short(body), err)
	return out.String()
}

// short keeps failures readable.
func short(p []byte) string {
	if len(p) > 1000 {
		return fmt.Sprintf("%d bytes, SHA-256 %x", len(p), sha256.Sum256(p))
	}
	return fmt.Sprintf("%q", p)
}

func within(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: never", what)
	}
}

func withBase(ctx context.Context) func(*front.Config) {
	return func(c *front.Config) { c.BaseContext = ctx }
}
