package monitor

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// It is leaked on purpose, where the build can find it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/vega-proxy/vega-proxy/internal/monitor.waitForNobody"))
}

func testConfig() Config {
	return Config{
		CheckInterval:     time.Second,
		SlowThresholdMS:   100,
		HighPendingTasks:  100,
		LeakCheckInterval: time.Minute,
		LeakThreshold:     5 * time.Minute,
		FlightRecorder:    FlightRecorderConfig{Window: 10 * time.Second, MaxFiles: 3},
	}
}

// newMonitor builds a monitor whose exchanges have the steps parse and dispatch.
func newMonitor(t testing.TB, change func(*Config)) *Monitor {
	t.Helper()
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	reg := prometheus.NewPedanticRegistry()
	m := New(cfg, t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil)), reg)
	registries.Store(m, reg)
	t.Cleanup(func() { registries.Delete(m) })
	m.Steps("", "parse", "dispatch")
	return m
}

// exchange is what a part that is watched has.
type exchange struct {
	progress.Exchange
	place *Exchange
}

func begin(m *Monitor, requestID string) *exchange {
	x := new(exchange)
	x.place = m.Begin(&x.Exchange, requestID, nil)
	return x
}

func (x *exchange) End() { x.place.End() }

const (
	parse = iota
	dispatch
)

// run runs the monitor; the func it returns stops it and waits.
func run(t testing.TB, m *Monitor) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// eventually waits for what a real fault brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// registries is where each monitor of newMonitor has its metrics.
var registries sync.Map

// gathered returns the values of a monitor's counters and gauges.
func gathered(t testing.TB, m *Monitor) map[string]float64 {
	t.Helper()
	reg, _ := registries.Load(m)
	families, err := reg.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		values[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
	}
	return values
}
