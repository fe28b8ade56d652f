package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/bench/internal/raw"
)

var paths = map[string]string{
	"chat":            "/v1/chat/completions",
	"completions":     "/v1/completions",
	"embeddings":      "/v1/embeddings",
	"ollama-chat":     "/api/chat",
	"ollama-generate": "/api/generate",
}

const (
	tagOpen = "[[p:"
	tagLen  = 16
	filler  = "Summarise the following text in one sentence and say what follows from it. "
)

// template is a request's bytes, with the place of the prompt's tag.
type template struct {
	bytes []byte
	tag   int
}

func (c *config) template(stream bool) template {
	model := "sim"
	var head strings.Builder
	head.WriteString("POST " + strings.TrimSuffix(c.base.Path, "/") + paths[c.api] + " HTTP/1.1\r\nHost: " + c.base.Host +
		"\r\nUser-Agent: llmload\r\nAccept: */*\r\nContent-Type: application/json\r\n")
	knobs := c.knobs
	if stream && c.stamp {
		knobs = append(knobs[:len(knobs):len(knobs)], "stamp=true")
	}
	if c.knobVia == "model" && len(knobs) > 0 {
		model += "?" + strings.Join(knobs, "&")
	} else {
		for _, k := range knobs {
			name, value, _ := strings.Cut(k, "=")
			head.WriteString("X-Sim-" + strings.ReplaceAll(name, "_", "-") + ": " + value + "\r\n")
		}
	}
	for _, h := range c.headers {
		head.WriteString(h + "\r\n")
	}
	prompt := tagOpen + strings.Repeat("0", tagLen) + "]] "
	prompt += strings.Repeat(filler, c.promptBytes/len(filler)+1)[:max(c.promptBytes-len(prompt), 0)]
	var body string
	switch c.api {
	case "chat", "ollama-chat":
		body = `{"model":"` + model + `","messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"` + prompt + `"}],"temperature":0,`
	case "embeddings":
		body = `{"model":"` + model + `","input":"` + prompt + `",`
	default:
		body = `{"model":"` + model + `","prompt":"` + prompt + `",`
	}
	if stream && !strings.HasPrefix(c.api, "ollama") {
		body += `"stream_options":{"include_usage":true},`
	}
	body += `"stream":` + strconv.FormatBool(stream) + `}`
	head.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n")
	return template{[]byte(head.String() + body), head.Len() + strings.Index(body, tagOpen) + len(tagOpen)}
}

// clone returns a copy that one goroutine may write tags into.
func (t template) clone() template { return template{bytes.Clone(t.bytes), t.tag} }

func (t template) setTag(n uint64) []byte {
	const hex = "0123456789abcdef"
	tag := t.bytes[t.tag:][:tagLen]
	for i := len(tag) - 1; i >= 0; i-- {
		tag[i] = hex[n&15]
		n >>= 4
	}
	return tag
}

// tags are distinct in all runs: a cache must not know them from an earlier one.
var (
	tagBase = uint64(time.Now().UnixNano()) &^ (1<<28 - 1)
	tagNext atomic.Uint64
)

func newTag() uint64 { return tagBase + tagNext.Add(1) }

// client is one connection, reopened when the server closes it.
type client struct {
	addr string
	conn *net.TCPConn
	br   *bufio.Reader
	head raw.Head
	body raw.Body
	buf  []byte
}

func (c *config) client() *client {
	addr := c.base.Host
	if c.base.Port() == "" {
		addr += ":80"
	}
	return &client{addr: addr, br: bufio.NewReaderSize(nil, 16<<10), buf: make([]byte, 0, 16<<10)}
}

func (cl *client) close() {
	if cl.conn != nil {
		cl.conn.Close()
		cl.conn = nil
	}
}

// send writes a request and reads the response's head. A connection that the
// server closed while idle is replaced once.
func (cl *client) send(req []byte) error {
	for attempt := 0; ; attempt++ {
		reused := cl.conn != nil
		if !reused {
			conn, err := net.DialTimeout("tcp", cl.addr, 5*time.Second)
			if err != nil {
				return err
			}
			cl.conn = conn.(*net.TCPConn)
			cl.br.Reset(conn)
		}
		_, err := cl.conn.Write(req)
		if err == nil {
			err = raw.ReadHead(cl.br, &cl.head, nil)
		}
		if err == nil {
			cl.body.Reset(cl.br, &cl.head, false)
			return nil
		}
		cl.close()
		if !reused || attempt > 0 {
			return err
		}
	}
}

// do makes one whole exchange and checks the answer.
func (cl *client) do(t template, tag uint64) error {
	want := t.setTag(tag)
	err := cl.send(t.bytes)
	if err != nil {
		return err
	}
	cl.buf, err = cl.body.ReadAll(cl.buf[:0])
	if err != nil {
		cl.close()
		return err
	}
	if cl.head.Close {
		cl.close()
	}
	if s := cl.head.Status(); s != 200 {
		return fmt.Errorf("status %d: %.200s", s, cl.buf)
	}
	if !bytes.Contains(cl.buf, want) && !bytes.Contains(cl.buf, []byte(`"embedding"`)) {
		return fmt.Errorf("the answer lacks the prompt's tag: %.200s", cl.buf)
	}
	return nil
}

// tally collects errors from many goroutines.
type tally struct {
	n     atomic.Int64
	once  sync.Once
	first string
}

func (t *tally) add(err error) {
	t.n.Add(1)
	t.once.Do(func() { t.first = err.Error() })
}

func (t *tally) report(r *Result) { r.Errors, r.Error = t.n.Load(), t.first }

// simStream is an entry of llmsim's /__streams.
type simStream struct {
	Tokens    int64 `json:"tokens"`
	Bytes     int64 `json:"bytes"`
	Cancelled int64 `json:"cancelled_unix_ns"`
	Ended     int64 `json:"ended_unix_ns"`
}

var adminClient = &http.Client{Timeout: 5 * time.Second}

func adminGet(url string, v any) error {
	resp, err := adminClient.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// simStats is llmsim's /__stats.
type simStats struct {
	Requests int64
	CPU      time.Duration `json:"cpu_ns"`
}

func readSim(sim string) (s simStats) {
	if sim != "" {
		adminGet(sim+"/__stats", &s) // without llmsim, zero
	}
	return s
}

func simStreamByTag(sim, tag string) (s simStream, ok bool) {
	var list []simStream
	if err := adminGet(sim+"/__streams?tag="+url.QueryEscape(tag), &list); err != nil || len(list) == 0 {
		return s, false
	}
	return list[len(list)-1], true
}
