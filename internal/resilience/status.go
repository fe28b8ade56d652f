package resilience

import "time"

// Status is a breaker seen from outside; its JSON is what the admin API answers.
type Status struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// FailCount counts the failures since the breaker last closed or was reset,
	// ConsecutiveFailures those in a row.
	FailCount           int `json:"fail_count"`
	ConsecutiveFailures int `json:"consecutive_failures"`
	// ConsecutiveOpenings is the exponent of the open time, plus one.
	ConsecutiveOpenings int     `json:"consecutive_openings"`
	SecondsUntilRetry   float64 `json:"seconds_until_retry"`
	// LastError is the last failure that counted; "" if there was none yet.
	LastError string `json:"last_error"`
	// LastStateChange is, before the first one, when the breaker was made.
	LastStateChange time.Time `json:"last_state_change"`
	Metrics         Metrics   `json:"metrics"`
}

// Metrics are a breaker's totals since it was made. A request counts when it is
// refused or reports, so those in flight are in none of them. Rates are 1 where
// nothing was counted.
type Metrics struct {
	TotalRequests       int64            `json:"total_requests"`
	SuccessfulRequests  int64            `json:"successful_requests"`
	FailedRequests      int64            `json:"failed_requests"`
	NeutralRequests     int64            `json:"neutral_requests"`
	RejectedRequests    int64            `json:"rejected_requests"`
	SuccessRate         float64          `json:"success_rate"`
	RecoveryAttempts    int64            `json:"recovery_attempts"`
	RecoverySuccesses   int64            `json:"recovery_successes"`
	RecoverySuccessRate float64          `json:"recovery_success_rate"`
	StateTransitions    StateTransitions `json:"state_transitions"`
}

// StateTransitions counts the changes of state. A reset of an open breaker is in
// none of them.
type StateTransitions struct {
	ClosedToOpen     int64 `json:"closed_to_open"`
	OpenToHalfOpen   int64 `json:"open_to_half_open"`
	HalfOpenToClosed int64 `json:"half_open_to_closed"`
	HalfOpenToOpen   int64 `json:"half_open_to_open"`
}

// Status returns the state and the counts of this moment, and changes nothing.
func (b *Breaker) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status()
}

func (b *Breaker) status() Status {
	ph := b.phase.Load()
	s := Status{
		Name:                b.name,
		State:               ph.state,
		FailCount:           b.failCount,
		ConsecutiveFailures: b.run,
		ConsecutiveOpenings: b.openings,
		LastError:           b.lastError,
		LastStateChange:     ph.since.UTC(),
	}
	if ph.state == Open {
		s.SecondsUntilRetry = max(0, time.Until(ph.retryAt).Seconds())
	}
	m := &s.Metrics
	m.SuccessfulRequests = b.succeeded.Load()
	m.FailedRequests = b.failed.Load()
	m.NeutralRequests = b.neutral.Load()
	m.RejectedRequests = b.rejected.Load()
	m.TotalRequests = m.SuccessfulRequests + m.FailedRequests + m.NeutralRequests + m.RejectedRequests
	m.SuccessRate = rate(m.SuccessfulRequests, m.SuccessfulRequests+m.FailedRequests)
	m.RecoveryAttempts = b.moves[Open][HalfOpen]
	m.RecoverySuccesses = b.recoveries
	m.RecoverySuccessRate = rate(m.RecoverySuccesses, m.RecoveryAttempts)
	m.StateTransitions = StateTransitions{
		ClosedToOpen:     b.moves[Closed][Open],
		OpenToHalfOpen:   b.moves[Open][HalfOpen],
		HalfOpenToClosed: b.moves[HalfOpen][Closed],
		HalfOpenToOpen:   b.moves[HalfOpen][Open],
	}
	return s
}

func rate(part, whole int64) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}
