package monitor

import (
	"slices"
	"time"
)

// Status is the loop's figures under the guide's names, for encoding/json.
type Status struct {
	Running             bool           `json:"running"`
	MonitoringDuration  float64        `json:"monitoring_duration"` // seconds
	TotalCallbacks      int64          `json:"total_callbacks"`     // steps of exchanges that have ended
	SlowCallbacksCount  int64          `json:"slow_callbacks_count"`
	MaxCallbackTimeMS   float64        `json:"max_callback_time_ms"`
	CurrentPendingTasks int64          `json:"current_pending_tasks"` // exchanges in flight
	MaxPendingTasks     int64          `json:"max_pending_tasks"`
	LoopStalls          int64          `json:"loop_stalls"`
	RecentSlowCallbacks []SlowCallback `json:"recent_slow_callbacks"` // the oldest first
	SchedLatencyP99MS   float64        `json:"sched_latency_p99_ms"`  // of the last minute
	GCPauseP99MS        float64        `json:"gc_pause_p99_ms"`       // of the last minute
	MutexWaitSeconds    float64        `json:"mutex_wait_seconds"`    // of all goroutines, since the start
	Goroutines          int64          `json:"goroutines"`
}

// Status returns the loop's figures.
func (m *Monitor) Status() Status {
	r := m.runtime.figures()
	counts := m.pool.count()
	recent, count := m.recentSlowCallbacks()
	s := Status{
		Running:             m.running.Load(),
		TotalCallbacks:      counts.steps,
		SlowCallbacksCount:  count,
		CurrentPendingTasks: counts.pending,
		MaxPendingTasks:     counts.mostPending,
		LoopStalls:          m.health.stallsInAll(),
		RecentSlowCallbacks: recent,
		SchedLatencyP99MS:   milliseconds(r.schedP99),
		GCPauseP99MS:        milliseconds(r.gcP99),
		MutexWaitSeconds:    r.mutexWait,
		Goroutines:          r.goroutines,
	}
	if s.Running {
		s.MonitoringDuration = (m.now() - time.Duration(m.since.Load())).Seconds()
	}
	s.MaxCallbackTimeMS = max(milliseconds(counts.longest), milliseconds(time.Duration(m.slow.longest.Load())))
	for _, c := range recent {
		s.MaxCallbackTimeMS = max(s.MaxCallbackTimeMS, c.DurationMS)
	}
	return s
}

// Diagnostics is the status with what it means, for encoding/json.
type Diagnostics struct {
	HealthStatus Health   `json:"health_status"`
	Reasons      []string `json:"reasons"`
	Metrics      Status   `json:"metrics"`
	Tasks        Tasks    `json:"tasks"`
}

// Tasks is the goroutines of the process.
type Tasks struct {
	Total     int64 `json:"total"`     // goroutines now
	Running   int64 `json:"running"`   // on a processor, or ready to be
	Waiting   int64 `json:"waiting"`   // for anything
	Completed int64 `json:"completed"` // ended since the process started
	// ByName counts them by their task label, or else by the function that they
	// began with; beyond 50 names they are "other".
	ByName map[string]int `json:"by_name"`
}

// maxTaskNames is how many names of tasks are told apart.
const maxTaskNames = 50

// Diagnose returns the status, health with its reasons, and the goroutines by
// name. It stops all goroutines for a moment, a few ms where there are thousands.
func (m *Monitor) Diagnose() Diagnostics {
	status, reasons := m.Health()
	r := m.runtime.figures()
	d := Diagnostics{HealthStatus: status, Reasons: reasons, Metrics: m.Status()}
	d.Tasks = Tasks{Running: r.running, Completed: r.created - r.goroutines, ByName: map[string]int{}}
	groups := goroutines(m.pool.entry)
	slices.SortStableFunc(groups, func(a, b group) int { return b.count - a.count })
	for _, g := range groups {
		name := g.task()
		if _, known := d.Tasks.ByName[name]; !known && len(d.Tasks.ByName) >= maxTaskNames {
			name = "other"
		}
		d.Tasks.ByName[name] += g.count
		d.Tasks.Total += int64(g.count)
	}
	d.Tasks.Running = min(d.Tasks.Running, d.Tasks.Total)
	d.Tasks.Waiting = d.Tasks.Total - d.Tasks.Running
	return d
}

// Health returns how the loop is and why it is not healthy.
func (m *Monitor) Health() (Health, []string) {
	return m.health.now(m.now())
}
