package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/bench/internal/raw"
)

type server struct {
	defaults atomic.Pointer[knobs]

	requests  atomic.Int64 // all but the /__ ones
	answered  atomic.Int64 // whole responses and streams written to their end
	tokens    atomic.Int64
	bytes     atomic.Int64 // of response bodies
	cancelled atomic.Int64 // clients gone before the end
	failed    atomic.Int64 // failures by knob
	conns     atomic.Int64 // accepted
	open      atomic.Int64 // open now
	failTurn  atomic.Int64

	mu      sync.Mutex
	paths   map[string]int64
	streams []*stream // the last maxStreams, oldest first
}

func newServer(k knobs) *server {
	s := &server{paths: map[string]int64{}}
	s.defaults.Store(&k)
	return s
}

func (s *server) accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go s.serve(c.(*net.TCPConn))
	}
}

// request is one request and the connection it came on, reused for the next.
type request struct {
	*net.TCPConn
	br     *bufio.Reader
	s      *server
	k      knobs
	head   raw.Head
	rbody  raw.Body
	method string
	path   string
	query  string
	body   []byte
	out    []byte
	stream *stream
}

func (s *server) serve(c *net.TCPConn) {
	defer c.Close()
	s.conns.Add(1)
	s.open.Add(1)
	defer s.open.Add(-1)
	r := &request{TCPConn: c, br: bufio.NewReaderSize(c, 8<<10), s: s}
	for {
		if err := r.read(); err != nil {
			return
		}
		if err := r.answer(); err != nil || r.head.Close {
			return
		}
	}
}

