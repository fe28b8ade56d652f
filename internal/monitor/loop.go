package monitor

import (
	"bytes"
	"context"
	"runtime/pprof"
	"time"
)

const (
	probeInterval = 10 * time.Millisecond
	// idleInterval is the probe's at most while there are no exchanges, which is from
	// idleAfter on: nobody waits for a goroutine then, and each wake costs the processor.
	idleInterval = 50 * time.Millisecond
	idleAfter    = time.Second
	// profileFor is how long the processor is watched after the scheduler was
	// late, and profileInterval how often.
	profileFor      = 250 * time.Millisecond
	profileInterval = time.Minute
)

// probe is what wakes the loop before its time.
type probe struct{ woken chan struct{} }

func (p *probe) init() { p.woken = make(chan struct{}, 1) }

func (p *probe) wake() {
	select {
	case p.woken <- struct{}{}:
	default: // it has not yet come to the last one
	}
}

// watchLoop sleeps for a moment again and again: how late it wakes is how long
// any goroutine waits for its turn.
func (m *Monitor) watchLoop(ctx context.Context) {
	timer := time.NewTimer(probeInterval)
	defer timer.Stop()
	due := m.now() + probeInterval
	checked, refilled := m.now(), m.now()
	for {
		select {
		case <-timer.C:
		case <-m.probe.woken:
		case <-ctx.Done():
			return
		}
		now := m.now()
		m.pool.clock.Set(int64(now))
		if now >= due {
			m.late(ctx, now, now-due)
		}
		pending := m.scan(now)
		if now-refilled >= time.Second {
			refilled = now
			m.objects.refill()
		}
		if now-checked >= m.cfg.Load().CheckInterval {
			checked = now
			m.check(ctx, now)
		}
		now = m.now()
		every := m.interval(now, pending)
		due = now + every
		timer.Reset(every)
	}
}

// interval is how long the probe sleeps next. Idle or not, it cannot miss a stall,
// nor a lateness of one and a half times the threshold.
func (m *Monitor) interval(now time.Duration, pending int64) time.Duration {
	if !m.pool.quiet(now, pending) {
		return probeInterval
	}
	threshold := time.Duration(m.slow.scheduler.Load())
	return max(probeInterval, min(idleInterval, threshold/2, m.cfg.Load().CheckInterval/2))
}

// late judges how late the probe woke.
func (m *Monitor) late(ctx context.Context, now, late time.Duration) {
	m.metrics.lateness.Observe(late.Seconds())
	if late < time.Duration(m.slow.scheduler.Load()) {
		return
	}
	c := &SlowCallback{Name: SchedulerStep, DurationMS: milliseconds(late), StartedAt: m.start.Add(now - late), Stack: []string{}, began: now - late}
	m.slow.mu.Lock()
	m.foundSlow(c, &m.slow.lateStep)
	m.slow.mu.Unlock()
	m.slow.worst(late)
	if late >= 2*m.cfg.Load().CheckInterval {
		m.metrics.stalls.Inc()
		m.health.stall(now, late, late >= 10*m.cfg.Load().CheckInterval)
		m.judge(ctx, now)
	}
	m.profileCPU(ctx, now, c)
}

// profileCPU watches for a moment what keeps the processor, unless somebody
// else does.
func (m *Monitor) profileCPU(ctx context.Context, now time.Duration, c *SlowCallback) {
	s := &m.slow
	if s.profiled != 0 && now-s.profiled < profileInterval || !s.profiling.CompareAndSwap(false, true) {
		return
	}
	s.profiled = now
	m.work.Go(func() {
		defer s.profiling.Store(false)
		var buf bytes.Buffer
		if pprof.StartCPUProfile(&buf) != nil { // the administrator is taking one
			return
		}
		select {
		case <-time.After(profileFor):
		case <-ctx.Done():
		}
		pprof.StopCPUProfile()
		stack, err := busiest(buf.Bytes())
		if err != nil {
			m.log.Warn("read the CPU profile of a late scheduler", "error", err)
			return
		}
		m.slow.mu.Lock()
		defer m.slow.mu.Unlock()
		c.Stack = stack
	})
}

// check is done once in each check interval.
func (m *Monitor) check(ctx context.Context, now time.Duration) {
	if n := m.pool.count().pending; n > int64(m.cfg.Load().HighPendingTasks) {
		m.health.high(now, n, m.cfg.Load().HighPendingTasks)
	}
	m.runtime.sample(now)
	m.judge(ctx, now)
	m.logSlow(now)
	m.sessions.expire(time.Now())
}

// judge logs a change of health, and has the flight recorder follow it.
func (m *Monitor) judge(ctx context.Context, now time.Duration) {
	status, reasons, changed := m.health.judge(now)
	if changed {
		if status == Healthy {
			m.log.Info("health of the process", "status", status)
		} else {
			m.log.Warn("health of the process", "status", status, "reasons", reasons)
		}
	}
	if m.flight.follow(now, status, changed) {
		m.work.Go(func() {
			if record, err := m.flight.dump(ctx, "critical"); err != nil {
				m.log.Warn("no flight record", "error", err)
			} else {
				m.log.Warn("flight record written", "name", record.Name, "size_bytes", record.SizeBytes)
			}
		})
	}
}
