package cache

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

func TestDirectives(t *testing.T) {
	tests := []struct {
		control, ttl string
		want         Directives
	}{
		{"", "", plainly},
		{"no-store", "", Directives{NoStore: true, MaxAge: -1, TTL: -1}},
		{"No-Cache , only-if-cached", "", Directives{NoCache: true, OnlyIfCached: true, MaxAge: -1, TTL: -1}},
		{"max-age=60", "10", Directives{MaxAge: time.Minute, TTL: 10 * time.Second}},
		{`max-age="5", max-age=7`, "0", Directives{MaxAge: 5 * time.Second, TTL: 0}},
		{"min-fresh=5, min-fresh=x", "", Directives{MaxAge: -1, MinFresh: 5 * time.Second, TTL: -1}},
		{"max-age=0", " 1 ", Directives{MaxAge: 0, TTL: time.Second}},
		{"max-age=-1, max-age, max-age=1s, no-cachet", "1.5", plainly},
		{"max-age=99999999999999999999", "99999999999999999999", Directives{MaxAge: maxSeconds * time.Second, TTL: maxSeconds * time.Second}},
		{"public, stale-if-error=4", "-3", plainly},
	}
	for _, tt := range tests {
		h := http.Header{}
		if tt.control != "" {
			h.Set("Cache-Control", tt.control)
		}
		if tt.ttl != "" {
			h.Set("X-Vega-Cache-TTL", tt.ttl)
		}
		if got := DirectivesOf(h); got != tt.want {
			t.Errorf("%q, %q: %+v, want %+v", tt.control, tt.ttl, got, tt.want)
		}
	}
	h := http.Header{"Cache-Control": {"max-age=9", "no-cache"}}
	if got := DirectivesOf(h); got != (Directives{NoCache: true, MaxAge: 9 * time.Second, TTL: -1}) {
		t.Errorf("two lines: %+v", got)
	}
}

