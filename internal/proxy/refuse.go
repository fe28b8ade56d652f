package proxy

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// clientGone stands for the answer that nobody was there to get.
const clientGone Code = "client_gone"

// explain turns the failure to get an answer into ours.
func (x *exchange) explain(err error) *refusal {
	x.report.err = err
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		if x.asking.Load() != nil { // else they are another exchange's
			x.report.attempts = e.Attempts
		}
		return &refusal{code: e.Code, message: e.Message, retryAfter: e.RetryAfter}
	}
	switch {
	case errors.Is(err, errDraining):
		return &refusal{code: shuttingDown, close: true, retryAfter: time.Second, message: "this proxy is shutting down"}
	case ours(err):
		return &refusal{code: internalError, message: "the request that this one shared an answer with failed in the proxy"}
	case errors.Is(err, errCancelled):
		return &refusal{code: cancelled, message: "the administrator cancelled this request"}
	}
	if broke := x.bodyErr.Load(); broke != nil {
		return x.bodyFailed(*broke)
	}
	return &refusal{code: clientGone, close: true, message: "the client went away"}
}

// refuse answers in the proxy's own name, in the shape of the dialect.
func (x *exchange) refuse(no *refusal) (abort bool) {
	x.report.code = no.code
	if x.report.err == nil {
		x.report.err = no
	}
	x.report.ended = endedBy(no.code)
	x.report.refused = x.report.ended == byError && no.code != upstream.Broke && no.code != upstream.Unreachable && no.code != internalError
	if no.code == clientGone {
		x.report.status = statusClientGone
		x.count()
		return true
	}
	if x.servedBy() == "" && no.code != notCached { // nobody was asked: the cache has no part in that
		x.caching.status = cacheBypass
	}
	status := statuses[no.code]
	h := x.w.Header()
	x.mark(h)
	own := x.s.errorAnswer(x.route.Dialect, status, no)
	h[headerError] = own.code
	if own.retry != nil {
		h["Retry-After"] = own.retry
	}
	if no.code == unauthorized {
		h["Www-Authenticate"] = []string{"Bearer"}
	}
	if no.close {
		h["Connection"] = []string{"close"}
	}
	h["Content-Type"] = jsonType
	h["Content-Length"] = own.length
	x.report.status = status
	x.rest()
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return false
	}
	n, err := x.w.Write(own.body)
	x.report.bytesOut = int64(n)
	return err != nil
}

var jsonType = []string{"application/json"}

// errorAnswer is an answer of the proxy's own. It is not changed once made, and
// shared by equal refusals.
type errorAnswer struct {
	dialect             dialect.Dialect
	message             string
	after               int      // seconds
	code, length, retry []string // as header values; retry may be nil
	body                []byte
}

// errorAnswer words a refusal, or takes the one before if it was the same: during
// an outage they all are.
func (s *Server) errorAnswer(d dialect.Dialect, status int, no *refusal) *errorAnswer {
	after := int(math.Ceil(no.retryAfter.Seconds()))
	last := s.lastError.Load()
	if last != nil && last.dialect == d && last.message == no.message && last.after == after && last.code[0] == string(no.code) {
		return last
	}
	body := dialect.ErrorBody(d, status, string(no.code), no.message)
	a := &errorAnswer{dialect: d, message: no.message, after: after, code: []string{string(no.code)}, length: []string{strconv.Itoa(len(body))}, body: body}
	if after > 0 {
		a.retry = []string{strconv.Itoa(after)}
	}
	s.lastError.Store(a)
	return a
}

// endedBy says whose doing a code is.
func endedBy(code Code) EndedBy {
	switch code {
	case upstream.Broke, upstream.Unreachable:
		return byError
	case upstream.Timeout:
		return byTimeout
	case clientGone, requestBroke, requestTimeout:
		return byClient
	case shuttingDown:
		return byShutdown
	case cancelled:
		return byAdmin
	}
	return byError
}

func byteSize(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d %s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
