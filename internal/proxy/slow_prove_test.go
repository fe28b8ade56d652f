//go:build prove && linux

package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	slowStreams     = 9000
	descriptors     = 20_000
	mostAStream     = 48 << 10 // bytes of RSS beside the events that are held
	slowEvents      = 700
	slowPatience    = time.Minute
	slowReadOnce    = 8 << 10
	slowReadPause   = 300 * time.Millisecond
	firstTokenTries = 50
)

// Nine thousand clients that hardly read, before one process with 20,000
// descriptors: it holds a bounded amount for each, loses none of them, and has
// time for a client that is fast.
func TestProveSlowStreams(t *testing.T) {
	limit := syscall.Rlimit{Cur: descriptors, Max: descriptors}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("%d descriptors are needed: %v", descriptors, err)
	}
	var answer strings.Builder
	for i := range slowEvents {
		fmt.Fprintf(&answer, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%d %s\"}}]}\n\n", i, strings.Repeat("x", 240))
	}
	answer.WriteString(floodEnd)
	body := answer.String()
	p := startProcess(t, burstBackend(t, okSSE+chunked(body)+lastChunk))
	idle := p.firstToken(t)
	base := p.rss(t)

	dialer := smallWindows()
	read := make(chan struct{}) // closed: the clients begin to read
	var done sync.WaitGroup
	var lost atomic.Int64
	running := func() int {
		m := p.metrics(t)
		return int(m["vega_streams normal"] + m["vega_streams warning"] + m["vega_streams throttled"] + m["vega_streams blocked"])
	}
	await := func(n int) {
		t.Helper()
		for end := time.Now().Add(slowPatience); running() < n; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("only %d streams of %d run", running(), n)
			}
		}
	}
	for i := range slowStreams {
		if i%500 == 0 {
			await(i) // the system's queues of new connections are bounded
		}
		c, err := dialer.DialContext(t.Context(), "tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, chat()); err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			<-read
			if err := readSlowly(c, body); err != nil {
				if lost.Add(1) < 5 {
					t.Error(err)
				}
			}
		})
	}
	await(slowStreams)
	time.Sleep(5 * time.Second) // what is written has come to rest
	m := p.metrics(t)
	rss, held := p.rss(t), m["vega_stream_buffered_bytes"]
	each := (float64(rss-base) - held) / slowStreams
	busy := p.firstToken(t)
	t.Logf("%d streams: RSS %d MiB, %.0f MiB of it events, %.1f KiB a stream beside them", slowStreams, rss>>20, held/(1<<20), each/1024)
	t.Logf("states: %v normal, %v warning, %v throttled, %v blocked",
		m["vega_streams normal"], m["vega_streams warning"], m["vega_streams throttled"], m["vega_streams blocked"])
	t.Logf("a fast client's first token: %v beside nobody, %v beside them", idle, busy)
	if held > m["vega_stream_buffer_limit_bytes"]+slowStreams*400 {
		t.Errorf("%.0f bytes are held", held)
	}
	if each > mostAStream {
		t.Errorf("a stream takes %.0f bytes", each)
	}
	if held < slowStreams*4096 {
		t.Error("hardly anything is held: the clients are not slow")
	}
	close(read)
	done.Wait()
	if n := lost.Load(); n > 0 {
		t.Errorf("%d streams were lost", n)
	}
}

// readSlowly takes an answer at a few KiB a second and compares it.
func readSlowly(c net.Conn, want string) error {
	c.SetDeadline(time.Now().Add(slowPatience))
	br := bufio.NewReaderSize(c, 1<<10)
	if _, err := readHead(br); err != nil {
		return fmt.Errorf("no head: %w", err)
	}
	from, rest := httputil.NewChunkedReader(br), want
	piece := make([]byte, slowReadOnce)
	for {
		n, err := io.ReadFull(from, piece)
		if !strings.HasPrefix(rest, string(piece[:n])) {
			return fmt.Errorf("other bytes came after %d", len(want)-len(rest))
		}
		rest = rest[n:]
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF && rest == "":
			if rest != "" {
				return fmt.Errorf("%d bytes are missing", len(rest))
			}
			return nil
		case err != nil:
			return fmt.Errorf("after %d bytes: %w", len(want)-len(rest), err)
		}
		time.Sleep(slowReadPause)
	}
}

// burstBackend answers every request with the same bytes as fast as it can. It
// returns its URL.
func burstBackend(t *testing.T, answer string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	raw := []byte(answer)
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				c.(*net.TCPConn).SetWriteBuffer(16 << 10) // the kernel's memory is not what is measured
				br := bufio.NewReaderSize(c, 1<<10)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						return
					}
					if _, err := c.Write(raw); err != nil {
						return
					}
				}
			})
		}
	})
	return "http://" + ln.Addr().String()
}

// process is the program itself, in a process of its own.
type process struct {
	addr, admin string
	cmd         *exec.Cmd
}

func startProcess(t *testing.T, upstream string) *process {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "vega-proxy")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/vega-proxy").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	p := &process{addr: freeAddr(t), admin: freeAddr(t)}
	config := fmt.Sprintf("listen: %s\ndata_dir: %s\nadmin: {listen: %s}\nlog: {level: warn}\nbatchlog: {enabled: false}\ncache: {policy: \"off\", coalesce: false}\nstream: {write_stall_timeout: 10m}\nupstreams: [{name: default, url: %s, connect_timeout: 30s, breaker: {enabled: false}}]\n",
		p.addr, filepath.Join(dir, "data"), p.admin, upstream)
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(bin, "serve", "--config", file)
	var said bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr = &said, &said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait() // killed, as it says
		if t.Failed() {
			t.Logf("%s", said.Bytes()[:min(said.Len(), 4096)])
		}
	})
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", p.addr); err == nil {
			c.Close()
			return p
		}
		if time.Now().After(end) {
			t.Fatal("the proxy does not listen")
		}
	}
}

func freeAddr(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// firstToken is the median time from a request to the first byte of its body.
func (p *process) firstToken(t *testing.T) time.Duration {
	t.Helper()
	var took []time.Duration
	for range firstTokenTries {
		c := dial(t, p.addr)
		start := time.Now()
		c.send(chat())
		if _, err := io.ReadFull(c.body(c.head()), make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
		c.Close()
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func (p *process) rss(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmRSS in %s", status)
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64) // digits
	return n << 10
}

// metrics reads the series without labels by name, those of one label by name
// and value.
func (p *process) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	res, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	line := regexp.MustCompile(`^(\w+)(?:\{\w+="([^"]*)"\})? (\S+)$`)
	for lines.Scan() {
		if m := line.FindStringSubmatch(lines.Text()); m != nil {
			v, _ := strconv.ParseFloat(m[3], 64) // what is no number is not asked for
			got[strings.TrimSpace(m[1]+" "+m[2])] = v
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}
