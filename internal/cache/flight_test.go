package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/stream"
)

var errGone = errors.New("the client went away")

// tokens is an upstream that answers in so many events, one a millisecond, and
// stops when its context ends.
func tokens(asked *atomic.Int64, n int) func(context.Context, func(Answer) *stream.Recording) (Outcome, error) {
	return func(ctx context.Context, start func(Answer) *stream.Recording) (Outcome, error) {
		asked.Add(1)
		rec := start(plainHead)
		for i := range n {
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return Outcome{}, context.Cause(ctx)
			}
			rec.Append(fmt.Appendf(nil, "data: %d\n\n", i))
		}
		return whole, nil
	}
}

func events(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "data: %d\n\n", i)
	}
	return b.String()
}

// TestFiveHundredAtOnce: one is asked, all get the same, whenever the leader's
// client leaves.
func TestFiveHundredAtOnce(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			c := newCache(t, nil)
			var asked atomic.Int64
			cl := &client{c, tokens(&asked, 50)}
			leader, leave := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Duration(1+r.IntN(60))*time.Millisecond, func() { leave(errGone) })
			var wg sync.WaitGroup
			wg.Go(func() { cl.run(leader, query(1)) })
			synctest.Wait()
			results := make([]result, 499)
			for i := range results {
				late := time.Duration(r.IntN(2)*r.IntN(49)) * time.Millisecond
				if i == 0 {
					late = 0 // somebody is there before the leader can leave
				}
				wg.Go(func() {
					time.Sleep(late)
					results[i] = cl.run(t.Context(), query(1))
				})
			}
			wg.Wait()
			for i, got := range results {
				if got.body != events(50) || got.err != nil || got.how != "COALESCED" {
					t.Fatalf("seed %d, client %d: %+v", seed, i, got)
				}
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("seed %d: asked %d times", seed, n)
			}
			if got := cl.run(t.Context(), query(1)); got.how != "HIT" || got.body != events(50) {
				t.Errorf("seed %d: afterwards: %+v", seed, got)
			}
			if s := c.Stats(); s.Coalesced != 499 || s.Misses != 1 || s.Hits != 1 {
				t.Errorf("seed %d: stats %+v", seed, s)
			}
			if len(c.flights) != 0 || c.led != nil {
				t.Errorf("seed %d: flights are left", seed)
			}
		})
	}
}

func TestFlightEndsWithItsLastReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, nil)
		l := c.Begin(t.Context(), query(1)).Lead
		a := c.Begin(t.Context(), query(1)).Follower
		rec := l.Start(plainHead)
		b := c.Begin(t.Context(), query(1)).Follower
		rec.Append([]byte("x"))
		if !l.Shared() {
			t.Error("it is not shared")
		}
		l.Leave(false)
		l.Leave(false)
		a.Close()
		if l.Context().Err() != nil {
			t.Error("it ended while somebody reads")
		}
		b.Close()
		b.Close()
		if l.Shared() || l.Context().Err() == nil || !errors.Is(context.Cause(l.Context()), errAbandoned) {
			t.Errorf("nobody reads, and it goes on: %v", context.Cause(l.Context()))
		}
		if c.Begin(t.Context(), query(1)).Lead == nil {
			t.Error("what was abandoned was joined")
		}
		l.End(Outcome{Err: context.Cause(l.Context())})
		l.Close()

		l = c.Begin(t.Context(), query(2)).Lead
		l.Leave(true)
		f := c.Begin(t.Context(), query(2)).Follower
		f.Close()
		if l.Context().Err() != nil {
			t.Error("what was to finish alone ended")
		}
		l.Close()
	})
}

