package batchlog

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/batchlog/spool"
)

// metrics are the log's counters.
type metrics struct {
	batchOK, batchFailed        prometheus.Counter
	inserted, amended, setAside prometheus.Counter
	retired                     prometheus.Counter
	refusals                    prometheus.Counter
	unwritable                  prometheus.Counter
	flush                       prometheus.Histogram
}

func newMetrics(l *Log, reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string, value func(spool.Stats) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return value(l.queue.Stats()) }))
	}
	batches := vector("vega_log_batches_total", "Batches of conversations by how they went.", "result")
	records := vector("vega_log_records_total", "Conversations that left the spool, by what became of them.", "result")
	m := &metrics{
		batchOK:     batches.WithLabelValues("ok"),
		batchFailed: batches.WithLabelValues("failed"),
		inserted:    records.WithLabelValues("inserted"),
		amended:     records.WithLabelValues("amended"),
		setAside:    records.WithLabelValues("set_aside"),
		retired:     counter("vega_log_retired_total", "Conversations of this instance that retention deleted."),
		refusals:    counter("vega_log_refusals_unrecorded_total", "Refusals that were not recorded, since there were more than 100 in a second."),
		unwritable:  counter("vega_log_unwritable_total", "Conversations that could not be written for the spool."),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vega_log_flush_duration_seconds", Help: "Time to read and store one batch.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}}),
	}
	reg.MustRegister(m.flush)
	gauge("vega_log_queue_size", "Conversations that are accepted and not in the sink yet.", func(s spool.Stats) float64 { return float64(s.Spooled) })
	gauge("vega_log_queue_limit", "The setting max_queue_size.", func(spool.Stats) float64 { return float64(l.cfg().MaxQueueSize) })
	gauge("vega_log_spool_bytes", "Bytes of the spool on disk.", func(s spool.Stats) float64 { return float64(s.Bytes) })
	gauge("vega_log_spool_limit_bytes", "The setting spool.max_bytes: beyond it the oldest conversations are given up.",
		func(spool.Stats) float64 { return float64(l.cfg().Spool.MaxBytes) })
	gauge("vega_log_spool_oldest_seconds", "Age of the oldest conversation that is not in the sink.", func(s spool.Stats) float64 { return s.OldestAge.Seconds() })
	gauge("vega_log_set_aside", "Conversations that are set aside.", func(s spool.Stats) float64 { return float64(s.SetAside) })
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "vega_log_late_total", Help: "Conversations that a slow disk got behind their answers."},
		func() float64 { return float64(l.queue.Stats().Late) }))
	for _, why := range spool.Reasons() {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "vega_log_dropped_total", Help: "Conversations that were given up, by reason, since the spool was made.",
			ConstLabels: prometheus.Labels{"reason": why.String()},
		}, func() float64 { return float64(l.queue.Stats().Dropped[why]) }))
	}
	return m
}