func TestAdmit(t *testing.T) {
	good := Ask{Answerable: true, Canonical: true}
	with := func(change func(*Ask)) Ask {
		a := good
		change(&a)
		return a
	}
	tests := []struct {
		name   string
		policy string
		ask    Ask
		d      Directives
		want   Reason
	}{
		{"all", "all", good, plainly, ""},
		{"off", "off", good, plainly, Policy},
		{"deterministic, and is not", "deterministic", good, plainly, Policy},
		{"deterministic, and is", "deterministic", with(func(a *Ask) { a.Deterministic = true }), plainly, ""},
		{"kind", "all", Ask{Canonical: true}, plainly, Kind},
		{"no-store", "all", good, Directives{NoStore: true}, NoStore},
		{"no-cache", "all", good, Directives{NoCache: true}, ""},
		{"ambiguous", "all", with(func(a *Ask) { a.Ambiguous = true }), plainly, DuplicateKeys},
		{"not canonical", "all", with(func(a *Ask) { a.Canonical = false }), plainly, DuplicateKeys},
		{"load", "all", with(func(a *Ask) { a.Load = true }), plainly, Load},
		{"stateful", "all", with(func(a *Ask) { a.Stateful = true }), plainly, Stateful},
		{"live", "all", with(func(a *Ask) { a.Live = true }), plainly, Stateful},
		{"resumable", "all", with(func(a *Ask) { a.Header = http.Header{"X-Conversation-Id": {"1"}} }), plainly, Stateful},
	}
	for _, tt := range tests {
		c := newCache(t, func(cfg *Config) { cfg.Policy = tt.policy })
		if got := c.Admit(tt.ask, tt.d); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestNeverKept holds the list of what is kept under no policy, one by one.
func TestNeverKept(t *testing.T) {
	head := func(change func(*Answer)) Answer {
		a := plainHead
		a.Header = a.Header.Clone()
		change(&a)
		return a
	}
	set := func(name, value string) Answer { return head(func(a *Answer) { a.Header.Set(name, value) }) }
	end := func(change func(*Outcome)) Outcome {
		o := whole
		change(&o)
		return o
	}
	tests := []struct {
		name   string
		policy string
		head   Answer
		end    Outcome
		want   string // among the rejections, or "" if it is kept
	}{
		{"good", "all", plainHead, whole, ""},
		{"identity", "all", set("Content-Encoding", "identity"), whole, ""},
		{"no-cache of a server", "all", set("Cache-Control", "no-cache, max-age=0"), whole, ""},
		{"created", "all", head(func(a *Answer) { a.Status = 201 }), whole, "status"},
		{"partial", "all", head(func(a *Answer) { a.Status = 206 }), whole, "status"},
		{"bad request", "all", head(func(a *Answer) { a.Status = 400 }), whole, "status"},
		{"error", "all", head(func(a *Answer) { a.Status = 500 }), whole, "status"},
		{"cut", "all", plainHead, end(func(o *Outcome) { o.Err = io.ErrUnexpectedEOF }), "incomplete"},
		{"not complete", "all", plainHead, end(func(o *Outcome) { o.Complete = false }), "incomplete"},
		{"trailers", "all", plainHead, end(func(o *Outcome) { o.Trailer = true }), "incomplete"},
		{"dropped", "all", plainHead, end(func(o *Outcome) { o.Dropped = true }), "dropped"},
		{"remote", "all", plainHead, end(func(o *Outcome) { o.Remote = true }), "remote"},
		{"filtered", "all", plainHead, end(func(o *Outcome) { o.FinishReason = "content_filter" }), "finish"},
		{"aborted", "all", plainHead, end(func(o *Outcome) { o.FinishReason = "abort" }), "finish"},
		{"failed", "all", plainHead, end(func(o *Outcome) { o.FinishReason = "error" }), "finish"},
		{"refused", "all", plainHead, end(func(o *Outcome) { o.FinishReason = "refusal" }), "finish"},
		{"paused", "all", plainHead, end(func(o *Outcome) { o.FinishReason = "pause_turn" }), "finish"},
		{"load", "all", plainHead, end(func(o *Outcome) { o.FinishReason = "load" }), "finish"},
		{"no-store of a server", "all", set("Cache-Control", "No-Store"), whole, "private"},
		{"private", "all", set("Cache-Control", `max-age=1, private="x"`), whole, "private"},
		{"cookie", "all", set("Set-Cookie", "a=b"), whole, "private"},
		{"encoded", "all", set("Content-Encoding", "gzip"), whole, "private"},
		{"length", "all", plainHead, end(func(o *Outcome) { o.FinishReason = "length" }), ""},
		{"length", "deterministic", plainHead, end(func(o *Outcome) { o.FinishReason = "length" }), "policy"},
		{"max_tokens", "deterministic", plainHead, end(func(o *Outcome) { o.FinishReason = "max_tokens" }), "policy"},
		{"tools", "deterministic", plainHead, end(func(o *Outcome) { o.FinishReason = "tool_calls" }), "policy"},
		{"tools of Ollama", "deterministic", plainHead, end(func(o *Outcome) { o.CallsTools = func([]byte) bool { return true } }), "policy"},
		{"stop", "deterministic", plainHead, end(func(o *Outcome) { o.CallsTools = func([]byte) bool { return false } }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t, func(cfg *Config) { cfg.Policy = tt.policy })
			l := c.Begin(t.Context(), query(1)).Lead
			if rec := l.Start(tt.head); rec != nil {
				rec.Append([]byte("x"))
				l.End(tt.end)
			}
			l.Close()
			s := c.Stats()
			if body, _ := look(t, c, query(1)); (body != "") != (tt.want == "") || s.Size != int64(len(body)) {
				t.Errorf("kept %q, size %d", body, s.Size)
			}
			if tt.want != "" && (s.Rejected != 1 || s.reasons[Reason(tt.want)] != 1) {
				t.Errorf("rejections %v", s.reasons)
			}
		})
	}
}

// TestRecordedNeverKept: what real servers sent and did not finish, or meant as
// something else, is not kept; what they finished is.
func TestRecordedNeverKept(t *testing.T) {
	names, err := filepath.Glob("../dialect/testdata/*/*.http")
	if err != nil || len(names) < 200 {
		t.Fatalf("%d recordings: %v", len(names), err)
	}
	kept := 0
	for _, name := range names {
		answer, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
		if err != nil {
			continue // of a HEAD
		}
		body, cut := io.ReadAll(resp.Body)
		resp.Body.Close()
		base := strings.TrimSuffix(filepath.Base(name), ".http")
		var path string
		for prefix, p := range map[string]string{"api-chat": "/api/chat", "api-generate": "/api/generate", "v1-chat": "/v1/chat/completions", "v1-completions": "/v1/completions", "v1-messages": "/v1/messages", "v1-responses": "/v1/responses"} {
			if strings.Contains(base, prefix) {
				path = p
			}
		}
		if path == "" {
			continue
		}
		framing := dialect.FramingOf(resp.Header.Get("Content-Type"))
		var m dialect.Meter
		m.Reset(dialect.RouteOf("POST", path), framing)
		if framing == dialect.FramingJSON {
			m.Whole(body)
		} else {
			m.Event(body)
			for line := range bytes.Lines(body) {
				if framing == dialect.FramingNDJSON {
					m.Event(line)
				}
			}
		}
		sum := m.Summary()
		c := newCache(t, nil)
		l := c.Begin(t.Context(), query(1)).Lead
		if rec := l.Start(Answer{Status: resp.StatusCode, Header: resp.Header, Length: resp.ContentLength}); rec != nil {
			rec.Append(body)
			l.End(Outcome{Err: cut, Complete: sum.Complete, FinishReason: sum.FinishReason})
		}
		l.Close()
		got, _ := look(t, c, query(1))
		fails := strings.HasPrefix(base, "fail-") || resp.StatusCode != 200 || strings.HasSuffix(base, "load")
		switch {
		case fails && got != "":
			t.Errorf("%s was kept", name)
		case got != "":
			kept++
			if got != string(body) {
				t.Errorf("%s was kept with other bytes", name)
			}
		}
	}
	if kept < 60 {
		t.Errorf("only %d answers were kept", kept)
	}
}

func TestReplayHeader(t *testing.T) {
	in := http.Header{
		"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache"}, "Openai-Version": {"1"}, "Access-Control-Allow-Origin": {"*"},
		"X-Hop": {"1"}, "Connection": {"x-hop, close"}, "Keep-Alive": {"timeout=5"}, "Transfer-Encoding": {"chunked"}, "Trailer": {"X"},
		"Content-Length": {"3"}, "Date": {"now"}, "Age": {"3"}, "Server-Timing": {"x"}, "X-Request-Id": {"1"}, "Request-Id": {"1"},
		"X-Ratelimit-Remaining-Tokens": {"1"}, "Anthropic-Ratelimit-Tokens-Limit": {"1"}, "Openai-Processing-Ms": {"1"}, "Alt-Svc": {"h3"},
		"Set-Cookie": {"a=b"}, "Upgrade": {"x"}, "Via": {"1.1 x"}, "X-Vega-Cache": {"HIT"},
	}
	out := replayHeader(in)
	for name := range out {
		switch name {
		case "Content-Type", "Cache-Control", "Openai-Version", "Access-Control-Allow-Origin":
		default:
			t.Errorf("%s is replayed", name)
		}
	}
	if len(out) != 4 || out.Get("Content-Type") != "text/event-stream" {
		t.Errorf("got %v", out)
	}
	in["Cache-Control"][0] = "changed"
	if out.Get("Cache-Control") != "no-cache" {
		t.Error("a value is shared with the answer")
	}
}

