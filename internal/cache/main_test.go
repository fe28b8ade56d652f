package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/vega-proxy/vega-proxy/internal/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settings are the defaults, with what a test changes.
func settings(change func(*Config)) Config {
	cfg := Config{Policy: "all", MaxSize: 1000, MaxBytes: 64 << 20, MaxEntryBytes: 1 << 20, TTLSeconds: 300, Coalesce: true}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

func newCache(t testing.TB, change func(*Config)) *Cache {
	t.Helper()
	c, err := New(settings(change))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// query is a question by its number.
func query(n int) Query {
	s := Subject{Endpoint: fmt.Sprint(n)}
	return Query{Key: s.Key(), Form: Stream, Model: "m", Directives: plainly}
}

// plainly are the directives of a request that has none.
var plainly = Directives{MaxAge: -1, TTL: -1}

var plainHead = Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Length: -1, Upstream: "up"}

var whole = Outcome{Complete: true, FinishReason: "stop"}

// fill has a question answered, and returns the reason of the miss and of not
// being kept.
func fill(t testing.TB, c *Cache, q Query, body string) (miss, unkept Reason) {
	t.Helper()
	turn := c.Begin(t.Context(), q)
	if turn.Lead == nil {
		t.Fatalf("not to be asked: %+v", turn)
	}
	defer turn.Lead.Close()
	c.Missed()
	rec := turn.Lead.Start(plainHead)
	rec.Append([]byte(body))
	return turn.Reason, turn.Lead.End(whole)
}

// look returns what the cache has, and leaves at once if it has nothing.
func look(t testing.TB, c *Cache, q Query) (body string, why Reason) {
	t.Helper()
	q.Directives.OnlyIfCached = true
	turn := c.Begin(t.Context(), q)
	if turn.Entry == nil {
		c.Missed()
		return "", turn.Reason
	}
	return string(turn.Entry.Body), ""
}

// client is one request, done as the cache's contract has it.
type client struct {
	c   *Cache
	ask func(ctx context.Context, rec func(Answer) *stream.Recording) (Outcome, error)
}

// result is what the client got.
type result struct {
	how  string // HIT, MISS, COALESCED
	body string
	err  error
}

func (cl *client) run(ctx context.Context, q Query) result {
	turn := cl.c.Begin(ctx, q)
	for {
		switch {
		case turn.Entry != nil:
			return result{"HIT", string(turn.Entry.Body), nil}
		case turn.Follower != nil:
			r, again := cl.follow(turn.Follower)
			if !again {
				return r
			}
			turn = turn.Follower.Again()
		default:
			return cl.lead(ctx, turn.Lead)
		}
	}
}

func (cl *client) follow(f *Follower) (r result, again bool) {
	_, reader, err := f.Answer()
	if errors.Is(err, ErrAgain) {
		return r, true
	}
	defer f.Close()
	cl.c.Coalesced()
	if err != nil {
		return result{"COALESCED", "", err}, false
	}
	body, err := io.ReadAll(reader)
	return result{"COALESCED", string(body), err}, false
}

func (cl *client) lead(ctx context.Context, l *Lead) result {
	defer l.Close()
	cl.c.Missed()
	stop := context.AfterFunc(ctx, func() { l.Leave(false) })
	defer stop()
	var rec *stream.Recording
	outcome, err := cl.ask(l.Context(), func(a Answer) *stream.Recording {
		rec = l.Start(a)
		return rec
	})
	if rec == nil {
		if err != nil {
			l.Fail(err)
		}
		return result{"MISS", "", err}
	}
	outcome.Err = err
	l.End(outcome)
	body := rec.Bytes()
	return result{"MISS", string(body), err}
}
