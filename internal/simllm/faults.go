package simllm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	textBusy    = "server busy, please try again.  maximum pending requests exceeded"
	textLoading = "Loading model"
	textBroken  = "an error was encountered while running the model: unexpected EOF"
)

// fault holds the knobs that are set for all requests.
type fault struct {
	query string // as given, without path and times
	path  string // prefix of the paths concerned
	given string
	left  *atomic.Int64 // requests still concerned; nil is all
}

// SetFault makes knobs, written as a URL query, apply to all requests that do
// not set them themselves: SetFault("fail=503&fail_rate=0.5"). Two names are
// its own: path limits it to paths with that prefix, times to so many requests.
// An empty query ends it. It is safe for concurrent use.
func (s *Server) SetFault(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("fault %q: %w", query, err)
	}
	if len(values) == 0 {
		s.fault.Store(nil)
		return nil
	}
	f := &fault{given: query, path: values.Get("path")}
	if times := values.Get("times"); times != "" {
		n, err := strconv.ParseInt(times, 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("fault times=%q: must be a whole number above 0", times)
		}
		f.left = &atomic.Int64{}
		f.left.Store(n)
	}
	values.Del("path")
	values.Del("times")
	f.query = values.Encode()
	if err := new(knobs).setQuery(f.query); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	s.fault.Store(f)
	return nil
}

// takeFault returns the server's fault if it concerns a request to path. What
// steers the server is never concerned.
func (s *Server) takeFault(path string) *fault {
	f := s.fault.Load()
	if f == nil || !strings.HasPrefix(path, f.path) {
		return nil
	}
	if f.left != nil && f.left.Add(-1) < 0 {
		return nil
	}
	return f
}

// hits spreads a share of requests evenly: at 0.25, every fourth.
func (s *Server) hits(share float64) bool {
	if share >= 1 {
		return true
	}
	n := float64(s.spread.Add(1))
	return math.Floor(n*share) > math.Floor((n-1)*share)
}

// failFirst lets a fault happen that comes before the answer. It returns nil if
// the answer goes on.
func (x *exchange) failFirst() error {
	if x.k.status != 0 {
		if x.k.status == http.StatusTooManyRequests || x.k.status == http.StatusServiceUnavailable {
			x.w.Header().Set("Retry-After", strconv.Itoa(x.k.retryAfter))
		}
		return x.fail(x.k.status, "simulated failure: "+http.StatusText(x.k.status))
	}
	switch x.k.fail {
	case failBusy:
		return x.fail(http.StatusServiceUnavailable, textBusy)
	case failLoading:
		x.k.like = likeLlama // the one server that says so
		return x.fail(http.StatusServiceUnavailable, textLoading)
	case failEmpty:
		return x.status(http.StatusOK, nil)
	case failClose:
		return x.drop(false)
	case failSlow:
		return x.slowHead()
	case failReset:
		if x.k.failAfter == 0 {
			return x.drop(true)
		}
	case failHang:
		if x.k.failAfter == 0 {
			return x.hang()
		}
	}
	return nil
}

// drop closes the connection as it is; with reset the client gets a RST. Where
// the connection is shared (HTTP/2) only the stream is broken off.
func (x *exchange) drop(reset bool) error {
	conn, _, err := x.rc.Hijack()
	if err != nil {
		return errCut
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		if err := tcp.SetLinger(0); err != nil {
			return errors.Join(errCut, err, conn.Close())
		}
	}
	conn.Close() // nobody is left to hear of an error
	return errAnswered
}

// hang waits for the client to leave. What was written is on its way already.
func (x *exchange) hang() error {
	<-x.r.Context().Done()
	return x.r.Context().Err()
}

// whole sends a body in one piece, or breaks off in its middle.
func (x *exchange) whole(body []byte) error {
	half := body[:len(body)/2]
	switch x.k.fail {
	case failEOF, failHalfEvent, failReset, failHang:
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if err := x.write(half); err != nil {
			return err
		}
		switch x.k.fail {
		case failReset:
			return x.drop(true)
		case failHang:
			return x.hang()
		}
		return errCut
	case failCleanEOF, failEmptyDelta:
		return x.status(http.StatusOK, half)
	case failErrorEvent:
		body, err := json.Marshal(x.errorObject(http.StatusInternalServerError, textBroken))
		if err != nil {
			return err
		}
		return x.status(http.StatusOK, body)
	case failBadUTF8:
		body = bytes.Replace(body, []byte(`:"`), []byte(":\"\xff\xfe"), 1)
	}
	return x.status(http.StatusOK, body)
}