// TestHeads: answers share a header if its replay is the same to the letter.
func TestHeads(t *testing.T) {
	k, at := heads{}, headPlace{"up", Whole}
	first := k.replayable(at, http.Header{"Content-Type": {"a"}, "X-Two": {"1", "2"}, "Date": {"now"}})
	tests := []struct {
		name string
		h    http.Header
		same bool
	}{
		{"another date, another length", http.Header{"Content-Type": {"a"}, "X-Two": {"1", "2"}, "Date": {"later"}, "Content-Length": {"3"}}, true},
		{"another value", http.Header{"Content-Type": {"b"}, "X-Two": {"1", "2"}}, false},
		{"one value of two", http.Header{"Content-Type": {"a"}, "X-Two": {"1"}}, false},
		{"one more", http.Header{"Content-Type": {"a"}, "X-Two": {"1", "2"}, "X-More": {""}}, false},
		{"one less", http.Header{"Content-Type": {"a"}}, false},
		{"another one", http.Header{"Content-Type": {"a"}, "X-Three": {"1", "2"}}, false},
		{"one of a hop", http.Header{"Content-Type": {"a"}, "X-Two": {"1", "2"}, "Connection": {"x-two"}}, false},
	}
	for _, tt := range tests {
		k[at] = first
		got, want := k.replayable(at, tt.h), replayHeader(tt.h)
		if same := &got["Content-Type"][0] == &first["Content-Type"][0]; same != tt.same || !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: shared is %v, %v", tt.name, same, got)
		}
	}
	for i := range 3 * mostHeads {
		k.replayable(headPlace{fmt.Sprint(i), Whole}, http.Header{})
	}
	if len(k) > mostHeads {
		t.Errorf("%d are kept", len(k))
	}
}

var errBoom = errors.New("boom")
