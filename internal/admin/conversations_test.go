package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const flushPath = "/admin/performance/batch/conversation-logger/flush"

func withLog(l *fakeLog) Parts {
	parts := allParts()
	parts.Log = l
	return parts
}

func TestLogStats(t *testing.T) {
	var stats struct {
		Dropped  int
		ByReason map[string]int `json:"dropped_by_reason"`
	}
	w := newFixture(t, allOn(), allParts()).ask("GET", "/admin/performance/batch/conversation-logger/stats", "")
	read(t, w.Body.Bytes(), &stats)
	if stats.Dropped != 2 || stats.ByReason["spool_full"] != 2 {
		t.Errorf("stats: %s", w.Body)
	}
}

func TestFlush(t *testing.T) {
	const hint = "; these stay in the spool and are tried again; sink_error in GET /admin/performance/batch/conversation-logger/stats says more"
	tests := []struct {
		name               string
		flushed, remaining int
		err                error
		status             int
		message            string
	}{
		{"all went in", 7, 0, nil, 200, ""},
		{"some came meanwhile", 7, 2, nil, 200, ""},
		{"nothing waited", 0, 0, nil, 200, ""},
		{"refused half-way", 3, 17, errors.New(`bad value "a secret prompt"`), 503, "the sink refused: flushed 3, remaining 17" + hint},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, allOn(), withLog(&fakeLog{flush: func(context.Context) (int, int, error) {
				return tt.flushed, tt.remaining, tt.err
			}}))
			w := f.ask("POST", flushPath, "")
			if tt.status == 200 {
				wantBody(t, w, 200, fmt.Sprintf(`{"flushed":%d,"remaining":%d}`, tt.flushed, tt.remaining))
			} else if message := wantRefusal(t, w, tt.status, "flush_failed"); message != tt.message {
				t.Errorf("message %q, want %q", message, tt.message)
			} else if numbers := fmt.Sprintf(`"flushed":%d,"remaining":%d`, tt.flushed, tt.remaining); !strings.Contains(w.Body.String(), numbers) {
				t.Errorf("%s does not say %s", w.Body, numbers)
			}
			if got := len(f.logged.with(t, "admin change")); got != 1 {
				t.Errorf("%d audit lines, want 1", got)
			}
			if f.logged.contain("secret") {
				t.Error("what the sink quoted is in the log")
			}
		})
	}
}

// A sink that hangs is waited for so long, and the answer still gets out.
func TestFlushIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, allOn(), withLog(&fakeLog{flush: func(ctx context.Context) (int, int, error) {
			<-ctx.Done()
			return 0, 5, context.Cause(ctx)
		}}))
		ctx, stop := context.WithCancel(t.Context())
		ln := &pipes{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx, ln) }()
		client, server := net.Pipe()
		defer client.Close()
		ln.conns <- server
		begun := time.Now()
		fmt.Fprintf(client, "POST %s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\n\r\n", flushPath, testKey)
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body struct {
			Error struct{ Code, Message string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); resp.StatusCode != 503 || took != logTimeout {
			t.Errorf("got %s after %v, want 503 after %v", resp.Status, took, logTimeout)
		}
		if body.Error.Code != "flush_failed" || !strings.HasPrefix(body.Error.Message, "the sink was not done while this request waited: flushed 0, remaining 5;") {
			t.Errorf("got %+v", body.Error)
		}
		client.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestConversations(t *testing.T) {
	tests := []struct {
		name, query, next string
		asked             url.Values
		cursor            string // as JSON
	}{
		{"the latest", "", "", url.Values{}, `null`},
		{"with more behind", "?limit=1", "019a-1", url.Values{"limit": {"1"}}, `"019a-1"`},
		{"every parameter, as it came",
			"?q=two+words%26&session=s&model=m%3Alatest&since=1h&until=2025-11-02T10%3A00%3A00Z&outcome=ok&limit=nonsense&cursor=c&unknown=1&q=again", "",
			url.Values{"q": {"two words&", "again"}, "session": {"s"}, "model": {"m:latest"}, "since": {"1h"}, "until": {"2025-11-02T10:00:00Z"},
				"outcome": {"ok"}, "limit": {"nonsense"}, "cursor": {"c"}, "unknown": {"1"}}, `null`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &fakeLog{next: tt.next}
			w := newFixture(t, allOn(), withLog(log)).ask("GET", "/admin/conversations"+tt.query, "")
			var answer struct {
				Conversations []struct{ Prompt string }
				NextCursor    json.RawMessage `json:"next_cursor"`
			}
			read(t, w.Body.Bytes(), &answer)
			if w.Code != 200 || len(answer.Conversations) != 1 || answer.Conversations[0].Prompt != "a secret prompt" || string(answer.NextCursor) != tt.cursor {
				t.Errorf("got %d %s, want next_cursor %s", w.Code, w.Body, tt.cursor)
			}
			if !reflect.DeepEqual(log.asked, tt.asked) {
				t.Errorf("the log was asked %v, want %v", log.asked, tt.asked)
			}
		})
	}
}

