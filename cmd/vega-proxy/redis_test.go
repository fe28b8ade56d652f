package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a throwaway server that keeps nothing on disk.
type redisServer struct {
	t    testing.TB
	port int
	args []string

	process *exec.Cmd
	ended   chan struct{}
	client  *redis.Client
}

// newRedis starts one that ends with the test.
func newRedis(t *testing.T, args ...string) *redisServer {
	t.Helper()
	s := &redisServer{t: t, port: freePort(t), args: args}
	s.start()
	t.Cleanup(s.kill)
	s.client = redis.NewClient(&redis.Options{Addr: s.address(), DisableIdentity: true})
	t.Cleanup(func() { s.client.Close() })
	return s
}

// newTLSRedis starts one that speaks TLS only, and has a certificate for localhost.
func newTLSRedis(t *testing.T, certFile, keyFile string) *redisServer {
	t.Helper()
	s := &redisServer{t: t, port: freePort(t)}
	s.args = []string{"--port", "0", "--tls-port", strconv.Itoa(s.port), "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile, "--tls-auth-clients", "no"}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	return free.Addr().(*net.TCPAddr).Port
}

func (s *redisServer) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// start returns when the server takes connections. Again, it begins empty.
func (s *redisServer) start() {
	s.t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if program, err = exec.LookPath("valkey-server"); err != nil {
			s.t.Fatal("this test needs Redis: scripts/test-deps.sh redis-server installs it")
		}
	}
	cmd := exec.Command(program, append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir(),
	}, s.args...)...)
	said := newText()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.process, s.ended = cmd, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = cmd.Wait() // it was killed
	}()
	if _, ok := said.line(s.ended, "Ready to accept connections"); !ok {
		s.t.Fatalf("Redis did not start:\n%s", said)
	}
}

func (s *redisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *redisServer) kill() {
	_ = s.process.Process.Kill() // it may have ended
	<-s.ended
}

// relay passes connections on to an address, until it is cut, and with a delay if
// it has one.
type relay struct {
	ln    net.Listener
	to    string
	delay atomic.Int64 // as a time.Duration

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, to: to, conns: map[net.Conn]struct{}{}}
	r.wg.Go(r.serve)
	t.Cleanup(func() {
		ln.Close()
		r.cut(true)
		r.wg.Wait()
	})
	return r
}

func (r *relay) serve() {
	for {
		client, err := r.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.to)
		r.mu.Lock()
		if err != nil || r.down {
			client.Close()
			if err == nil {
				server.Close()
			}
			r.mu.Unlock()
			continue
		}
		r.conns[client], r.conns[server] = struct{}{}, struct{}{}
		r.mu.Unlock()
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			r.wg.Go(func() {
				for buf := make([]byte, 64<<10); ; {
					n, err := way[1].Read(buf)
					time.Sleep(time.Duration(r.delay.Load()))
					if _, werr := way[0].Write(buf[:n]); err != nil || werr != nil {
						break
					}
				}
				way[0].Close()
				way[1].Close()
			})
		}
	}
}

// cut ends all connections and takes no more, or does so again.
func (r *relay) cut(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
	for c := range r.conns {
		c.Close()
	}
	clear(r.conns)
}

// numbering starts a backend that gives each answer a number, so that no two are
// equal, and counts them.
func numbering(t *testing.T) (url string, answered *atomic.Int64) {
	answered = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasPrefix(r.URL.Path, "/api/") {
			io.WriteString(w, `{"status":"success"}`)
			return
		}
		if r.Header.Get("X-Fail") != "" {
			http.Error(w, `{"error":{"message":"broken"}}`, http.StatusInternalServerError)
			return
		}
		n := answered.Add(1)
		if strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "%s%s", strings.ReplaceAll(firstEvent, "first", fmt.Sprint("answer ", n)), lastEvents)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Backend", "yes")
		fmt.Fprintf(w, `{"id":"%d","object":"chat.completion","created":1,"model":"demo","choices":[{"index":0,"message":{"role":"assistant","content":"answer %d"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`, n, n)
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL, answered
}

