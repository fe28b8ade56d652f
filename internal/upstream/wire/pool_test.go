package wire

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const ok1 = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"

func TestReuse(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		tr := im.start(t, says(ok1))
		for i := range 5 {
			resp := fetch(t, tr, get)
			if whole(t, resp); resp.Reused != (i > 0) || (resp.ConnectTime == 0) != resp.Reused {
				t.Errorf("request %d: reused %v, connect time %v", i, resp.Reused, resp.ConnectTime)
			}
		}
		if got, want := tr.Stats(), (Stats{Open: 1, Idle: 1, Dials: 1, Reused: 4}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		tr.CloseIdle()
		until(t, "no connection is open", func() bool { return tr.Stats().Open == 0 })
		whole(t, fetch(t, tr, get))
		tr.Close()
		_, err := tr.RoundTrip(t.Context(), get)
		if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Dial || e.Sent {
			t.Errorf("after Close: %v", err)
		}
		until(t, "no connection is open", func() bool { return tr.Stats().Open == 0 })
	})
}

func TestCloseLetsExchangesEnd(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		closed := make(chan bool)
		tr := im.start(t, func(_ int, p *peer) {
			p.request()
			p.say(length10 + "hello")
			<-closed
			p.say("world")
			p.untilGone()
		})
		resp := fetch(t, tr, get)
		tr.Close()
		close(closed)
		if got := whole(t, resp); got != "helloworld" {
			t.Errorf("got %q", got)
		}
		until(t, "no connection is open", func() bool { return tr.Stats().Open == 0 })
	})
}

func TestRetire(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		ending := make(chan bool)
		tr := im.start(t, func(n int, p *peer) {
			p.request()
			if n == 0 {
				p.say(length10 + "hello")
				<-ending
				p.say("world")
			} else {
				p.say(ok1)
			}
			p.untilGone()
		})
		running := fetch(t, tr, get)
		whole(t, fetch(t, tr, get))
		tr.Retire()
		until(t, "one connection is open", func() bool { return tr.Stats().Open == 1 })
		for range 2 {
			if resp := fetch(t, tr, get); whole(t, resp) != "a" || resp.Reused {
				t.Error("a connection was kept by a transport that keeps none")
			}
		}
		close(ending)
		if got := whole(t, running); got != "helloworld" {
			t.Errorf("got %q", got)
		}
		until(t, "no connection is open", func() bool { return tr.Stats().Open == 0 })
	})
}

func TestKeepAliveIsObeyed(t *testing.T) {
	tests := []struct {
		value   string
		maxIdle time.Duration
		max     int // requests the connection may carry; 0 is no limit
	}{
		{"timeout=5", 4 * time.Second, 0},
		{"timeout=5, max=100", 4 * time.Second, 100},
		{"Timeout = 1 ,max=1", 500 * time.Millisecond, 1},
		{"timeout=0", 0, 0},
		{"timeout=1000", maxIdleAge, 0},
		{"timeout=99999999999", maxIdleAge, 0},
		{"timeout=-1, max=x, nonsense", maxIdleAge, 0},
		{"max=0", maxIdleAge, 1},
	}
	for _, test := range tests {
		c := &conn{served: 1, maxIdle: maxIdleAge}
		c.obeyKeepAlive(http.Header{"Keep-Alive": {test.value}})
		if c.maxIdle != test.maxIdle || c.maxServed != test.max {
			t.Errorf("%q: idle %v, max %d", test.value, c.maxIdle, c.maxServed)
		}
	}

	var connections atomic.Int32
	tr := h1Only.start(t, func(n int, p *peer) {
		connections.Add(1)
		says("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=2\r\nContent-Length: 0\r\n\r\n")(n, p)
	})
	for range 6 {
		fetch(t, tr, get)
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections for 6 requests of at most 2 each", n)
	}
}

// fakeConn is a connection for the pool alone.
func fakeConn(t *h1, idle time.Duration) *conn {
	t.open.Add(1)
	return &conn{t: t, nc: nopConn{}, maxIdle: idle}
}

func TestIdleConnectionsAreClosedByTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newH1(Config{URL: mustURL(t, "http://127.0.0.1"), MaxIdle: 3})
		for _, idle := range []time.Duration{90 * time.Second, 4 * time.Second, 10 * time.Second, time.Second} {
			tr.pool.put(fakeConn(tr, idle)) // the fourth finds the pool full
		}
		for _, step := range []struct {
			after time.Duration
			idle  int
		}{{0, 3}, {89 * time.Second, 3}, {2 * time.Second, 0}} {
			time.Sleep(step.after)
			synctest.Wait()
			if got := tr.Stats(); got.Idle > step.idle || got.Open != got.Idle {
				t.Errorf("%v later: %+v, want %d idle", step.after, got, step.idle)
			}
		}
		tr.pool.put(fakeConn(tr, time.Second))
		tr.pool.put(fakeConn(tr, 2*time.Second))
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if got := tr.Stats().Idle; got != 1 {
			t.Errorf("%d idle after the first was due", got)
		}
		tr.Close()
		tr.pool.put(fakeConn(tr, time.Second))
		if got := tr.Stats(); got.Open != 0 {
			t.Errorf("after Close: %+v", got)
		}
	})
}

func TestExpiredConnectionIsNotUsed(t *testing.T) {
	tr := h1Only.start(t, says(ok1))
	whole(t, fetch(t, tr, get))
	tr.(*h1).pool.idle[0].expires = time.Now().Add(-time.Second)
	if resp := fetch(t, tr, get); whole(t, resp) != "a" || resp.Reused {
		t.Error("an expired connection was used")
	}
}

func TestLastInFirstOut(t *testing.T) {
	tr := newH1(Config{URL: mustURL(t, "http://127.0.0.1"), MaxIdle: 3})
	defer tr.Close()
	var conns []*conn
	for range 3 {
		conns = append(conns, fakeConn(tr, time.Minute))
		tr.pool.put(conns[len(conns)-1])
	}
	for i := 2; i >= 0; i-- {
		if got := tr.pool.pop(); got != conns[i] {
			t.Errorf("popped another than number %d", i)
		}
	}
	if tr.pool.pop() != nil {
		t.Error("popped from an empty pool")
	}
}

func TestConcurrentUse(t *testing.T) {
	each(t, func(t *testing.T, im implementation) {
		tr := im.start(t, func(_ int, p *peer) {
			for {
				r, err := http.ReadRequest(p.br)
				if err != nil {
					return
				}
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(p.Conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
		})
		done := make(chan error)
		for i := range 8 {
			go func() {
				for j := range 100 {
					want := fmt.Sprint(i, " ", j)
					resp, err := tr.RoundTrip(t.Context(), &Request{Method: "POST", Target: "/", Body: []byte(want)})
					if err != nil {
						done <- err
						return
					}
					if got, err := io.ReadAll(resp.Body); string(got) != want || err != nil {
						done <- fmt.Errorf("got %q, %w; want %q", got, err, want)
						return
					}
				}
				done <- nil
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := tr.Stats(); got.Dials > 8+uint64(got.StaleRetries) && !im.tls {
			t.Errorf("%+v", got)
		}
	})
}