func TestConversationsRefused(t *testing.T) {
	tests := []struct {
		name, query string
		err         error
		status      int
		code        string
		message     string
	}{
		{"a parameter is wrong", "limit=501", &BadQuery{"limit is 1 to 500"}, 400, "bad_query", "limit is 1 to 500"},
		{"and wrapped", "limit=501", fmt.Errorf("search: %w", &BadQuery{"limit is 1 to 500"}), 400, "bad_query", "limit is 1 to 500"},
		{"the sink is down", "", errors.New("connection refused"), 503, "search_failed", "the conversations could not be searched: connection refused"},
		{"a broken escape", "q=%zz", nil, 400, "bad_query", `the query cannot be read: invalid URL escape "%zz"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &fakeLog{err: tt.err}
			w := newFixture(t, allOn(), withLog(log)).ask("GET", "/admin/conversations?"+tt.query, "")
			if message := wantRefusal(t, w, tt.status, tt.code); message != tt.message {
				t.Errorf("message %q, want %q", message, tt.message)
			}
			if tt.err == nil && log.asked != nil {
				t.Error("the log was asked all the same")
			}
		})
	}
}

// slowLog searches until it may no longer.
type slowLog struct{ fakeLog }

func (*slowLog) Conversations(ctx context.Context, _ url.Values) (found any, next string, err error) {
	<-ctx.Done()
	return nil, "", ctx.Err()
}

func TestSearchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parts := allParts()
		parts.Log = &slowLog{}
		begun := time.Now()
		w := newFixture(t, allOn(), parts).ask("GET", "/admin/conversations", "")
		message := wantRefusal(t, w, 503, "search_failed")
		if want := "the search took longer than 30s; narrow it with since, until, session or model"; message != want {
			t.Errorf("message %q, want %q", message, want)
		}
		if took := time.Since(begun); took != logTimeout {
			t.Errorf("took %v, want %v", took, logTimeout)
		}
	})
}

// Neither what was searched nor what was found is in the proxy's own log.
func TestSearchesAreNotLogged(t *testing.T) {
	log := &fakeLog{}
	f := newFixture(t, allOn(), withLog(log))
	const target = "/admin/conversations?q=secret+words"
	f.ask("GET", target, "")
	f.ask("GET", target, "", noKey)
	f.ask("GET", target, "", header("Origin", "http://evil.example"))
	f.ask("POST", target, "")
	f.ask("POST", flushPath+"?q=secret", "")
	log.err = errors.New(`syntax error at "secret"`)
	f.ask("GET", target, "")
	if f.logged.contain("secret") {
		t.Error("it is")
	}
	if got := len(f.logged.with(t, "admin key refused")); got != 1 {
		t.Errorf("%d lines of refused keys, want 1: the test sees no log", got)
	}
}