func (r *request) read() error {
	r.k = *r.s.defaults.Load()
	var bad error
	err := raw.ReadHead(r.br, &r.head, func(name, value []byte) {
		if len(name) > 6 && raw.EqualFold(name[:6], "x-sim-") {
			if err := r.k.set(string(name[6:]), string(value)); err != nil {
				bad = err
			}
		}
	})
	if err != nil {
		return err
	}
	f := bytes.Fields(r.head.Line)
	if len(f) != 3 {
		return fmt.Errorf("bad request line %q", r.head.Line)
	}
	path, query, _ := bytes.Cut(f[1], []byte{'?'})
	r.method, r.path, r.query = intern(f[0]), intern(path), string(query)
	if r.head.Expect {
		if _, err := io.WriteString(r, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	r.rbody.Reset(r.br, &r.head, true)
	if r.body, err = r.rbody.ReadAll(r.body[:0]); err != nil {
		return err
	}
	if model := jsonString(r.body, "model"); strings.Contains(model, "?") {
		_, query, _ := strings.Cut(model, "?")
		bad = r.k.setAll(query)
	}
	if bad != nil {
		r.status(400, nil, `{"error":{"message":`+strconv.Quote(bad.Error())+`,"type":"invalid_request_error"}}`)
	}
	return bad
}

// intern avoids an allocation for the usual methods and paths.
func intern(b []byte) string {
	switch string(b) {
	case "POST":
		return "POST"
	case "GET":
		return "GET"
	case "/v1/chat/completions":
		return "/v1/chat/completions"
	case "/api/chat":
		return "/api/chat"
	}
	return string(b)
}

func (r *request) answer() error {
	if strings.HasPrefix(r.path, "/__") {
		return r.admin()
	}
	r.s.requests.Add(1)
	r.s.mu.Lock()
	r.s.paths[r.path]++
	r.s.mu.Unlock()
	r.stream = nil
	if r.k.fail != "" && r.method == "POST" && r.s.turnToFail(r.k.failRate) {
		return r.fail()
	}
	switch r.path {
	case "/v1/chat/completions":
		return r.generate(&chatCompletion, jsonBool(r.body, "stream", false))
	case "/v1/completions":
		return r.generate(&completion, jsonBool(r.body, "stream", false))
	case "/api/chat":
		return r.generate(&ollamaChat, jsonBool(r.body, "stream", true))
	case "/api/generate":
		return r.generate(&ollamaGenerate, jsonBool(r.body, "stream", true))
	case "/v1/embeddings":
		return r.timed(`{"object":"list","data":[{"object":"embedding","index":0,"embedding":` + r.vector() + `}],"model":"sim","usage":{"prompt_tokens":8,"total_tokens":8}}`)
	case "/api/embed":
		return r.timed(`{"model":"sim","embeddings":[` + r.vector() + `],"total_duration":1000000,"load_duration":1000,"prompt_eval_count":8}`)
	case "/v1/models":
		return r.json(`{"object":"list","data":[{"id":"sim","object":"model","created":1700000000,"owned_by":"llmsim"}]}`)
	case "/api/tags":
		return r.json(`{"models":[{"name":"sim:latest","model":"sim:latest","modified_at":"2025-01-01T00:00:00Z","size":1000000,"digest":"` + strings.Repeat("0", 64) + `","details":{"parent_model":"","format":"gguf","family":"sim","families":["sim"],"parameter_size":"1B","quantization_level":"Q4_0"}}]}`)
	case "/api/ps":
		return r.json(`{"models":[]}`)
	case "/api/version":
		return r.json(`{"version":"0.9.0"}`)
	case "/":
		return r.json(`"Ollama is running"`)
	case "/health":
		return r.json(`{"status":"ok"}`)
	}
	return r.status(404, nil, `{"error":{"message":"no such endpoint","type":"invalid_request_error"}}`)
}

func (r *request) vector() string {
	return "[0.0123456789" + strings.Repeat(",-0.0123456789", max(r.k.dims-1, 0)) + "]"
}

// turnToFail spreads failures evenly: of n requests, n*rate fail.
func (s *server) turnToFail(rate float64) bool {
	n := float64(s.failTurn.Add(1))
	return int64(n*rate) != int64((n-1)*rate)
}

func (r *request) fail() error {
	r.s.failed.Add(1)
	switch r.k.fail {
	case "hang":
		gone, release := r.watch()
		defer release()
		r.record()
		<-gone
		return r.cancelled()
	case "slowheaders":
		gone, release := r.watch()
		head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
		for i := range head {
			if _, err := io.WriteString(r, head[i:i+1]); err != nil || !pause(gone, r.k.slow/time.Duration(len(head))) {
				release()
				return r.cancelled()
			}
		}
		release()
		return nil
	case "reset", "eof":
		r.k.tokens = max(r.k.tokens, r.k.failAfter+1)
		f, ok := formats[r.path]
		if !ok {
			break
		}
		r.generate(f, jsonBool(r.body, "stream", f.ndjson))
		if r.k.fail == "reset" {
			r.SetLinger(0)
		}
		return errBroken
	}
	code, _ := strconv.Atoi(r.k.fail)
	if code < 400 || code > 599 {
		return r.status(400, nil, `{"error":{"message":"bad fail knob","type":"invalid_request_error"}}`)
	}
	var extra []string
	if code == 429 || code == 503 {
		extra = []string{"Retry-After: " + strconv.Itoa(r.k.retryAfter)}
	}
	if strings.HasPrefix(r.path, "/api/") {
		return r.status(code, extra, `{"error":"simulated failure"}`)
	}
	return r.status(code, extra, `{"error":{"message":"simulated failure","type":"server_error","param":null,"code":null}}`)
}

func (r *request) json(body string) error { return r.status(200, nil, body) }

// timed answers after the time to first token, unless the client leaves.
func (r *request) timed(body string) error {
	if r.k.ttft > 0 {
		gone, release := r.watch()
		r.record()
		ok := pause(gone, r.k.ttft)
		release()
		if !ok {
			return r.cancelled()
		}
		defer r.ended()
	}
	err := r.json(body)
	if err == nil {
		r.s.answered.Add(1)
	}
	return err
}

var statusText = map[int]string{200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}

func (r *request) status(code int, extra []string, body string) error {
	b := append(r.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, ' ')
	b = append(b, statusText[code]...)
	b = append(b, "\r\nServer: llmsim\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	for _, e := range extra {
		b = append(b, "\r\n"...)
		b = append(b, e...)
	}
	b = append(b, "\r\n\r\n"...)
	b = append(b, body...)
	r.out = b
	r.s.bytes.Add(int64(len(body)))
	_, err := r.Write(b)
	return err
}

// watch reports, by closing gone, that the client has closed the connection
// (or its sending half). The caller must release before reading on.
func (r *request) watch() (gone <-chan struct{}, release func()) {
	ch, joined := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(joined)
		if _, err := r.br.Peek(1); err != nil {
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
				close(ch)
			}
		}
	}()
	return ch, func() {
		r.SetReadDeadline(time.Unix(1, 0))
		<-joined
		r.SetReadDeadline(time.Time{})
	}
}

// pause waits for d and reports whether the client stayed.
func pause(gone <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		select {
		case <-gone:
			return false
		default:
			return true
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-gone:
		return false
	case <-t.C:
		return true
	}
}

func (r *request) cancelled() error {
	r.s.cancelled.Add(1)
	if r.stream != nil {
		r.stream.CancelledAt.Store(time.Now().UnixNano())
	}
	return errGone
}

type brokenError string

func (e brokenError) Error() string { return string(e) }

const (
	errGone   = brokenError("client gone")
	errBroken = brokenError("connection broken by knob")
)
