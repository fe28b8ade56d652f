package proxy

import (
	"net/http"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// Code names why the proxy itself ended an exchange. Clients see it in
// X-Vega-Error, metrics in the label code.
type Code = upstream.Code

// The codes that do not come from choosing or asking an upstream.
const (
	bodyTooLarge   Code = "body_too_large"
	shuttingDown   Code = "shutting_down"
	cancelled      Code = "cancelled" // by the admin
	notCached      Code = "not_cached"
	loopDetected   Code = "loop_detected"
	hostRefused    Code = "host_refused"
	originRefused  Code = "origin_refused"
	routeClosed    Code = "route_closed"
	unauthorized   Code = "unauthorized"
	ambiguous      Code = "ambiguous_request"
	requestTimeout Code = "request_timeout"
	requestBroke   Code = "request_broke"
	unsupported    Code = "unsupported_method"
	internalError  Code = "internal_error" // a panic

	// Of requests that no handler sees.
	malformed              Code = "malformed_request"
	headTooLarge           Code = "head_too_large"
	unsupportedCoding      Code = "unsupported_coding"
	unsupportedVersion     Code = "unsupported_version"
	unsupportedExpectation Code = "unsupported_expectation"
)

var statuses = map[Code]int{
	upstream.NoUpstream:  http.StatusNotFound,
	upstream.BreakerOpen: http.StatusServiceUnavailable,
	upstream.Overloaded:  http.StatusServiceUnavailable,
	upstream.Unreachable: http.StatusBadGateway,
	upstream.Timeout:     http.StatusGatewayTimeout,
	upstream.Broke:       http.StatusBadGateway,
	bodyTooLarge:         http.StatusRequestEntityTooLarge,
	shuttingDown:         http.StatusServiceUnavailable,
	cancelled:            http.StatusServiceUnavailable,
	notCached:            http.StatusGatewayTimeout,
	loopDetected:         http.StatusLoopDetected,
	hostRefused:          http.StatusForbidden,
	originRefused:        http.StatusForbidden,
	routeClosed:          http.StatusForbidden,
	unauthorized:         http.StatusUnauthorized,
	ambiguous:            http.StatusBadRequest,
	requestTimeout:       http.StatusRequestTimeout,
	requestBroke:         http.StatusBadRequest,
	unsupported:          http.StatusNotImplemented,
	internalError:        http.StatusInternalServerError,

	malformed:              http.StatusBadRequest,
	headTooLarge:           http.StatusRequestHeaderFieldsTooLarge,
	unsupportedCoding:      http.StatusNotImplemented,
	unsupportedVersion:     http.StatusHTTPVersionNotSupported,
	unsupportedExpectation: http.StatusExpectationFailed,
}

// refusal is an answer of the proxy's own.
type refusal struct {
	code       Code
	message    string
	retryAfter time.Duration // 0 says nothing
	close      bool          // the connection cannot be used further
}

func (no *refusal) Error() string { return string(no.code) + ": " + no.message }
