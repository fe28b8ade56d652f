package wire

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
	"github.com/vega-proxy/vega-proxy/internal/testkit/loop"
)

// awaited is the body of a streamed answer, of which play tells more as soon as it
// is awaited.
func awaited(t *testing.T, ctx context.Context, cfg func(*Config), play func(p *peer)) *body {
	t.Helper()
	return awaitedFor(t, ctx, get, cfg, play)
}

func awaitedFor(t *testing.T, ctx context.Context, r *Request, cfg func(*Config), play func(p *peer)) *body {
	t.Helper()
	handed := make(chan *body)
	c := h1Only.serve(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		b := <-handed
		until(t, "the body is awaited, or closed", func() bool {
			b.c.mu.Lock()
			defer b.c.mu.Unlock()
			return b.c.awaited != nil || b.c.closed.Load()
		})
		play(p)
	})
	c.Loop = loop.Run(t, 1)
	if cfg != nil {
		cfg(&c)
	}
	tr := New(c)
	t.Cleanup(tr.Close)
	resp, err := tr.RoundTrip(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	b := resp.Body.(*body)
	handed <- b
	return b
}

// collect is a turn that keeps what it reads.
func collect(b *body, into *[]string, more func(piece string, err error) bool) func() bool {
	p := make([]byte, 100)
	return func() bool {
		n, err := b.Read(p)
		*into = append(*into, string(p[:n]))
		return more(string(p[:n]), err)
	}
}

// Each piece is a turn, one after the other, and the owner sleeps until one says
// that it is enough.
func TestAwaitTurns(t *testing.T) {
	next := make(chan string)
	b := awaited(t, t.Context(), nil, func(p *peer) {
		for piece := range next {
			p.say(piece)
		}
		p.untilGone()
	})
	go func() { next <- "1\r\na\r\n" }()
	var got []string
	turned, err := b.Await(collect(b, &got, func(piece string, _ error) bool {
		switch piece {
		case "a":
			go func() {
				next <- "2\r" // no turn: there is nothing to read yet
				next <- "\nbb\r\n1\r\nc\r\n"
			}()
		case "bbc":
			go func() { next <- "1\r\nd\r\n" }()
		}
		return piece != "d"
	}))
	if want := []string{"a", "bbc", "d"}; !slices.Equal(got, want) || !turned || err != nil {
		t.Errorf("turns of %q, %v, %v", got, turned, err)
	}
	if b.c.awaited != nil || !b.watch.None() {
		t.Error("the loop still watches")
	}
	next <- "1\r\ne\r\n" // is nobody's turn
	if err := b.Wait(); err != nil {
		t.Fatal(err)
	}
	if turned, err := b.Await(func() bool { t.Error("a turn for what is at hand"); return false }); turned || err != nil {
		t.Errorf("with a piece at hand: %v, %v", turned, err)
	}
	close(next)
	b.Close()
}