func TestContextKeepsValues(t *testing.T) {
	type name struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), name{}, "v"))
	c := newCache(t, nil)
	l := c.Begin(ctx, query(1)).Lead
	cancel()
	if l.Context().Value(name{}) != "v" || l.Context().Err() != nil {
		t.Error("the flight's context is not its own, or lost its values")
	}
	cause := errors.New("cancelled by the administrator")
	l.Cancel(cause)
	if context.Cause(l.Context()) != cause {
		t.Errorf("cause %v", context.Cause(l.Context()))
	}
	l.Close()
}

// TestFailedLeader: those who waited ask again, together and once.
func TestFailedLeader(t *testing.T) {
	status := func(code int) Answer {
		return Answer{Status: code, Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {"3"}}, Length: -1}
	}
	answers := func(a Answer, body string) func(func(Answer) *stream.Recording) (Outcome, error) {
		return func(start func(Answer) *stream.Recording) (Outcome, error) {
			if rec := start(a); rec != nil {
				rec.Append([]byte(body))
			}
			return whole, nil
		}
	}
	fails := func(func(Answer) *stream.Recording) (Outcome, error) { return Outcome{}, errBoom }
	cut := func(start func(Answer) *stream.Recording) (Outcome, error) {
		start(plainHead)
		return Outcome{}, errBoom
	}
	private := plainHead
	private.Header = http.Header{"Set-Cookie": {"a=b"}}
	tests := []struct {
		name  string
		tries []func(func(Answer) *stream.Recording) (Outcome, error)
		asked int64
		body  string // what the 20 followers get
		err   error
	}{
		{"no answer, then one", []func(func(Answer) *stream.Recording) (Outcome, error){fails, answers(plainHead, "good")}, 2, "good", nil},
		{"cut before the first byte, then one", []func(func(Answer) *stream.Recording) (Outcome, error){cut, answers(plainHead, "good")}, 2, "good", nil},
		{"5xx, then one", []func(func(Answer) *stream.Recording) (Outcome, error){answers(status(503), "busy"), answers(plainHead, "good")}, 2, "good", nil},
		{"5xx twice", []func(func(Answer) *stream.Recording) (Outcome, error){answers(status(503), "busy"), answers(status(500), "still")}, 2, "still", nil},
		{"no answer twice", []func(func(Answer) *stream.Recording) (Outcome, error){fails, fails}, 2, "", errBoom},
		{"4xx", []func(func(Answer) *stream.Recording) (Outcome, error){answers(status(429), "slow down")}, 1, "slow down", nil},
		{"private", []func(func(Answer) *stream.Recording) (Outcome, error){answers(private, "mine")}, 21, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, nil)
				var asked atomic.Int64
				cl := &client{c, func(_ context.Context, start func(Answer) *stream.Recording) (Outcome, error) {
					n := int(asked.Add(1))
					time.Sleep(10 * time.Millisecond)
					return tt.tries[min(n, len(tt.tries))-1](start)
				}}
				var wg sync.WaitGroup
				wg.Go(func() { cl.run(t.Context(), query(1)) })
				synctest.Wait()
				results := make([]result, 20)
				for i := range results {
					wg.Go(func() { results[i] = cl.run(t.Context(), query(1)) })
				}
				wg.Wait()
				if n := asked.Load(); n != tt.asked {
					t.Errorf("asked %d times, want %d", n, tt.asked)
				}
				for i, got := range results {
					if got.body != tt.body || !errors.Is(got.err, tt.err) {
						t.Errorf("client %d: %+v", i, got)
					}
				}
				if len(c.flights) != 0 || c.led != nil {
					t.Error("flights are left")
				}
				if s := c.Stats(); tt.name == "4xx" && (s.Rejected != 1 || s.Coalesced != 20 || s.Misses != 1) {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

func TestFollowersShareAnEndTheyHaveSeenTheBeginningOf(t *testing.T) {
	c := newCache(t, nil)
	l := c.Begin(t.Context(), query(1)).Lead
	early := c.Begin(t.Context(), query(1)).Follower
	late := c.Begin(t.Context(), query(1)).Follower
	rec := l.Start(plainHead)
	rec.Append([]byte("some"))
	head, reader, err := early.Answer()
	if err != nil || head.Status != 200 || head.Upstream != "up" {
		t.Fatal(head, err)
	}
	if unkept := l.End(Outcome{Err: errBoom, Broken: true}); unkept != incomplete {
		t.Errorf("kept: %q", unkept)
	}
	l.Close()
	body, err := io.ReadAll(reader)
	if string(body) != "some" || !errors.Is(err, errBoom) || !reader.Broken() {
		t.Errorf("%q, %v", body, err)
	}
	early.Close()
	if _, _, err := late.Answer(); !errors.Is(err, ErrAgain) {
		t.Fatalf("the late one: %v", err)
	}
	turn := late.Again()
	if turn.Lead == nil {
		t.Fatalf("the late one is to ask: %+v", turn)
	}
	turn.Lead.Close()
}

func TestLeaderThatSaysNothing(t *testing.T) {
	c := newCache(t, nil)
	l := c.Begin(t.Context(), query(1)).Lead
	f := c.Begin(t.Context(), query(1)).Follower
	l.Close()
	if _, _, err := f.Answer(); !errors.Is(err, ErrAgain) {
		t.Errorf("got %v", err)
	}
	l = f.Again().Lead
	f = c.Begin(t.Context(), query(1)).Follower
	rec := l.Start(plainHead)
	rec.Append([]byte("x"))
	l.Close()
	_, reader, err := f.Answer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(reader); !errors.Is(err, ErrUnended) {
		t.Errorf("got %v", err)
	}
	f.Close()
}

func TestFollowerLeaves(t *testing.T) {
	c := newCache(t, nil)
	l := c.Begin(t.Context(), query(1)).Lead
	defer l.Close()
	ctx, leave := context.WithCancelCause(t.Context())
	f := c.Begin(ctx, query(1)).Follower
	leave(errGone)
	if _, _, err := f.Answer(); !errors.Is(err, errGone) {
		t.Errorf("before the head: %v", err)
	}
	f.Close()
	l.Start(plainHead)
	f = c.Begin(ctx, query(1)).Follower
	if _, _, err := f.Answer(); !errors.Is(err, errGone) {
		t.Errorf("before the first byte: %v", err)
	}
	f.Close()
}

func TestWhatIsJoined(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.MaxEntryBytes = 10 })
	l := c.Begin(t.Context(), query(1)).Lead
	follows := func(what string, q Query, want bool) {
		t.Helper()
		turn := c.Begin(t.Context(), q)
		if (turn.Follower != nil) != want {
			t.Errorf("%s: %+v", what, turn)
		}
		if turn.Follower != nil {
			turn.Follower.Close()
		}
		if turn.Lead != nil {
			turn.Lead.Close()
		}
	}
	other := query(1)
	other.Form = Whole
	only := query(1)
	only.Directives.OnlyIfCached = true
	follows("the same", query(1), true)
	follows("another form", other, false)
	follows("another question", query(2), false)
	follows("only-if-cached", only, false)
	rec := l.Start(plainHead)
	rec.Append([]byte("0123456789"))
	follows("at the limit", query(1), true)
	rec.Append([]byte("a"))
	follows("over the limit", query(1), false)
	l.Close()

	l = c.Begin(t.Context(), query(3)).Lead
	fresh := query(3)
	fresh.Directives.NoCache = true
	newer := c.Begin(t.Context(), fresh).Lead
	if newer == nil {
		t.Fatal("no-cache joined what was begun before")
	}
	l.Start(plainHead).Append([]byte("old"))
	l.End(whole)
	l.Close()
	newer.Start(plainHead).Append([]byte("new"))
	newer.End(whole)
	newer.Close()
	if body, _ := look(t, c, query(3)); body != "new" {
		t.Errorf("kept %q", body)
	}

	off := newCache(t, func(cfg *Config) { cfg.Coalesce = false })
	l, m := off.Begin(t.Context(), query(1)).Lead, off.Begin(t.Context(), query(1)).Lead
	if m == nil {
		t.Fatal("joined though coalescing is off")
	}
	l.Start(plainHead).Append([]byte("x"))
	if unkept := l.End(whole); unkept != "" {
		t.Errorf("not kept: %q", unkept)
	}
	l.Close()
	m.Close()
}

