package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync"
	"testing"

	ingest "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is a receiver of traces by OTLP over HTTP.
type collector struct {
	url string

	mu  sync.Mutex
	got []*span
	raw [][]byte
}

func collect(t *testing.T) *collector {
	c := &collector{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req ingest.ExportTraceServiceRequest
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" ||
			proto.Unmarshal(body, &req) != nil {
			t.Errorf("the collector cannot read %s %s (%v)", r.Method, r.URL, r.Header)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.add(&req, body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}

func (c *collector) config() string { return "telemetry: {otlp_endpoint: '" + c.url + "'}\n" }

func (c *collector) add(req *ingest.ExportTraceServiceRequest, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw)
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.got = append(c.got, &span{s, valuesOf(s.Attributes), valuesOf(rs.Resource.Attributes)})
			}
		}
	}
}

func (c *collector) spans() []*span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// said tells whether a text came in any form.
func (c *collector) said(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.raw, func(raw []byte) bool { return bytes.Contains(raw, []byte(text)) })
}

// exchange waits for an exchange's span, by its request's id, and returns those
// of its tries with it, in their order.
func (c *collector) exchange(t *testing.T, requestID string) (server *span, tries []*span) {
	t.Helper()
	until(t, "the span of "+requestID, func() bool {
		i := slices.IndexFunc(c.spans(), func(s *span) bool { return s.attrs["vega.request_id"] == requestID })
		if i >= 0 {
			server = c.spans()[i]
		}
		return i >= 0
	})
	for _, s := range c.spans() {
		if s.trace() == server.trace() && s.parent() == server.id() {
			tries = append(tries, s)
		}
	}
	slices.SortFunc(tries, func(a, b *span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	return server, tries
}

// span is one as it arrived.
type span struct {
	*otlp.Span
	attrs, resource map[string]any
}

func (s *span) id() string     { return hex.EncodeToString(s.SpanId) }
func (s *span) trace() string  { return hex.EncodeToString(s.TraceId) }
func (s *span) parent() string { return hex.EncodeToString(s.ParentSpanId) }

func (s *span) failed() bool { return s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR }

func (s *span) event(name string) bool {
	return slices.ContainsFunc(s.Events, func(e *otlp.Span_Event) bool {
		return e.Name == name && e.TimeUnixNano >= s.StartTimeUnixNano && e.TimeUnixNano <= s.EndTimeUnixNano
	})
}

// want checks some attributes; nil is for one that must not be there.
func (s *span) want(t *testing.T, want map[string]any) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got := s.attrs[name]; !reflect.DeepEqual(got, want[name]) {
			t.Errorf("%s: %s is %#v, want %#v", s.Name, name, got, want[name])
		}
	}
}

func valuesOf(list []*common.KeyValue) map[string]any {
	values := map[string]any{}
	for _, kv := range list {
		values[kv.Key] = valueOf(kv.Value)
	}
	return values
}

func valueOf(v *common.AnyValue) any {
	switch v := v.Value.(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_ArrayValue:
		list := []any{}
		for _, one := range v.ArrayValue.Values {
			list = append(list, valueOf(one))
		}
		return list
	}
	return nil
}

// headersAt starts a backend and returns what looks up the header of the request
// that had an id.
func headersAt(t *testing.T, h http.Handler) (url string, seen func(requestID string) http.Header) {
	var headers sync.Map
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers.Store(r.Header.Get("X-Request-Id"), r.Header.Clone())
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL, func(id string) http.Header {
		if h, ok := headers.Load(id); ok {
			return h.(http.Header)
		}
		return nil
	}
}
