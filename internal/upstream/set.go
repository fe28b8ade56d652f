package upstream

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// Set is all upstreams of a configuration, in its order. It is safe for
// concurrent use.
type Set struct {
	upstreams    []*Upstream
	retry        resilience.RetryConfig
	budget       *resilience.RetryBudget
	leastBusy    bool
	metrics      *Metrics
	onTransition func(resilience.Transition)
	loop         *poll.Loop
}

// NewSet builds the upstreams. It connects to none of them. The loop, which may
// be nil, reads answers for those who wait for them; see [wire.Config].
func NewSet(
	cfgs []Config, retry resilience.RetryConfig, balance string, m *Metrics, onTransition func(resilience.Transition), loop *poll.Loop,
) (*Set, error) {
	first := &Set{budget: resilience.NewRetryBudget(retry.BudgetPercent), metrics: m, onTransition: onTransition, loop: loop}
	s, err := first.Next(cfgs, retry, balance)
	if err != nil {
		return nil, err
	}
	s.Replace(first)
	return s, nil
}

// All returns the upstreams in configured order.
func (s *Set) All() []*Upstream { return s.upstreams }

// Close drops idle connections; answers in flight go on.
func (s *Set) Close() {
	for _, u := range s.upstreams {
		u.transport.Close()
	}
}

// Do finds an upstream for the call, asks it, and asks another where the first
// failed and the call may be repeated. The error is an *Error, or the cause of
// ctx's end if that came first.
func (s *Set) Do(ctx context.Context, c *Call) (*Answer, error) {
	serving := s.serving(c.Model)
	if len(serving) == 0 {
		return nil, &Error{Code: NoUpstream, Message: fmt.Sprintf("no upstream serves the model %.200q", c.Model)}
	}
	s.budget.Request()
	l, err := acquire(ctx, c, serving, true)
	if err != nil {
		return nil, err
	}
	home := serving[0].origin
	if s.leastBusy { // equals among each other: the first one asked is as good a home as any
		home = l.up.origin
	}
	var tried []*Upstream
	var answer *Answer
	given := false
	defer func() {
		if answer != nil && !given { // the client has gone, or a func of the call's panics
			answer.End(resilience.Neutral, "")
		}
	}()
	for n := 1; ; n++ {
		var failure *Error
		if answer, failure = l.up.send(ctx, c, l, home); answer != nil {
			answer.Attempts = n
		} else {
			failure.Attempts = n
		}
		tried = append(tried, l.up)
		next, again := lease{}, false
		if n < s.retry.MaxAttempts && ctx.Err() == nil {
			next, again = s.again(ctx, c, serving, tried, answer, failure)
		}
		switch {
		case ctx.Err() != nil:
			if again {
				next.giveBack()
			}
			return nil, context.Cause(ctx)
		case again:
			l = next
		case answer != nil:
			given = true
			return answer, nil
		default:
			return nil, failure
		}
	}
}

// Refuses tells whether no upstream for the model may be asked now, since their
// breakers are all open. It counts nothing.
func (s *Set) Refuses(model string) bool {
	serving := false
	for _, u := range s.upstreams {
		if !u.cfg.Serves(model) {
			continue
		}
		if serving = true; !u.breaker.Refuses() {
			return false
		}
	}
	return serving
}

// Refuse is what Do does where Refuses holds, for less; else it returns nil. It
// tells of each upstream that refused, unless tell is nil.
func (s *Set) Refuse(model string, tell func(*Upstream)) *Error {
	if !s.Refuses(model) {
		return nil
	}
	s.budget.Request()
	refused := refusal{tell: tell}
	for _, u := range s.upstreams {
		if !u.cfg.Serves(model) {
			continue
		}
		no := u.breaker.Refuse()
		if no == nil {
			return nil // its time has just come
		}
		refused.open(u, no)
	}
	return refused.explain()
}

// serving lists the upstreams for a model, in the order in which they are asked.
func (s *Set) serving(model string) []*Upstream {
	all := s.upstreams
	if len(all) > 1 || !all[0].cfg.Serves(model) {
		all = slices.DeleteFunc(slices.Clone(all), func(u *Upstream) bool { return !u.cfg.Serves(model) })
	}
	if s.leastBusy {
		slices.SortStableFunc(all, func(a, b *Upstream) int { return a.limiter.InFlight() - b.limiter.InFlight() })
	}
	return all
}

// again decides whether a failed try is followed by another, and takes the
// place for it. What the first try left is then done with.
func (s *Set) again(ctx context.Context, c *Call, serving, tried []*Upstream, answer *Answer, failure *Error) (lease, bool) {
	if c.Retry == RetryNever {
		return lease{}, false
	}
	reason, same := "", c.Retry == RetryAnywhere || s.retry.SameUpstream
	outcome, cause := resilience.Neutral, ""
	switch {
	case failure != nil && unsent(failure):
		reason, same = retryUnsent, false // a dead upstream is not knocked at twice
	case c.Retry == RetryUnsent || c.Stream != nil:
		return lease{}, false
	case failure != nil:
		reason = retryBroke
	default:
		reason = retryStatus(answer.Status)
		if reason == "" {
			return lease{}, false
		}
		var body []byte
		if answer.Status == http.StatusServiceUnavailable && (same || len(serving) > 1) {
			// Busy, loading or dead: the body tells. It is put back for the
			// client, should the answer be passed on after all.
			body = answer.peek()
		}
		outcome, cause = c.Judge(answer.Upstream, answer.Status, body), "status "+strconv.Itoa(answer.Status)
		if outcome == resilience.Neutral {
			same = false // to ask a busy server again only lengthens its queue
		}
	}
	others := slices.DeleteFunc(slices.Clone(serving), func(u *Upstream) bool { return slices.Contains(tried, u) })
	if len(others) == 0 && !same {
		return lease{}, false
	}
	if reason != retryUnsent && !s.budget.Spend() {
		s.metrics.budgetExhausted.Inc()
		return lease{}, false
	}
	next, err := acquire(ctx, c, others, reason == retryUnsent)
	if err != nil && same {
		next, err = acquire(ctx, c, tried[len(tried)-1:], false)
	}
	if err != nil {
		return lease{}, false
	}
	if answer != nil {
		answer.End(outcome, cause)
	}
	if failed := tried[len(tried)-1]; !failed.gone.Load() {
		s.metrics.retries.WithLabelValues(failed.Name(), reason).Inc()
	}
	if reason != retryUnsent && !sleep(ctx, s.retry.Backoff(len(tried))) {
		next.giveBack()
		return lease{}, false
	}
	return next, true
}

// Why there is another try, besides the statuses of retryStatus.
const (
	retryUnsent = "unsent" // nothing had been sent
	retryBroke  = "broke"
)

var retryReasons = [...]string{retryUnsent, retryBroke, "429", "502", "503", "504"}

// retryStatus names the reason for which a status is worth another try, if it is.
func retryStatus(status int) string {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests:
		return strconv.Itoa(status)
	}
	return ""
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