// TestOlderFlightEndsLater: an answer begun earlier does not replace a newer one.
func TestOlderFlightEndsLater(t *testing.T) {
	c := newCache(t, nil)
	old := c.Begin(t.Context(), query(1)).Lead
	fresh := query(1)
	fresh.Directives.NoCache = true
	fill(t, c, fresh, "new")
	old.Start(plainHead).Append([]byte("old"))
	old.End(whole)
	old.Close()
	if body, _ := look(t, c, query(1)); body != "new" {
		t.Errorf("kept %q", body)
	}
}

func TestSlowReaderSetsThePaceBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, func(cfg *Config) { cfg.MaxEntryBytes = 1000 })
		l := c.Begin(t.Context(), query(1)).Lead
		f := c.Begin(t.Context(), query(1)).Follower
		rec := l.Start(plainHead)
		piece := []byte(strings.Repeat("x", 100))
		appended := make(chan int, 1)
		go func() {
			defer l.Close()
			n := 0
			for n < 10000 {
				if rec.Room(l.Context()) != nil {
					break
				}
				rec.Append(piece)
				n += len(piece)
			}
			appended <- n
			l.End(whole)
		}()
		synctest.Wait()
		if size := rec.Size(); size > 1100 {
			t.Errorf("%d bytes are there though nobody has read any", size)
		}
		_, reader, err := f.Answer()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, reader); n != 10000 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		if n := <-appended; n != 10000 {
			t.Errorf("appended %d", n)
		}
		f.Close()
		synctest.Wait()
		if s := c.Stats(); s.Size != 0 || s.reasons[TooLarge] != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestFlightsAtRandom: leaders that fail, clients that leave, clears: everybody