// A body that ends in a turn lets go of its connection there, for the next
// request, which is read by the loop too.
func TestAwaitKeepsTheConnection(t *testing.T) {
	tr := implementations[2].start(t, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
	for range 20 {
		if got := whole(t, fetch(t, tr, get)); got != "ok" {
			t.Fatalf("got %q", got)
		}
	}
	if s := tr.Stats(); s.Dials != 1 || s.Idle != 1 {
		t.Errorf("%+v", s)
	}
}

// A body that ends in a turn lets go of its connection there. Its owner wakes later,
// and leaves to the next exchange what is that one's by then.
func TestAwaitEndsBeforeItsOwnerKnows(t *testing.T) {
	go1 := make(chan struct{})
	cfg := h1Only.serve(t, func(_ int, p *peer) {
		const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		p.request()
		p.say(head)
		<-go1
		p.say("0\r\n\r\n")
		p.request()
		p.say(head)
		p.untilGone()
	})
	cfg.Loop = loop.Run(t, 1)
	tr := New(cfg)
	t.Cleanup(tr.Close)
	one := fetch(t, tr, get).Body.(*body)
	c := one.c
	awaits := func(not chan struct{}) (back chan struct{}) {
		until(t, "a body is awaited", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			back = c.awaited
			return back != nil && back != not
		})
		return back
	}
	errEnough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { awaits(nil); close(go1) }()
	_, err := one.Await(func() bool {
		first := c.awaited
		if _, err := one.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the first body ends with %v", err)
		}
		go func() {
			resp, err := tr.RoundTrip(ctx, get)
			if err == nil {
				_, err = resp.Body.(*body).Await(func() bool { t.Error("a turn"); return false })
			}
			ended <- err
		}()
		awaits(first)
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	cancel(errEnough)
	select {
	case err := <-ended:
		if !errors.Is(err, errEnough) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the end of the second request's context wakes nobody")
	}
}

// A request that took more than one write is left to the loop once it has gone out.
func TestAwaitAfterALongRequest(t *testing.T) {
	long := &Request{Method: "POST", Target: "/", Body: make([]byte, 4*inlineBody)}
	b := awaitedFor(t, t.Context(), long, nil, func(p *peer) { p.say("1\r\na\r\n0\r\n\r\n") })
	until(t, "the request has gone out", func() bool { return !b.sending() })
	var got []string
	turned, err := b.Await(collect(b, &got, func(_ string, err error) bool { return err == nil }))
	if !turned || err != nil || !slices.Equal(got, []string{"a"}) || b.err != io.EOF {
		t.Errorf("turns of %q, %v, %v, then %v", got, turned, err, b.err)
	}
}

// What ends the waiting for the owner is told to it as Wait would.
func TestAwaitEnds(t *testing.T) {
	silence := func(p *peer) { p.untilGone() }
	for _, tt := range []struct {
		name  string
		cfg   func(*Config)
		play  func(p *peer)
		turns int
		check func(e *Error) bool
	}{
		{"the first byte does not come", func(c *Config) { c.FirstByteTimeout = 50 * time.Millisecond }, silence, 0,
			func(e *Error) bool { return e.Timeout == timeoutFirstByte }},
		{"the next byte does not come", func(c *Config) { c.FirstByteTimeout, c.IdleTimeout = time.Hour, 50*time.Millisecond },
			func(p *peer) { p.say("1\r\na\r\n"); p.untilGone() }, 1,
			func(e *Error) bool { return e.Timeout == timeoutIdle }},
		{"the next byte does not come, without a limit on the first", func(c *Config) { c.IdleTimeout = 50 * time.Millisecond },
			func(p *peer) { p.say("1\r\na\r\n"); p.untilGone() }, 1,
			func(e *Error) bool { return e.Timeout == timeoutIdle }},
		{"the backend closes", nil, func(p *peer) { p.say("1\r\na\r\n") }, 1,
			func(e *Error) bool { return errors.Is(e, io.ErrUnexpectedEOF) }},
		{"the backend resets", nil, func(p *peer) { p.reset() }, 0,
			func(e *Error) bool { return peerClosed(e) }},
		{"nonsense", nil, func(p *peer) { p.say("nonsense\r\n"); p.untilGone() }, 1,
			func(e *Error) bool { return e.Phase == Body && !peerClosed(e) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := awaited(t, t.Context(), tt.cfg, tt.play)
			turns := 0
			var readErr error
			_, err := b.Await(func() bool {
				turns++
				_, readErr = b.Read(make([]byte, 100))
				return readErr == nil
			})
			if err == nil {
				err = readErr
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || !tt.check(e) || turns != tt.turns {
				t.Errorf("%d turns, then %v", turns, err)
			}
			if _, again := b.Read(make([]byte, 1)); again == nil {
				t.Error("a read succeeds after that")
			}
		})
	}
}

// The end of the request's context wakes the owner.
func TestAwaitCancelled(t *testing.T) {
	errEnough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	b := awaited(t, ctx, nil, func(p *peer) { p.say("1\r\na\r\n"); p.untilGone() })
	turned, err := b.Await(func() bool {
		if _, err := b.Read(make([]byte, 10)); err != nil {
			t.Error(err)
		}
		cancel(errEnough)
		return true
	})
	if !turned || !errors.Is(err, errEnough) {
		t.Errorf("%v, %v", turned, err)
	}
	// One that has ended before is told at once.
	ctx, cancel = context.WithCancelCause(t.Context())
	b = awaited(t, ctx, nil, func(p *peer) { p.untilGone() })
	cancel(errEnough)
	if _, err := b.Await(func() bool { t.Error("a turn"); return false }); !errors.Is(err, errEnough) {
		t.Error(err)
	}
}

// What a turn throws is thrown where it was left to the loop, which goes on.
func TestAwaitPanics(t *testing.T) {
	b := awaited(t, t.Context(), nil, func(p *peer) { p.say("1\r\na\r\n"); p.untilGone() })
	func() {
		defer func() {
			if p := recover(); p != "oh" {
				t.Errorf("thrown: %v", p)
			}
		}()
		_, _ = b.Await(func() bool { panic("oh") })
	}()
	b.Close()
}

// A loop that has ended makes Await a Wait.
func TestAwaitWithoutALoop(t *testing.T) {
	more := make(chan string, 1)
	cfg := h1Only.serve(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		p.say(<-more)
		p.untilGone()
	})
	cfg.Loop = closedLoop(t)
	b := fetch(t, h1Only.open(t, cfg), get).Body.(*body)
	if b.Ready() {
		t.Fatal("ready before anything was said")
	}
	more <- "1\r\na\r\n"
	turned, err := b.Await(func() bool { t.Error("a turn"); return false })
	if turned || err != nil || !b.Ready() {
		t.Errorf("%v, %v, ready %v", turned, err, b.Ready())
	}
	b.Close()
}

func closedLoop(t *testing.T) *poll.Loop {
	loop, err := poll.New(1)
	if err == nil {
		err = loop.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return loop
}
