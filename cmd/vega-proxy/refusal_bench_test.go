package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

// BenchmarkRefusal shows what a request costs while the breaker is open, with
// everything on that is on by default, beside a handler that reads and routes the
// same body of 1 KiB, and gives the same answer. Both run in this process, on kept
// connections, a block of requests each in turn, so that whatever else the machine
// does falls on both. The client's part is included, and is the same; so are the
// proxy's parts that run by themselves.
func BenchmarkRefusal(b *testing.B) {
	body := `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", 1000) + `"}]}`
	request := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	dead.Close()
	open := dialRaw(b, running(b, "--upstream", "http://"+dead.Addr().String()))
	for range 5 {
		open.ask(b, request, http.StatusBadGateway)
	}
	handler := dialRaw(b, trivial(b, open.ask(b, request, http.StatusServiceUnavailable)))

	const block = 500
	var spent [2]time.Duration
	for b.Loop() {
		for i, c := range [...]*rawClient{open, handler} {
			start := onCPU(b)
			for range block {
				c.ask(b, request, http.StatusServiceUnavailable)
			}
			spent[i] += onCPU(b) - start
		}
	}
	each := float64(b.N) * block * 1000
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(spent[0])/each, "cpu-µs/refusal")
	b.ReportMetric(float64(spent[1])/each, "cpu-µs/trivial")
	b.ReportMetric(float64(spent[0])/float64(spent[1]), "ratio")
}

// onCPU is what this process has spent on the processor.
func onCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// running runs the program in this process until the benchmark ends.
func running(b *testing.B, args ...string) (addr string) {
	fs := serveCommand().Flags()
	err := fs.Parse(append([]string{
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", filepath.Join(b.TempDir(), "data"),
	}, args...))
	if err != nil {
		b.Fatal(err)
	}
	cfg, _, err := load(fs)
	if err != nil {
		b.Fatal(err)
	}
	return runningWith(b, cfg)
}

func runningWith(b *testing.B, cfg *config.Config) (addr string) {
	a, err := newApp(cfg, nil, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return a.frontLn.Addr().String()
}

// rawClient costs next to nothing: it looks for an answer's end, and at its status.
type rawClient struct {
	net.Conn
	buf []byte
}

func dialRaw(b *testing.B, addr string) *rawClient {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return &rawClient{Conn: conn, buf: make([]byte, 16<<10)}
}

// ask returns the whole answer, of which the length is said. It is valid until the
// next call.
func (c *rawClient) ask(b *testing.B, request string, status int) []byte {
	if _, err := io.WriteString(c, request); err != nil {
		b.Fatal(err)
	}
	for n, whole := 0, -1; ; {
		more, err := c.Read(c.buf[n:])
		if err != nil {
			b.Fatal(err)
		}
		n += more
		if end := bytes.Index(c.buf[:n], []byte("\r\n\r\n")); whole < 0 && end >= 0 {
			_, rest, _ := bytes.Cut(c.buf[:end], []byte("Content-Length: "))
			digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
			length, err := strconv.Atoi(string(digits))
			if err != nil {
				b.Fatalf("no length in %q", c.buf[:end])
			}
			whole = end + 4 + length
		}
		if n == whole {
			if got := string(c.buf[9:12]); got != strconv.Itoa(status) {
				b.Fatalf("the answer is %q, want %d", c.buf[:n], status)
			}
			return c.buf[:n]
		}
	}
}

// trivial serves a handler that does the least for such an answer.
func trivial(b *testing.B, answer []byte) (addr string) {
	answer = bytes.Clone(answer)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	head, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	header := http.Header{}
	for _, line := range strings.Split(string(head), "\r\n")[1:] {
		if name, value, _ := strings.Cut(line, ": "); name != "Date" {
			header[name] = []string{value}
		}
	}
	srv := front.New(front.Config{
		MaxBody:     64 << 10,
		BaseContext: context.Background(),
		Log:         slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			read, err := io.ReadAll(r.Body)
			route := dialect.RouteOf(r.Method, r.URL.Path)
			if err != nil || dialect.ParseRequest(route, read).Model != "m" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			h := w.Header()
			maps.Copy(h, header)
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write(body)
		}),
	})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	b.Cleanup(func() {
		if err := srv.Close(); err != nil {
			b.Error(err)
		}
		<-done
	})
	return ln.Addr().String()
}
