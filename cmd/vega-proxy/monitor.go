package main

import (
	"context"
	"reflect"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/monitor"
	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// openMonitor makes what watches the process.
func (a *app) openMonitor() {
	a.monitor = monitor.New(a.cfg.Monitor, a.cfg.DataDir, a.log, a.reg)
	entry := runtime.FuncForPC(reflect.ValueOf((*proxy.Server).ServeHTTP).Pointer()).Name()
	a.monitor.Steps(entry, proxy.StepNames()...)
}

// watch shows the exchanges to the monitor.
func (a *app) watch(opts *proxy.Options) {
	opts.Begin = func(p *progress.Exchange, requestID string, last proxy.Watch) proxy.Watch {
		w, _ := last.(watch)
		return watch{a.monitor.Begin(p, requestID, w.x)}
	}
	opts.Seen = a.monitor.Seen
	plant(opts)
}

// watch has the monitor follow what an exchange makes.
type watch struct{ x *monitor.Exchange }

// What is followed is taken to hold as many bytes, beside an exchange.
const (
	streamSize    = 16 << 10
	bodySize      = 8 << 10
	recordingSize = 16 << 10
	flightSize    = 1 << 10
)

func (w watch) End() { w.x.End() }

func (w watch) Exchange(id *string, size int64) (done func()) {
	return monitor.Track(w.x, progress.KindExchange, id, size, *id)
}

func (w watch) Stream(b *stream.Buffer, requestID string) (done func()) {
	return monitor.Track(w.x, progress.KindStream, b, streamSize, requestID)
}

func (w watch) UpstreamBody(a *upstream.Answer, requestID string) (done func()) {
	return monitor.Track(w.x, progress.KindUpstreamBody, a.Response, bodySize, requestID)
}

func (w watch) Recording(r *stream.Recording, requestID string) (done func()) {
	return monitor.Track(w.x, progress.KindRecording, r, recordingSize, requestID)
}

func (w watch) Flight(l *cache.Lead, requestID string) (done func()) {
	return monitor.Track(w.x, progress.KindFlight, l, flightSize, requestID)
}

// watcher shows the monitor to the admin API.
type watcher struct{ *monitor.Monitor }

func (w watcher) Status() any         { return w.Monitor.Status() }
func (w watcher) Diagnose() any       { return w.Monitor.Diagnose() }
func (w watcher) Sessions() any       { return w.Monitor.Sessions() }
func (w watcher) Leaks() any          { return w.Monitor.Leaks() }
func (w watcher) DiagnoseMemory() any { return w.Monitor.DiagnoseMemory() }
func (w watcher) GC() any             { return w.Monitor.GC() }

func (w watcher) LeaksOf(objectType string) (any, bool) { return w.Monitor.LeaksOf(objectType) }
func (w watcher) FlightRecords() (any, error)           { return w.Monitor.FlightRecords() }

func (w watcher) RecordFlight(ctx context.Context) (any, error) { return w.Monitor.RecordFlight(ctx) }

// healthGauge shows the health of each component at a scrape.
type healthGauge struct{ reports []func() admin.Component }

var healthStatus = prometheus.NewDesc("vega_health_status",
	"How well a part of the proxy is: 0 healthy, 1 warning, 2 critical.", []string{"component"}, nil)

func (healthGauge) Describe(ch chan<- *prometheus.Desc) { ch <- healthStatus }

func (g healthGauge) Collect(ch chan<- prometheus.Metric) {
	order := []admin.Status{admin.Healthy, admin.Warning, admin.Critical}
	for _, report := range g.reports {
		c := report()
		ch <- prometheus.MustNewConstMetric(healthStatus, prometheus.GaugeValue, float64(slices.Index(order, c.Status)), c.Name)
	}
}
