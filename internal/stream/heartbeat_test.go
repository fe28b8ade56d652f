package stream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func beating(t *testing.T, anyEvent bool) (*Buffer, *slowClient) {
	cfg := settings()
	cfg.HeartbeatInterval = time.Second
	c := newClient(1<<20, 1e9)
	b, _ := newWatched(t, cfg, c, nil)
	b.Heartbeat(anyEvent)
	return b, c
}

// comments waits for 3.5 intervals and returns how many comments came.
func comments(c *slowClient) int {
	before := strings.Count(c.text(), string(comment))
	time.Sleep(3500 * time.Millisecond)
	synctest.Wait()
	return strings.Count(c.text(), string(comment)) - before
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := beating(t, false)
		if n := comments(c); n != 3 {
			t.Errorf("%d comments, want 3", n)
		}
		put(b, ev("no token"))
		if n := comments(c); n < 3 {
			t.Errorf("%d comments after an event without a token, want 3 or 4", n)
		}
		// A piece of a long event: nothing may stand before its end.
		b.Put([]byte("data: a piece"), nil, false, true)
		if n := comments(c); n != 0 {
			t.Errorf("%d comments inside an event", n)
		}
		b.Put([]byte(" and the end\n\n"), []int{14}, false, true)
		if n := comments(c); n < 3 {
			t.Errorf("%d comments after the long event, want 3 or 4", n)
		}
		b.FirstToken()
		put(b, ev("token"))
		if n := comments(c); n != 0 {
			t.Errorf("%d comments after the first token", n)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(c.text(), string(comment), ""); got != ev("no token")+ev("a piece and the end")+ev("token") {
			t.Errorf("the client got %q", got)
		}
	})
}

func TestHeartbeatEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(b *Buffer, c *slowClient)
	}{
		{"with any event", func(b *Buffer, _ *slowClient) { put(b, ev("1")) }},
		{"with Close", func(b *Buffer, _ *slowClient) { b.Close() }},
		{"with the client", func(_ *Buffer, c *slowClient) { c.failAt = 1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, c := beating(t, true)
				tt.end(b, c)
				if n := comments(c); n != 0 {
					t.Errorf("%d comments", n)
				}
				b.Close()
			})
		})
	}
}

func TestHeartbeatOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(1<<20, 1e9)
		b, _ := newWatched(t, settings(), c, nil)
		b.Heartbeat(true)
		if n := comments(c); n != 0 {
			t.Errorf("%d comments", n)
		}
		b.Close()
	})
}

// A comment that is due while events are written waits for its turn; here the
// race detector looks on.
func TestHeartbeatBesideWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings()
		cfg.HeartbeatInterval = time.Millisecond
		c := newClient(40, 2000)
		b, w := newWatched(t, cfg, c, nil)
		b.Heartbeat(false)
		for range 300 {
			if err := put(b, ev("1")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(700 * time.Microsecond)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(c.text(), string(comment), ""); got != strings.Repeat(ev("1"), 300) {
			t.Errorf("%d bytes came out, not all in order", len(got))
		}
		w.settled()
	})
}
