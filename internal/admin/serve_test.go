package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// start runs the server on a free port; stop ends it and returns Run's error.
func start(t *testing.T, run func(context.Context, net.Listener) error) (addr string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, ln) }()
	return ln.Addr().String(), func() error {
		cancel()
		return <-ended
	}
}

// exchange writes raw bytes to addr and returns the answer.
func exchange(t *testing.T, addr, raw string) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestRunOverTheWire(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	addr, stop := start(t, f.Run)
	long := strings.Repeat("x", 2*maxHeaderBytes)
	for _, tt := range []struct {
		name, raw string
		status    int
		code      string
	}{
		{"by address", "GET /livez HTTP/1.1\r\nHost: " + addr + "\r\n\r\n", 200, ""},
		{"rebound name", "GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "host_refused"},
		{"name in the request line wins", "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 403, "host_refused"},
		{"HTTP/1.0 without Host", "GET /livez HTTP/1.0\r\n\r\n", 403, "host_refused"},
		{"empty Host", "GET /livez HTTP/1.1\r\nHost:\r\n\r\n", 403, "host_refused"},
		{"HTTP/1.1 without Host", "GET /livez HTTP/1.1\r\n\r\n", 400, ""},
		{"options for the server, foreign", "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "host_refused"},
		{"options for the server", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "not_found"},
		{"long header", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + long + "\r\n\r\n", 431, ""},
		{"body that is too long", fmt.Sprintf("PUT /admin/log-level HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s", testKey, len(long), strings.Repeat(" ", len(long))), 413, "body_too_large"},
		{"chunked body", "PUT /admin/log-level HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " + testKey + "\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"level\":\"warn\"}\r\n0\r\n\r\n", 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := exchange(t, addr, tt.raw)
			if resp.StatusCode != tt.status || (tt.code != "" && !strings.Contains(string(body), `"code":"`+tt.code+`"`)) {
				t.Errorf("got %s %s, want %d %s", resp.Status, body, tt.status, tt.code)
			}
		})
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("still listening after Run")
	}
}

// An answer under way is finished before Run returns.
func TestRunStopsGracefully(t *testing.T) {
	parts := allParts()
	asked, answer := make(chan struct{}), make(chan struct{})
	parts.Reload = func(context.Context) (Reloaded, error) {
		close(asked)
		<-answer
		return Reloaded{}, nil
	}
	f := newFixture(t, allOn(), parts)
	addr, stop := start(t, f.Run)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /admin/config/reload HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\n\r\n", testKey)
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for {
		c, err := net.Dial("tcp", addr) // until the listener is closed
		if err != nil {
			break
		}
		c.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("Run returned (%v) while an answer was under way", err)
	default:
	}
	close(answer)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body Reloaded
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != 200 {
		t.Errorf("got %s %v %v", resp.Status, body, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// pipes is a listener in memory, so that a server can run in virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// An answer that takes longer than the grace loses its context and its
// connection, and Run still waits for its handler.
func TestRunCutsOffWhatOutlastsTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost time.Duration
		handlerEnded := false
		parts := allParts()
		ctx, stop := context.WithCancel(t.Context())
		var stopped time.Time
		parts.Reload = func(ctx context.Context) (Reloaded, error) {
			<-ctx.Done()
			lost = time.Since(stopped)
			time.Sleep(time.Second)
			handlerEnded = true
			return Reloaded{}, nil
		}
		f := newFixture(t, allOn(), parts)
		ln := &pipes{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx, ln) }()
		client, server := net.Pipe()
		defer client.Close()
		ln.conns <- server
		fmt.Fprintf(client, "POST /admin/config/reload HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\n\r\n", testKey)
		synctest.Wait()

		stopped = time.Now()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if lost != stopGrace || !handlerEnded || time.Since(stopped) < stopGrace+time.Second {
			t.Errorf("context lost after %v, handler ended: %v, Run took %v", lost, handlerEnded, time.Since(stopped))
		}
		if got := f.logged.with(t, "admin answers cut off at the end"); len(got) != 1 {
			t.Errorf("%d log lines, want 1", len(got))
		}
	})
}

// A request whose body never comes holds its connection for a bounded time.
func TestRunEndsSlowBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, allOn(), allParts())
		ctx, stop := context.WithCancel(t.Context())
		ln := &pipes{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx, ln) }()
		client, server := net.Pipe()
		defer client.Close()
		ln.conns <- server
		begun := time.Now()
		fmt.Fprintf(client, "PUT /admin/log-level HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\nContent-Length: 100\r\n\r\n{", testKey)
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(begun); resp.StatusCode != 400 || took != bodyTimeout {
			t.Errorf("got %s after %v, want 400 after %v", resp.Status, took, bodyTimeout)
		}
		client.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestRunEndsWhenTheListenerFails(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := f.Run(t.Context(), ln); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("got %v, want net.ErrClosed with the address", err)
	}
}

func TestRunMetrics(t *testing.T) {
	f := newFixture(t, allOn(), allParts())
	addr, stop := start(t, f.RunMetrics)
	resp, body := exchange(t, addr, "GET /metrics HTTP/1.1\r\nHost: pod.example\r\nConnection: close\r\n\r\n")
	if resp.StatusCode != 200 || !strings.Contains(string(body), "vega_test_total 1") {
		t.Errorf("got %s %s", resp.Status, body)
	}
	if err := stop(); err != nil {
		t.Errorf("RunMetrics: %v", err)
	}
}
