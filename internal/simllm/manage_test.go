package simllm

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestModelsComeAndGo(t *testing.T) {
	_, ts := start(t, Config{})
	names := func(path string) []string {
		var r struct{ Models []struct{ Name string } }
		if err := json.Unmarshal([]byte(send(t, ts, "GET", path, "").body), &r); err != nil {
			t.Fatal(err)
		}
		out := []string{}
		for _, m := range r.Models {
			out = append(out, m.Name)
		}
		return out
	}
	do := func(method, path, body string, status int, part string) {
		t.Helper()
		if got := send(t, ts, method, path, body); got.status != status || !strings.Contains(got.body, part) {
			t.Errorf("%s %s %s: %d %q, want %d with %q", method, path, body, got.status, got.body, status, part)
		}
	}
	do("POST", "/api/pull", `{"model":"new?tokens=3"}`, 200, `{"status":"success"}`)
	do("POST", "/api/pull", `{"model":"other:7b","stream":false}`, 200, `{"status":"success"}`)
	do("POST", "/api/create", `{"model":"thinker","from":"demo-think"}`, 200, `{"status":"success"}`)
	do("POST", "/api/create", `{"model":"x","from":"missing"}`, 404, "not found")
	do("POST", "/api/copy", `{"source":"new","destination":"copy"}`, 200, "")
	do("DELETE", "/api/delete", `{"model":"new"}`, 200, "")
	do("DELETE", "/api/delete", `{"model":"new"}`, 404, `{"error":"model 'new' not found"}`)
	do("POST", "/api/push", `{"model":"copy:latest"}`, 200, `{"status":"success"}`)
	do("POST", "/api/push", `{"model":"new"}`, 404, "not found")
	do("POST", "/api/show", `{"name":"thinker"}`, 200, `"thinking"`)
	want := []string{"copy:latest", "demo:latest", "demo-embed:latest", "demo-think:latest", "other:7b", "thinker:latest"}
	if got := names("/api/tags"); !slices.Equal(got, want) {
		t.Errorf("installed: %v, want %v", got, want)
	}

	do("POST", "/api/generate", `{"model":"demo"}`, 200, `"done_reason":"load"`)
	do("POST", "/api/chat", `{"model":"copy","messages":[],"keep_alive":"1h"}`, 200, `"done_reason":"load"`)
	do("POST", "/api/chat", `{"model":"other:7b","messages":[],"keep_alive":-1}`, 200, `"done_reason":"load"`)
	if got := names("/api/ps"); !slices.Equal(got, []string{"copy:latest", "demo:latest", "other:7b"}) {
		t.Errorf("loaded: %v", got)
	}
	do("POST", "/api/chat", `{"model":"copy","messages":[],"keep_alive":0}`, 200, `"done_reason":"unload"`)
	do("POST", "/api/generate", `{"model":"demo","keep_alive":"0s"}`, 200, `"done_reason":"unload"`)
	if got := names("/api/ps"); !slices.Equal(got, []string{"other:7b"}) {
		t.Errorf("loaded after unloading: %v", got)
	}
}

func TestProgressEndsWithTheTotal(t *testing.T) {
	_, ts := start(t, Config{})
	got := send(t, ts, "POST", "/api/pull", `{"model":"big?tokens=4"}`)
	var last progress
	lines := 0
	for line := range strings.Lines(got.body) {
		var p progress
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(line, err)
		}
		if p.Total > 0 {
			lines++
			if p.Completed <= last.Completed || !strings.HasPrefix(p.Status, "pulling ") {
				t.Errorf("%+v after %+v", p, last)
			}
			last = p
		}
	}
	if lines != 4 || last.Completed != last.Total || got.header.Get("Content-Type") != typeNDJSON {
		t.Errorf("%d lines, the last %+v", lines, last)
	}
}

func TestRegistryIsBounded(t *testing.T) {
	_, ts := start(t, Config{})
	var got reply
	for i := range maxModels {
		got = send(t, ts, "POST", "/api/pull", `{"stream":false,"model":"m`+strings.Repeat("x", i)+`"}`)
	}
	if got.status != 500 || !strings.Contains(got.body, "too many models") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestBlobs(t *testing.T) {
	s, ts := start(t, Config{})
	blob := strings.Repeat("layer", 100_000)
	sum := sha256.Sum256([]byte(blob))
	path := "/api/blobs/sha256:" + hex.EncodeToString(sum[:])
	// What is answered unread is short: net/http closes the connection on a long
	// body, and its client may see that before the answer.
	const unread = "layer"
	for i, c := range []struct {
		method, path, body string
		status             int
	}{
		{"HEAD", path, "", 404},
		{"POST", path, blob + "!", 400},
		{"POST", path, blob, 201},
		{"HEAD", path, "", 200},
		{"POST", path, unread, 200},
		{"POST", "/api/blobs/sha256:12", unread, 400},
		{"POST", "/api/blobs/md5:" + hex.EncodeToString(sum[:]), unread, 400},
	} {
		if got := send(t, ts, c.method, c.path, c.body); got.status != c.status {
			t.Errorf("step %d, %s %.30s: %d %s, want %d", i, c.method, c.path, got.status, got.body, c.status)
		}
	}
	if got := s.Stats().Uploaded; got != int64(2*len(blob)+1) {
		t.Errorf("%d bytes counted, want %d", got, 2*len(blob)+1)
	}
}

func TestWebSocketEcho(t *testing.T) {
	s, ts := start(t, Config{})
	conn, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The key and its answer are RFC 6455's own example; the bytes after the
	// head are sent with it, before the handshake is answered.
	const head = "GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := io.WriteString(conn, head+"early"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	var answer string
	for !strings.HasSuffix(answer, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(answer, err)
		}
		answer += line
	}
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.Contains(answer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") {
		t.Errorf("handshake: %q", answer)
	}
	if _, err := io.WriteString(conn, "\x81\x05later"); err != nil {
		t.Fatal(err)
	}
	const want = "early\x81\x05later"
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Errorf("echo %q %v, want %q", b, err, want)
	}
	s.Close()
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection outlives Close")
	}
	if got := send(t, ts, "GET", "/v1/realtime", ""); got.status != 426 {
		t.Errorf("without an upgrade: %d", got.status)
	}
}

func TestForeignPagesAreTurnedAway(t *testing.T) {
	_, ts := start(t, Config{})
	for _, c := range []struct {
		head   string
		status string
	}{
		{"Host: localhost:1", "200"},
		{"Host: sim.internal", "200"},
		{"Host: evil.example", "403"},
		{"Host: localhost\r\nOrigin: http://localhost:3000", "200"},
		{"Host: localhost\r\nOrigin: app://obsidian", "200"},
		{"Host: localhost\r\nOrigin: https://evil.example", "403"},
	} {
		got, err := raw(t, ts, "GET /api/version HTTP/1.1\r\n"+c.head+"\r\nConnection: close\r\n\r\n")
		if err != nil || !strings.HasPrefix(got, "HTTP/1.1 "+c.status) {
			t.Errorf("%q: %q %v, want %s", c.head, got, err, c.status)
		}
	}
}
