package front_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

// FuzzStream: whatever bytes come, cut anywhere, the handlers behind a front see
// what they would see behind net/http alone, and clients get as many answers.
func FuzzStream(f *testing.F) {
	for _, raw := range []string{
		get, get + get + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + get,
		get + "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get,
		get + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n" + get,
		"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", get + "\r\n" + get, get + "0",
		"POST / HTTP/1.1\r\nHost: a\r\n\r\n\r\n" + get,
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + get,
		"GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
	} {
		f.Add([]byte(raw), len(raw)/2)
	}
	// Sockets with ports would run out of them.
	ours, theirs := filepath.Join(f.TempDir(), "s"), filepath.Join(f.TempDir(), "s")
	startOn(f, listenAt(f, ours), front.Config{Handler: http.HandlerFunc(echo), MaxBody: 1 << 10, Log: quiet})
	startStdOn(f, listenAt(f, theirs), echo)
	f.Fuzz(func(t *testing.T, raw []byte, split int) {
		if bytes.Contains(bytes.ToLower(raw), []byte("expect")) || len(raw) > 64<<10 {
			return // net/http answers to it in its own time
		}
		split = max(0, min(split, len(raw)))
		want := answersTo(t, theirs, raw, split)
		if got := answersTo(t, ours, raw, split); got != want {
			t.Errorf("front answers\n%s\nnet/http answers\n%s", got, want)
		}
	})
}

func listenAt(t testing.TB, path string) net.Listener {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// answersTo sends raw in two pieces and returns the answers' statuses and bodies.
func answersTo(t *testing.T, path string, raw []byte, split int) string {
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	nc.Write(raw[:split])
	if split < len(raw) { // with a chance for the first piece to be read alone
		time.Sleep(50 * time.Microsecond)
		nc.Write(raw[split:])
	}
	nc.(*net.UnixConn).CloseWrite()
	all, err := io.ReadAll(nc)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("no end, after %q", all)
	}
	br := bufio.NewReader(bytes.NewReader(all))
	var out strings.Builder
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return out.String()
		}
		if resp.ContentLength > int64(br.Buffered()) {
			resp.Body = http.NoBody // it is the answer to HEAD
		}
		body, err := io.ReadAll(resp.Body)
		fmt.Fprintf(&out, "%s %q %v\n", resp.Status, body, err)
	}
}