// who stays gets a whole answer or a failure, and nothing is left behind.
func TestFlightsAtRandom(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.MaxSize = 8 })
	var n atomic.Int64
	cl := &client{c, func(ctx context.Context, start func(Answer) *stream.Recording) (Outcome, error) {
		i := n.Add(1)
		if i%5 == 0 {
			return Outcome{}, errBoom
		}
		rec := start(plainHead)
		for k := range 20 {
			if ctx.Err() != nil || i%7 == 0 && k == 10 {
				return Outcome{}, errBoom
			}
			rec.Append(fmt.Appendf(nil, "data: %d\n\n", k))
		}
		return whole, nil
	}}
	var wg sync.WaitGroup
	for w := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(w, 9))
			for range 300 {
				ctx, cancel := context.WithCancelCause(t.Context())
				if r.IntN(3) == 0 {
					time.AfterFunc(time.Duration(r.IntN(50))*time.Microsecond, func() { cancel(errGone) })
				}
				got := cl.run(ctx, query(r.IntN(12)))
				if got.err == nil && got.body != events(20) {
					t.Errorf("%+v", got)
				}
				cancel(nil)
				if r.IntN(40) == 0 {
					c.Clear("")
				}
			}
		})
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.flights) != 0 || c.led != nil {
		t.Errorf("%d flights are left, and one led: %v", len(c.flights), c.led != nil)
	}
}

// BenchmarkFollower is what one more reader of a live stream costs, an event.
func BenchmarkFollower(b *testing.B) {
	rec := stream.NewRecording(1<<40, -1)
	event := []byte("data: " + strings.Repeat("x", 220) + "\n\n")
	d, _ := rec.Reader(b.Context())
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		rec.Append(event)
		if _, err := d.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
