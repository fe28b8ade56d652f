package front

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/lifetime"
)

// exchange is what lives as long as a request, in one piece of memory.
type exchange struct {
	ctx  lifetime.Context
	body Body
	w    response
}

// request makes a plain head, which begins data, into a request without its body
// and context. The header's strings are all parts of one. It fails only if
// net/url refuses the target after all, with nothing changed but names' case.
func (h *head) request(data []byte) (http.Request, error) {
	fields := h.fields[:h.n]
	for _, f := range fields {
		canonical(f.name.of(data))
	}
	text := string(data[:h.line])
	target := text[h.target.from:h.target.to]
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return http.Request{}, err
	}
	header := make(http.Header, len(fields))
	values := make([]string, len(fields))
	host := ""
	for i, f := range fields {
		value := text[f.value.from:f.value.to]
		if i+1 == h.host {
			host = value
			continue
		}
		name := text[f.name.from:f.name.to]
		if have := header[name]; have != nil {
			header[name] = append(have, value)
			continue
		}
		values[i] = value
		header[name] = values[i : i+1 : i+1]
	}
	return http.Request{
		Method:        text[:h.method.to],
		URL:           u,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          http.NoBody,
		ContentLength: h.length,
		Close:         h.close,
		Host:          host,
		RequestURI:    target,
	}, nil
}

// request takes the request out of c.in and reads its body. It returns nil, with
// nothing taken, if it is not plain after all.
func (c *conn) request() (*http.Request, *exchange) {
	in := c.in
	r, err := in.head.request(in.data[:])
	if err != nil {
		return nil, nil
	}
	c.introduce()
	r.RemoteAddr = c.remote
	c.posted = r.Method == http.MethodPost
	x := &exchange{}
	x.ctx.Begin(c.values)
	c.begin(&x.ctx)
	x.w = response{c: c, x: x, header: c.header, isHead: r.Method == http.MethodHead, closing: r.Close}
	if r.ContentLength > 0 {
		r.Body = &x.body
		c.readBody(x, int(r.ContentLength))
	} else {
		c.keepRest(in.head.line)
		giveBackInput(in)
	}
	c.in = nil
	return r.WithContext(&x.ctx), x
}

// introduce looks up what all requests of the connection share.
func (c *conn) introduce() {
	if c.values != nil {
		return
	}
	c.values = context.WithoutCancel(c.s.base)
	if f := c.s.cfg.ConnContext; f != nil {
		c.values = f(c.values, c.nc)
	}
	if addr := c.nc.RemoteAddr(); addr != nil {
		c.remote = addr.String()
	}
	c.header = http.Header{}
}

// keepRest puts aside what came behind the request that ends at end.
func (c *conn) keepRest(end int) {
	if rest := c.in.data[end:c.in.n]; len(rest) > 0 {
		c.ahead = bytes.Clone(rest)
	}
}

// readBody reads the body whole: behind its head if there is room, else into a
// buffer of its own. The body holds the buffer from here on.
func (c *conn) readBody(x *exchange, length int) {
	in, b := c.in, &x.body
	start := in.head.line
	have := min(in.n-start, length)
	if start+length <= len(in.data) {
		b.in, b.data = in, in.data[start:start+length]
		c.keepRest(start + have)
	} else {
		b.own, b.data = true, borrowBody(length)
		copy(b.data, in.data[start:in.n])
		giveBackInput(in)
	}
	for have < length && b.err == nil {
		c.into = b.data[have:]
		if c.fill(time.Now(), c.s.cfg.BodyTimeout) {
			have += c.got
			continue
		}
		b.err = c.err
		x.w.closing = true
		if b.err == io.EOF {
			b.err = io.ErrUnexpectedEOF
		}
		if !errors.Is(b.err, os.ErrDeadlineExceeded) {
			c.gone() // rather than wait for the watcher to say so
		}
	}
	c.into = nil
	b.data = b.data[:have]
}

// keptFields is for how many fields a connection keeps the room.
const keptFields = 16

// answer has the handler answer r, and tells whether the connection is fit for
// another request.
func (c *conn) answer(r *http.Request, x *exchange) (again bool) {
	defer func() {
		if !again {
			x.w.abandon()
		}
		c.finish()
		x.body.Release()
		if len(c.header) > keptFields {
			c.header = http.Header{}
		}
		clear(c.header)
	}()
	defer c.recover(&again)
	c.s.cfg.Handler.ServeHTTP(&x.w, r)
	return x.w.finish()
}