// replica is a proxy with a second cache tier.
type replica struct {
	*process
	c *http.Client
}

// patient is a timeout under which no loaded machine loses a lookup.
const patient = "2s"

func newReplica(t *testing.T, backend, url, timeout string, env ...string) *replica {
	t.Helper()
	r := &replica{serveIn(t, t.TempDir(), env, upstreamAt(backend)+"cache: {stale_if_error: 0s, l2: {url: '"+url+"', timeout: "+timeout+"}}\n"), newClient(t)}
	return r
}

// ask asks a question by its name, and returns the answer and what the cache said.
func (r *replica) ask(question string, headers ...string) (answer, status string) {
	r.t.Helper()
	got := do(r.t, r.c, http.MethodPost, r.proxy+chatPath, strings.Replace(chat, "the sea", question, 1), headers...)
	got.want(r.t, http.StatusOK, "")
	return got.body, got.header.Get("X-Vega-Cache")
}

func (r *replica) want(question, status string, headers ...string) (answer string) {
	r.t.Helper()
	answer, got := r.ask(question, headers...)
	if got != status {
		r.t.Errorf("%q is a %s, want %s", question, got, status)
	}
	return answer
}

// sharedStats is the account of the second tier.
type sharedStats struct {
	State         string `json:"state"`
	Synced        bool   `json:"synced"`
	Hits          int    `json:"hits"`
	Misses        int    `json:"misses"`
	Errors        int    `json:"errors"`
	Invalid       int    `json:"invalid"`
	Writes        int    `json:"writes"`
	DroppedWrites *int   `json:"dropped_writes"`
	HeardClears   int    `json:"heard_clears"`
	PendingClears int    `json:"pending_clears"`
	LastError     string `json:"last_error"`
}

func (r *replica) l2() sharedStats {
	r.t.Helper()
	got := do(r.t, r.c, http.MethodGet, r.admin+"/admin/performance/cache/stats", "", "X-API-Key", r.key())
	var s struct{ L2 *sharedStats }
	if err := json.Unmarshal([]byte(got.body), &s); err != nil || s.L2 == nil || s.L2.DroppedWrites == nil {
		r.t.Fatalf("stats: %v\n%s", err, got.body)
	}
	return *s.L2
}

// ready waits until the second tier is used.
func (r *replica) ready() *replica {
	r.t.Helper()
	until(r.t, "the second tier is used", func() bool { s := r.l2(); return s.Synced && s.State == "closed" })
	return r
}

// written waits until so many answers are in the second tier.
func (r *replica) written(n int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d answers are in the second tier", n), func() bool { return r.l2().Writes >= n })
}

func (r *replica) clear(model string) {
	r.t.Helper()
	got := do(r.t, r.c, http.MethodPost, r.admin+"/admin/performance/cache/clear?model="+model, "", "X-API-Key", r.key())
	got.want(r.t, http.StatusOK, "")
}

// heard waits until so many clears of others were done.
func (r *replica) heard(n int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d clears are done", n), func() bool { return r.l2().HeardClears >= n })
}

// health returns the component of the second tier.
func (r *replica) health() (status string, reasons []string) {
	r.t.Helper()
	got := do(r.t, r.c, http.MethodGet, r.admin+"/admin/performance/health/comprehensive", "", "X-API-Key", r.key())
	var all struct {
		Components []struct {
			Name, Status string
			Reasons      []string
		}
	}
	if err := json.Unmarshal([]byte(got.body), &all); err != nil {
		r.t.Fatal(err)
	}
	for _, c := range all.Components {
		if c.Name == "cache_l2" {
			return c.Status, c.Reasons
		}
	}
	r.t.Fatalf("no component cache_l2 in %s", got.body)
	return "", nil
}

// values returns the names of all values.
func (s *redisServer) values() []string {
	s.t.Helper()
	names, err := s.client.Keys(context.Background(), "vega:1:*:*").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

func (s *redisServer) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// elapsed is how long something takes.
func elapsed(what func()) time.Duration {
	start := time.Now()
	what()
	return time.Since(start)
}
