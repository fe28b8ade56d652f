package trace

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	ingest "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// answers is a collector that answers by a script, and takes all after it.
type answers struct {
	script []func(*http.Request) (*http.Response, error)
	at     []time.Time // of each request
	got    int         // spans, of all requests
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.at = append(a.at, time.Now())
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var req ingest.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	a.got += len(req.ResourceSpans[0].ScopeSpans[0].Spans)
	if n := len(a.at); n <= len(a.script) {
		return a.script[n-1](r)
	}
	return answer(http.StatusOK, nil)(r)
}

func answer(status int, body proto.Message, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		var raw []byte
		if body != nil {
			raw, _ = proto.Marshal(body)
		}
		h := http.Header{"Content-Type": {"application/x-protobuf"}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader(raw))}, nil
	}
}

func dead(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// silent answers when nobody waits any more.
func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func newTracer(t testing.TB, ratio float64, collector http.RoundTripper) (*Tracer, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	tracer, err := New(Config{OTLPEndpoint: "http://collector:4318", SampleRatio: ratio}, "v1", prometheus.NewRegistry(),
		slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	tracer.collector.client.Transport = collector
	return tracer, &log
}

func (t *Tracer) counted(result string) int {
	var m dto.Metric
	if err := t.spans.WithLabelValues(result).Write(&m); err != nil {
		panic(err)
	}
	return int(m.GetCounter().GetValue())
}

func (t *Tracer) exchange() { t.Begin(http.Header{}, time.Now()).End(&Facts{End: time.Now()}) }

func TestDelivery(t *testing.T) {
	type script = []func(*http.Request) (*http.Response, error)
	partly := &ingest.ExportTraceServiceResponse{PartialSuccess: &ingest.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "no"}}
	for name, tt := range map[string]struct {
		script                      script
		waits                       []time.Duration // between requests
		exported, rejected, failed  int
		warnings, recoveries, spans int
	}{
		"taken":              {nil, nil, 2, 0, 0, 0, 0, 2},
		"taken in part":      {script{answer(200, partly)}, nil, 1, 1, 0, 1, 0, 2},
		"taken later":        {script{dead, answer(503, nil)}, []time.Duration{time.Second, 2 * time.Second}, 2, 0, 0, 1, 1, 6},
		"told when":          {script{answer(429, nil, "Retry-After", "4")}, []time.Duration{4 * time.Second}, 2, 0, 0, 1, 1, 4},
		"told absurdly when": {script{answer(429, nil, "Retry-After", "3600")}, []time.Duration{mostWait}, 2, 0, 0, 1, 1, 4},
		"refused":            {script{answer(400, nil)}, nil, 0, 2, 0, 1, 0, 2},
		"sent elsewhere":     {script{answer(302, nil, "Location", "http://other/")}, nil, 0, 2, 0, 1, 0, 2},
		"dead":               {script{dead, dead, dead}, []time.Duration{time.Second, 2 * time.Second}, 0, 0, 2, 1, 0, 6},
		"silent":             {script{silent, silent, silent}, []time.Duration{sendTimeout + time.Second, sendTimeout + 2*time.Second}, 0, 0, 2, 1, 0, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &answers{script: tt.script}
				tracer, log := newTracer(t, 1, a)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- tracer.Run(ctx) }()
				tracer.exchange()
				tracer.exchange()
				time.Sleep(time.Minute)
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if e, r, f := tracer.counted(resultExported), tracer.counted(resultRejected), tracer.counted(resultFailed); e != tt.exported || r != tt.rejected || f != tt.failed {
					t.Errorf("%d exported, %d rejected, %d failed; want %d, %d, %d", e, r, f, tt.exported, tt.rejected, tt.failed)
				}
				if len(a.at) != 1+len(tt.waits) || a.got != tt.spans {
					t.Fatalf("%d requests with %d spans, want %d with %d", len(a.at), a.got, 1+len(tt.waits), tt.spans)
				}
				for i, want := range tt.waits {
					if got := a.at[i+1].Sub(a.at[i]); got != want {
						t.Errorf("request %d came %v after the one before, want %v", i+2, got, want)
					}
				}
				said := log.String()
				if w, r := strings.Count(said, "level=WARN"), strings.Count(said, "again"); w != tt.warnings || r != tt.recoveries {
					t.Errorf("%d warnings, %d recoveries; want %d, %d:\n%s", w, r, tt.warnings, tt.recoveries, said)
				}
			})
		})
	}
}

// TestOutage: the queue has a bound, the log says it once, and the end comes
// within flushFor.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		for range 100 {
			a.script = append(a.script, silent)
		}
		tracer, log := newTracer(t, 1, a)
		for range queued + 10 {
			tracer.exchange()
		}
		if n := tracer.counted(resultFull); n != 10 {
			t.Errorf("%d spans found no room, want 10", n)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- tracer.Run(ctx) }()
		time.Sleep(time.Minute)
		began := time.Now()
		stop()
		<-done
		if took := time.Since(began); took > flushFor {
			t.Errorf("the end took %v", took)
		}
		if n := tracer.counted(resultFailed); n != queued || len(tracer.queue) != 0 {
			t.Errorf("%d spans failed and %d are left, of %d", n, len(tracer.queue), queued)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("the log has %d lines:\n%s", n, log)
		}
	})
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		tracer, _ := newTracer(t, 1, a)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- tracer.Run(ctx) }()
		began := time.Now()
		for range together + 1 {
			tracer.exchange()
		}
		time.Sleep(gatherFor)
		synctest.Wait()
		if len(a.at) != 2 || a.at[0] != began || a.at[1].Sub(began) != gatherFor {
			t.Errorf("a full batch and one more went at %v, begun at %v", a.at, began)
		}
		stop()
		<-done
	})
}

func TestEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://h:4318":            "http://h:4318/v1/traces",
		"https://h/":               "https://h/v1/traces",
		"http://h:4318/otlp/trace": "http://h:4318/otlp/trace",
	} {
		c, err := newCollector(endpoint, "v1", "one")
		if err != nil || c.endpoint != want {
			t.Errorf("%s becomes %s, %v; want %s", endpoint, c.endpoint, err, want)
		}
	}
}
