package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// upgradeOf is the protocol that a request asks to change to, or "".
func upgradeOf(h http.Header) string {
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(textproto.TrimString(token), "upgrade") {
				return h.Get("Upgrade")
			}
		}
	}
	return ""
}

// upgrade joins the client's connection to the upstream's, which speak another
// protocol from here on, until one side ends or both are silent for the
// upstream's idle timeout.
func (x *exchange) upgrade() (abort bool) {
	a := x.answer
	protocol := a.Header.Get("Upgrade")
	x.inbound(a.Header)
	h := x.w.Header()
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	x.report.status = a.Status
	if x.strict != nil {
		x.strict.off.Store(true)
	}
	x.w.WriteHeader(http.StatusSwitchingProtocols)
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		x.report.err = err
		x.report.code, x.report.ended = upstream.Broke, byError
		return true
	}
	defer client.Close()
	up, ok := a.Response.Body.(io.ReadWriteCloser)
	if !ok {
		x.report.err = errors.New("the transport gave no connection for an upgrade")
		x.report.code, x.report.ended = upstream.Broke, byError
		return false
	}
	// The end of the exchange, whoever brings it about, ends both directions.
	defer context.AfterFunc(x.ctx, func() { client.Close() })()
	t := &tunnel{idle: a.Upstream.Config().IdleTimeout}
	var wg sync.WaitGroup
	wg.Go(func() {
		t.copy(up, io.MultiReader(io.LimitReader(buffered, int64(buffered.Reader.Buffered())), client), &t.in)
		halfClose(up)
	})
	wg.Go(func() {
		t.copy(client, up, &t.out)
		halfClose(client)
	})
	idle := t.watch(func() {
		client.Close()
		up.Close()
	})
	wg.Wait()
	idle()
	x.report.bytesRead, x.report.bytesOut = t.out.Load(), t.out.Load()
	x.report.ended = byUpstream
	if x.ctx.Err() != nil {
		no := x.explain(context.Cause(x.ctx))
		x.report.code, x.report.ended = no.code, endedBy(no.code)
	}
	a.End(resilience.Neutral, "")
	return false
}

// tunnel carries the bytes of an upgraded connection both ways.
type tunnel struct {
	idle    time.Duration // 0 is off
	in, out atomic.Int64  // bytes from and to the client
}

func (t *tunnel) copy(dst io.Writer, src io.Reader, count *atomic.Int64) {
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			count.Add(int64(n))
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// watch calls end after a whole idle time in which nothing moved. The func it
// returns stops it.
func (t *tunnel) watch(end func()) (stop func()) {
	if t.idle <= 0 {
		return func() {}
	}
	var mu sync.Mutex
	var timer *time.Timer
	seen := int64(0)
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(t.idle, func() {
		mu.Lock()
		defer mu.Unlock()
		if now := t.in.Load() + t.out.Load(); now != seen {
			seen = now
			timer.Reset(t.idle)
			return
		}
		end()
	})
	return func() { timer.Stop() }
}

// halfClose says that no more comes, where the connection can say it.
func halfClose(c any) {
	switch c := c.(type) {
	case interface{ CloseWrite() error }:
		_ = c.CloseWrite() // the other side may be gone already
	case net.Conn:
		_ = c.Close()
	case io.Closer:
		_ = c.Close()
	}
}
