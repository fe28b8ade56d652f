package proxy

import (
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// The buckets of the OpenTelemetry conventions for generative AI.
var (
	durationBuckets = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	firstBuckets    = []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	perTokenBuckets = []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}
	tokenBuckets    = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// maxModels is how many models get series of their own; later ones share one.
const maxModels = 100

const otherModel = "other"

// Metrics are the exchanges' counters. It is safe for concurrent use.
type Metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	ended     map[EndedBy]prometheus.Counter // all there are; read-only
	streams   map[EndedBy]prometheus.Counter // likewise, of streams alone
	errors    map[Code]prometheus.Counter    // likewise
	inFlight  prometheus.Gauge
	bytesIn   prometheus.Counter
	bytesOut  prometheus.Counter
	queued    *prometheus.HistogramVec
	gaps      prometheus.Histogram

	firstToken *prometheus.HistogramVec
	perToken   *prometheus.HistogramVec
	tokens     *prometheus.HistogramVec

	// What the vectors gave before: a lookup by label values costs more than
	// all the counting.
	series sync.Map // seriesKey to *series; bounded as its members are
	models struct {
		sync.RWMutex
		known map[string]string
	}
}

// NewMetrics registers the counters.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		reg.MustRegister(h)
		return h
	}
	m := &Metrics{
		requests:  counter("vega_requests_total", "Exchanges by endpoint, upstream, HTTP status and the cache's part; status 499 is a client that left before an answer.", "endpoint", "upstream", "status", "cache"),
		durations: histogram("vega_request_duration_seconds", "Time from the first byte in to the last byte out.", durationBuckets, "endpoint", "upstream"),
		ended:     make(map[EndedBy]prometheus.Counter),
		streams:   make(map[EndedBy]prometheus.Counter),
		errors:    make(map[Code]prometheus.Counter),
		queued:    histogram("vega_queue_duration_seconds", "Time that requests waited for a place at the upstream, of those that waited.", durationBuckets, "upstream"),
		firstToken: histogram("gen_ai_server_time_to_first_token_seconds", "Time from the whole request to the first token of a streamed answer.",
			firstBuckets, "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"),
		perToken: histogram("gen_ai_server_time_per_output_token_seconds", "Time between the tokens of a streamed answer after the first one.",
			perTokenBuckets, "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"),
		tokens: histogram("gen_ai_client_token_usage", "Tokens of one exchange as the upstream counted them.",
			tokenBuckets, "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"),
		gaps: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vega_stream_gap_seconds", Help: "Time between two events with content, as they came from the upstream.",
			Buckets: perTokenBuckets}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "vega_requests_in_flight", Help: "Exchanges in progress."}),
		bytesIn:  prometheus.NewCounter(prometheus.CounterOpts{Name: "vega_upstream_received_bytes_total", Help: "Bytes of answers read from upstreams."}),
		bytesOut: prometheus.NewCounter(prometheus.CounterOpts{Name: "vega_client_sent_bytes_total", Help: "Bytes of answers handed to clients."}),
	}
	reg.MustRegister(m.inFlight, m.bytesIn, m.bytesOut, m.gaps)
	m.models.known = make(map[string]string)
	ended := counter("vega_exchanges_ended_total", "Exchanges by the side that ended them.", "ended_by")
	for _, by := range []EndedBy{byUpstream, byClient, byStall, byTimeout, byError, byAdmin, byShutdown} {
		m.ended[by] = ended.WithLabelValues(string(by))
	}
	streams := counter("vega_streams_ended_total", "Streamed answers by the side that ended them.", "ended_by")
	for _, by := range []EndedBy{byUpstream, byClient, byStall, byTimeout, byError, byAdmin, byShutdown} {
		m.streams[by] = streams.WithLabelValues(string(by))
	}
	errs := counter("vega_errors_total", "Exchanges that the proxy refused or cut, by its error code.", "code")
	for code := range statuses {
		m.errors[code] = errs.WithLabelValues(string(code))
	}
	m.errors[clientGone] = errs.WithLabelValues(string(clientGone))
	return m
}

// modelLabel bounds what clients can make of the model label.
func (m *Metrics) modelLabel(model string) string {
	if model == "" {
		return "none"
	}
	m.models.RLock()
	label, ok := m.models.known[model]
	full := len(m.models.known) >= maxModels
	m.models.RUnlock()
	switch {
	case ok:
		return label
	case full:
		return otherModel
	}
	m.models.Lock()
	defer m.models.Unlock()
	if len(m.models.known) >= maxModels {
		return otherModel
	}
	model = strings.Clone(model)
	label = strings.ToValidUTF8(model, "\uFFFD")
	m.models.known[model] = label
	return label
}

type seriesKey struct {
	op       dialect.Op
	status   int
	upstream string
	model    string // a label, so from a bounded set
	cache    string
}

// series is what exchanges of one kind count with.
type series struct {
	requests   prometheus.Counter
	duration   prometheus.Observer
	firstToken prometheus.Observer
	perToken   prometheus.Observer
	prompt     prometheus.Observer
	completion prometheus.Observer
}

func (m *Metrics) seriesOf(k seriesKey) *series {
	if s, ok := m.series.Load(k); ok {
		return s.(*series)
	}
	endpoint := k.op.String()
	operation, provider := operationOf(k.op)
	s := &series{
		requests: m.requests.WithLabelValues(endpoint, k.upstream, strconv.Itoa(k.status), k.cache),
		duration: m.durations.WithLabelValues(endpoint, k.upstream),
	}
	if operation != "" {
		s.firstToken = m.firstToken.WithLabelValues(operation, provider, k.model)
		s.perToken = m.perToken.WithLabelValues(operation, provider, k.model)
		s.prompt = m.tokens.WithLabelValues(operation, provider, k.model, "input")
		s.completion = m.tokens.WithLabelValues(operation, provider, k.model, "output")
	}
	m.series.Store(k, s)
	return s
}

// retain removes the series of the upstreams that are no longer configured.
func (m *Metrics) retain(configured func(upstream string) bool) {
	m.series.Range(func(k, _ any) bool {
		name := k.(seriesKey).upstream
		if name == "" || name == removedUpstream || configured(name) {
			return true
		}
		m.series.Delete(k)
		label := prometheus.Labels{"upstream": name}
		for _, vec := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.requests, m.durations, m.queued} {
			vec.DeletePartialMatch(label)
		}
		return true
	})
}

// operationOf is the endpoint in the words of the GenAI conventions: what it does,
// and whose dialect it speaks. Both are empty where no model is asked.
func operationOf(op dialect.Op) (operation, provider string) {
	switch op {
	case dialect.OpChat, dialect.OpResponses:
		return "chat", "openai"
	case dialect.OpMessages:
		return "chat", "anthropic"
	case dialect.OpOllamaChat:
		return "chat", "ollama"
	case dialect.OpCompletions:
		return "text_completion", "openai"
	case dialect.OpOllamaGenerate:
		return "text_completion", "ollama"
	case dialect.OpEmbeddings:
		return "embeddings", "openai"
	case dialect.OpOllamaEmbed, dialect.OpOllamaEmbeddings:
		return "embeddings", "ollama"
	}
	return "", ""
}
