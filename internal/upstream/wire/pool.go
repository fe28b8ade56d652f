package wire

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pool keeps idle connections. The last one in is the first one out, so that a
// burst's surplus grows old and goes. Nothing runs while it waits: one timer
// removes what has expired.
type pool struct {
	mu     sync.Mutex
	max    int
	idle   []*conn // in order of their coming
	timer  *time.Timer
	armed  bool
	closed bool
}

// get returns a connection that can carry a request, or nil.
func (p *pool) get() *conn {
	for {
		c := p.pop()
		if c == nil {
			return nil
		}
		if time.Now().Before(c.expires) && c.alive() {
			return c
		}
		c.close()
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

// put takes c over: it is kept, or closed.
func (p *pool) put(c *conn) {
	c.expires = time.Now().Add(c.maxIdle)
	p.mu.Lock()
	if p.closed || len(p.idle) >= p.max {
		p.mu.Unlock()
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	if !p.armed {
		p.arm(c.maxIdle)
	}
	p.mu.Unlock()
}

// arm sets the timer. It is not moved when connections come and go: at worst it
// finds nothing to do.
func (p *pool) arm(after time.Duration) {
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(after, p.prune)
		return
	}
	p.timer.Reset(after)
}

// prune closes what has expired, and comes again when the next will have.
func (p *pool) prune() {
	now := time.Now()
	var expired []*conn
	p.mu.Lock()
	p.armed = false
	kept := p.idle[:0]
	next := maxIdleAge
	for _, c := range p.idle {
		if left := c.expires.Sub(now); left > 0 {
			kept = append(kept, c)
			next = min(next, left)
		} else {
			expired = append(expired, c)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	if len(kept) > 0 {
		p.arm(next)
	}
	p.mu.Unlock()
	for _, c := range expired {
		c.close()
	}
}

func (p *pool) closeIdle() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	if p.timer != nil {
		p.timer.Stop()
		p.armed = false
	}
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// retire keeps nothing from here on.
func (p *pool) retire() {
	p.mu.Lock()
	p.max = 0
	p.mu.Unlock()
	p.closeIdle()
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.closeIdle()
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// obeyKeepAlive takes over what the server says about keeping c, as in
// "timeout=5, max=100". c goes before the server's clock runs out: by a second,
// or by half of a time of less than two. Some servers count max down, others
// repeat it; both mean that many requests from its first mention on.
func (c *conn) obeyKeepAlive(h http.Header) {
	for _, line := range h["Keep-Alive"] {
		for item := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(item, "=")
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || n < 0 {
				continue
			}
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "timeout":
				t := time.Duration(min(n, 3600)) * time.Second
				c.maxIdle = min(maxIdleAge, t-min(time.Second, t/2))
			case "max":
				if c.maxServed == 0 {
					c.maxServed = max(c.served-1+n, 1)
				}
			}
		}
	}
}

// spent tells whether the server's limits leave c no further request.
func (c *conn) spent() bool {
	return c.maxIdle <= 0 || c.maxServed > 0 && c.served >= c.maxServed
}
