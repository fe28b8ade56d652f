package admin

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// The figures of a point, by their index in figureNames. What a process does not
// have is unknown there: NaN, and null in JSON.
const (
	figRequests = iota
	figErrors
	figRefused
	figFirstTokenP50
	figFirstTokenP95
	figGapP50
	figGapP95
	figHitRate
	figInFlight
	figStreams
	figWaiting
	figBuffered
	figLogQueue
	figSpool
	figResident
	figHeap
	figGoroutines
	figSchedP99
	figSlow
	figLeaks
	figStarted
	figureCount
)

var figureNames = [figureCount]string{
	figRequests:      "requests_per_second",
	figErrors:        "errors_per_second",
	figRefused:       "refused_per_second",
	figFirstTokenP50: "first_token_p50_seconds",
	figFirstTokenP95: "first_token_p95_seconds",
	figGapP50:        "gap_p50_seconds",
	figGapP95:        "gap_p95_seconds",
	figHitRate:       "cache_hit_rate",
	figInFlight:      "requests_in_flight",
	figStreams:       "streams",
	figWaiting:       "queue_waiting",
	figBuffered:      "buffered_bytes",
	figLogQueue:      "log_queue",
	figSpool:         "spool_bytes",
	figResident:      "resident_bytes",
	figHeap:          "heap_bytes",
	figGoroutines:    "goroutines",
	figSchedP99:      "sched_p99_seconds",
	figSlow:          "slow_callbacks",
	figLeaks:         "leaks",
	figStarted:       "started_at",
}

// gauges are the figures that one metric tells, its series added up.
var gauges = map[string]int{
	"vega_requests_in_flight":         figInFlight,
	"vega_streams":                    figStreams,
	"vega_upstream_queue_waiting":     figWaiting,
	"vega_stream_buffered_bytes":      figBuffered,
	"vega_log_queue_size":             figLogQueue,
	"vega_log_spool_bytes":            figSpool,
	"process_resident_memory_bytes":   figResident,
	"go_memstats_heap_alloc_bytes":    figHeap,
	"go_goroutines":                   figGoroutines,
	"vega_sched_latency_p99_seconds":  figSchedP99,
	"event_loop_slow_callbacks_total": figSlow,
	"memory_potential_leaks":          figLeaks,
	"process_start_time_seconds":      figStarted,
}

// sample is what the metrics say at one moment: counters and histograms as they
// stand, of which two make a point.
type sample struct {
	at                        time.Time
	requests, errors, refused float64
	hits, misses              float64
	firstToken, gaps          histogram
	gauges                    [figureCount]float64
}

// newSample reads what it needs of the metrics. An error is one that the server
// made (5xx) or that cut a stream; refused are answers with 4xx.
func newSample(at time.Time, families []*dto.MetricFamily) *sample {
	s := &sample{at: at}
	for i := range s.gauges {
		s.gauges[i] = math.NaN()
	}
	for _, f := range families {
		name := f.GetName()
		switch name {
		case "vega_requests_total":
			for _, m := range f.Metric {
				s.countRequests(label(m, "status"), value(m))
			}
		case "vega_streams_ended_total":
			for _, m := range f.Metric {
				if by := label(m, "ended_by"); by == "error" || by == "timeout" {
					s.errors += value(m)
				}
			}
		case "llm_cache_hits_total":
			s.hits = total(f)
		case "llm_cache_misses_total":
			s.misses = total(f)
		case "gen_ai_server_time_to_first_token_seconds":
			s.firstToken.add(f)
		case "vega_stream_gap_seconds":
			s.gaps.add(f)
		}
		if i, ok := gauges[name]; ok {
			s.gauges[i] = total(f)
		}
	}
	return s
}

// statusClientGone counts as neither: nobody failed.
const statusClientGone = "499"

func (s *sample) countRequests(status string, n float64) {
	s.requests += n
	switch {
	case strings.HasPrefix(status, "5"):
		s.errors += n
	case strings.HasPrefix(status, "4") && status != statusClientGone:
		s.refused += n
	}
}

// point is the figures of one moment.
type point struct {
	at      time.Time
	figures [figureCount]float64
}

// newPoint takes rates from what happened since recent, and quantiles, which need
// more to go by, from what happened since early.
func newPoint(early, recent, now *sample) point {
	p := point{now.at, now.gauges}
	for i, n := range map[int]float64{
		figRequests: now.requests - recent.requests,
		figErrors:   now.errors - recent.errors,
		figRefused:  now.refused - recent.refused,
	} {
		p.figures[i] = n / now.at.Sub(recent.at).Seconds()
	}
	p.figures[figHitRate] = (now.hits - early.hits) / (now.hits - early.hits + now.misses - early.misses)
	first, gaps := now.firstToken.since(early.firstToken), now.gaps.since(early.gaps)
	p.figures[figFirstTokenP50], p.figures[figFirstTokenP95] = first.quantile(0.5), first.quantile(0.95)
	p.figures[figGapP50], p.figures[figGapP95] = gaps.quantile(0.5), gaps.quantile(0.95)
	return p
}

func (p point) MarshalJSON() ([]byte, error) {
	all := map[string]any{"at": unix(p.at)}
	for i, v := range p.figures {
		all[figureNames[i]] = number(v)
	}
	return json.Marshal(all)
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// number is v for JSON, in which there is neither NaN nor infinity: null. Five
// digits are more than a plot shows.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	if v != 0 && math.Abs(v) < 1e4 {
		scale := math.Pow(10, 4-math.Floor(math.Log10(math.Abs(v))))
		v = math.Round(v*scale) / scale
	}
	return &v
}

// histogram is the counts of a metric's buckets, of all its series together. The
// last bound is +Inf.
type histogram struct {
	bounds []float64
	counts []float64 // cumulative
}

func (h *histogram) add(f *dto.MetricFamily) {
	for _, m := range f.Metric {
		buckets := m.Histogram.GetBucket()
		if h.counts == nil {
			h.counts = make([]float64, len(buckets)+1)
			for _, b := range buckets {
				h.bounds = append(h.bounds, b.GetUpperBound())
			}
			h.bounds = append(h.bounds, math.Inf(1))
		}
		if len(buckets)+1 != len(h.counts) {
			continue // the series of one metric have the same buckets
		}
		for i, b := range buckets {
			h.counts[i] += float64(b.GetCumulativeCount())
		}
		h.counts[len(buckets)] += float64(m.Histogram.GetSampleCount())
	}
}

// since is what was counted after early.
func (h histogram) since(early histogram) histogram {
	if len(early.counts) != len(h.counts) {
		return h // nothing had been counted
	}
	counts := slices.Clone(h.counts)
	for i, n := range early.counts {
		counts[i] -= n
	}
	return histogram{h.bounds, counts}
}

// quantile estimates as Prometheus does: evenly spread within a bucket, and the
// highest bound for what lies above it. NaN is for no observation.
func (h histogram) quantile(q float64) float64 {
	n := len(h.counts)
	if n < 2 || h.counts[n-1] <= 0 {
		return math.NaN()
	}
	rank := q * h.counts[n-1]
	i := slices.IndexFunc(h.counts, func(c float64) bool { return c >= rank })
	if i == n-1 {
		return h.bounds[n-2]
	}
	low, below := 0.0, 0.0
	if i > 0 {
		low, below = h.bounds[i-1], h.counts[i-1]
	}
	return low + (h.bounds[i]-low)*(rank-below)/(h.counts[i]-below)
}

func total(f *dto.MetricFamily) (sum float64) {
	for _, m := range f.Metric {
		sum += value(m)
	}
	return sum
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
