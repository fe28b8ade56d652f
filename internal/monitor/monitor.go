package monitor

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Monitor watches one process. Its methods are safe for concurrent use, before
// and after Run too.
type Monitor struct {
	cfg     atomic.Pointer[Config]
	log     *slog.Logger
	start   time.Time
	metrics series

	running atomic.Bool
	since   atomic.Int64 // when Run began, in nanoseconds after start

	probe    probe
	pool     pool
	slow     slowSteps
	health   health
	runtime  runtimeSampler
	flight   *flight
	objects  objects
	memory   memory
	sessions sessions

	work sync.WaitGroup // what Run has started and waits for
}

// New builds a monitor that registers its metrics with reg and keeps flight
// records below dataDir. It starts nothing.
func New(cfg Config, dataDir string, log *slog.Logger, reg prometheus.Registerer) *Monitor {
	m := &Monitor{log: log, start: time.Now()}
	m.cfg.Store(&cfg)
	m.probe.init()
	m.pool.init(m)
	m.flight = newFlight(cfg.FlightRecorder, filepath.Join(dataDir, "flight-records"), log)
	m.objects.init(m.start, &m.pool.clock)
	m.memory.init()
	m.sessions.init(m)
	m.slow.scheduler.Store(int64(m.threshold(SchedulerStep)))
	m.metrics.register(m, reg)
	return m
}

// Configure replaces the settings, save for those of the flight recorder, which
// hold as they were at first. What is found from then on is judged by them.
func (m *Monitor) Configure(cfg Config) {
	m.cfg.Store(&cfg)
	m.slow.scheduler.Store(int64(m.threshold(SchedulerStep)))
	m.limitSteps()
}

// Run watches until ctx ends, and returns when all it started has ended.
func (m *Monitor) Run(ctx context.Context) error {
	if err := m.flight.open(); err != nil {
		return err
	}
	m.since.Store(int64(m.now()))
	m.running.Store(true)
	defer m.running.Store(false)
	m.work.Go(func() { m.watchMemory(ctx) })
	m.watchLoop(ctx)
	m.work.Wait()
	m.flight.stop()
	return nil
}

// now is the time since the monitor was built.
func (m *Monitor) now() time.Duration { return time.Since(m.start) }

// threshold is from when on a step is slow.
func (m *Monitor) threshold(step string) time.Duration {
	cfg := m.cfg.Load()
	ms := cfg.SlowThresholdMS
	if own, ok := cfg.Thresholds[step]; ok {
		ms = own
	}
	return time.Duration(ms) * time.Millisecond
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
