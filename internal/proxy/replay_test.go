package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// recording is one answer of a real server, as its bytes were on the wire, with
// the request that it was given to.
type recording struct {
	name         string
	method, path string
	fields       map[string]string
	body         string
	head         string   // of the answer
	pieces       []string // of the answer's body: chunks, or all of it
	decoded      []string // the same without the framing
	cut          bool     // the body has no end
}

func readRecording(t *testing.T, name string) recording {
	t.Helper()
	var asked struct {
		Method, Path string
		Headers      map[string]string
		Body         json.RawMessage
	}
	raw, err := os.ReadFile(name + ".request.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &asked); err != nil {
		t.Fatal(err)
	}
	r := recording{name: name, method: asked.Method, path: asked.Path, fields: asked.Headers, body: string(asked.Body)}
	var text string // a body that is a string was sent as it is
	if json.Unmarshal(asked.Body, &text) == nil {
		r.body = text
	}
	answer, err := os.ReadFile(name + ".http")
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s: no end of the head", name)
	}
	r.head = string(head) + "\r\n\r\n"
	if !strings.Contains(r.head, "Transfer-Encoding: chunked") {
		r.pieces, r.decoded = []string{string(body)}, []string{string(body)}
		return r
	}
	r.cut = true
	for rest := string(body); rest != ""; {
		size, after, ok := strings.Cut(rest, "\r\n")
		n, err := strconv.ParseInt(size, 16, 64)
		if !ok || err != nil {
			t.Fatalf("%s: chunk size %q", name, size)
		}
		end := len(size) + 2 + int(n) + 2
		if n == 0 {
			r.cut = false
		}
		if end > len(rest) {
			r.pieces, r.decoded = append(r.pieces, rest), append(r.decoded, after)
			break
		}
		r.pieces, r.decoded = append(r.pieces, rest[:end]), append(r.decoded, after[:n])
		rest = rest[end:]
	}
	return r
}

// whole is how much of the decoded body may have reached the client: all of it,
// or, where there are events, up to the end of the last one.
func (r recording) whole(body string) int {
	switch {
	case strings.Contains(r.head, "text/event-stream"):
		if i := strings.LastIndex(body, "\n\n"); i >= 0 {
			return i + 2
		}
		return 0
	case strings.Contains(r.head, "application/x-ndjson"):
		return strings.LastIndexByte(body, '\n') + 1
	}
	return len(body)
}

func (r recording) request() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", r.method, r.path)
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, r.fields[name])
	}
	if r.body != "" && r.body != "null" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
		return b.String()
	}
	return b.String() + "\r\n"
}

// endToEnd is a head's fields without those of the hop and those that a proxy
// adds.
func endToEnd(head string) map[string][]string {
	fields := map[string][]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(head), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		name = http.CanonicalHeaderKey(name)
		switch {
		case strings.HasPrefix(line, "HTTP/"), strings.HasPrefix(name, "X-Vega-"):
		case name == "Via", name == "Connection", name == "Keep-Alive", name == "Transfer-Encoding":
		default:
			fields[name] = append(fields[name], strings.TrimSpace(value))
		}
	}
	return fields
}

// Everything that real servers were recorded to say reaches the client as it
// is, and each event before the server sends the next.
func TestReplay(t *testing.T) {
	names, err := filepath.Glob("../dialect/testdata/*/*.http")
	if err != nil || len(names) < 250 {
		t.Fatalf("%d recordings found (%v), want all of them", len(names), err)
	}
	b := newBackend(t)
	r := start(t, func(cfg *config.Config) {
		cfg.Upstreams[0].Breaker.Enabled = false
		cfg.Retry.MaxAttempts = 1
	}, b)
	cuts := 0
	for _, name := range names {
		name = strings.TrimSuffix(name, ".http")
		rec := readRecording(t, name)
		if rec.cut {
			cuts++
		}
		t.Run(strings.TrimPrefix(name, "../dialect/testdata/"), func(t *testing.T) {
			replay(t, r, b, rec)
		})
	}
	if cuts == 0 {
		t.Error("no recording of a cut answer")
	}
}

func replay(t *testing.T, r *rig, b *backend, rec recording) {
	c := dial(t, r.addr)
	defer c.Close()
	c.send(rec.request())
	p, got := b.asked()
	defer p.Close()
	if want := rec.method + " " + rec.path + " HTTP/1.1"; got.line != want {
		t.Errorf("request line %q, want %q", got.line, want)
	}
	if rec.body != "null" && got.body != rec.body {
		t.Errorf("the backend got the body %q, want %q", got.body, rec.body)
	}
	p.say(rec.head)
	var a answer
	var body io.Reader
	sent, seen := "", 0
	for i, piece := range rec.pieces {
		p.say(piece)
		sent += rec.decoded[i]
		if body == nil {
			a = c.head()
			body = c.body(a)
		}
		if n := rec.whole(sent); n > seen && rec.method != http.MethodHead {
			expect(t, body, sent[seen:n])
			seen = n
		}
	}
	p.Close()
	if want := strings.Fields(rec.head)[1]; strconv.Itoa(a.status) != want {
		t.Errorf("status %d, want %s", a.status, want)
	}
	if got, want := endToEnd(a.raw), endToEnd(rec.head); !reflect.DeepEqual(got, want) {
		t.Errorf("fields %q\nwant %q", got, want)
	}
	wantVia(t, a.header, "1.1 ")
	if a.header.Get("X-Vega-Upstream") != "first" || a.header.Get("X-Vega-Request-Id") == "" || a.header.Get("X-Vega-Cache") != "BYPASS" {
		t.Errorf("the proxy's own fields are not as they must be: %q", a.header)
	}
	if rec.method == http.MethodHead {
		return
	}
	rest, err := io.ReadAll(body)
	if !rec.cut {
		if string(rest) != sent[seen:] || err != nil {
			t.Errorf("the body ends with %q (%v), want %q and a clean end", rest, err, sent[seen:])
		}
		return
	}
	if err == nil {
		t.Errorf("a cut answer ends cleanly")
	}
	if !onlyErrorEvent(string(rest)) {
		t.Errorf("after the whole events came %q, want nothing but an error event", rest)
	}
}

// onlyErrorEvent tells whether s is one event of ours and no more.
func onlyErrorEvent(s string) bool {
	data := strings.TrimPrefix(s, "data: ")
	var event map[string]any
	return strings.HasSuffix(s, "\n") && json.Unmarshal([]byte(data), &event) == nil && len(event) == 1 && event["error"] != nil
}
