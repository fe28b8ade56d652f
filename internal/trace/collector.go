package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	ingest "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	otlp "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sendTimeout bounds one request to the collector, its answer included.
const sendTimeout = 5 * time.Second

// maxAnswer is how much of the collector's answer is read.
const maxAnswer = 64 << 10

// collector takes spans by OTLP over HTTP, in protobuf.
type collector struct {
	endpoint string
	shown    string // host and path, for the log
	agent    string
	resource *resource.Resource
	scope    *common.InstrumentationScope
	client   http.Client
}

func newCollector(endpoint, version, instance string) (*collector, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp_endpoint: %w", errors.Unwrap(err)) // the URL itself may hold a secret
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	var who attributes
	who.text(keyService, "vega-proxy")
	who.text(keyVersion, version)
	who.text(keyInstance, instance)
	return &collector{
		endpoint: u.String(),
		shown:    u.Scheme + "://" + u.Host + u.Path,
		agent:    "vega-proxy/" + version,
		resource: &resource.Resource{Attributes: who},
		scope:    &common.InstrumentationScope{Name: "github.com/vega-proxy/vega-proxy", Version: version},
		client: http.Client{
			Timeout: sendTimeout,
			// A transport of its own: the environment's proxies are not asked.
			Transport:     &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (c *collector) close() { c.client.CloseIdleConnections() }

// refusedError is an answer other than "taken".
type refusedError struct {
	status     int
	again      bool // it may be taken later
	retryAfter time.Duration
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("it answered with status %d", e.status)
}

// send makes one request and returns how many of the spans the collector threw
// away. An error is a *refusedError, or there was no answer.
func (c *collector) send(ctx context.Context, spans []*otlp.Span) (rejected int, err error) {
	body, err := proto.Marshal(&ingest.ExportTraceServiceRequest{ResourceSpans: []*otlp.ResourceSpans{{
		Resource:   c.resource,
		ScopeSpans: []*otlp.ScopeSpans{{Scope: c.scope, Spans: spans}},
	}}})
	if err != nil {
		return 0, fmt.Errorf("encode spans: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("ask the collector: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", c.agent)
	res, err := c.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // without the URL
		}
		return 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode/100 != 2 {
		return 0, refusal(res)
	}
	if err != nil {
		return 0, fmt.Errorf("the collector's answer: %w", err)
	}
	var said ingest.ExportTraceServiceResponse
	if res.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(answer, &said) != nil {
		return 0, nil // the status says that they were taken
	}
	return int(min(max(said.GetPartialSuccess().GetRejectedSpans(), 0), int64(len(spans)))), nil
}

// refusal reads an answer by the rules of OTLP.
func refusal(res *http.Response) error {
	e := &refusedError{status: res.StatusCode}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.again = true
	}
	if s, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16); err == nil {
		e.retryAfter = time.Duration(s) * time.Second
	}
	return e
}
