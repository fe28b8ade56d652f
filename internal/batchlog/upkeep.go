package batchlog

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/batchlog/spool"
)

// housekeep does, between batches, what is due: records to try again, retention,
// and a word about a disk that fails.
func (l *Log) housekeep(ctx context.Context) {
	st := l.queue.Stats()
	if st.WriteErrors > l.spoolFails {
		l.log.Error("the spool's disk refuses conversations; those that it refused are lost", "errors", st.WriteErrors-l.spoolFails, "error", st.LastError)
		l.spoolFails = st.WriteErrors
	}
	if l.failures > 0 || ctx.Err() != nil {
		return // the sink is not to be had
	}
	if l.aside.exists() {
		l.retryAside(ctx)
	}
	l.retire(ctx)
}

// reconcile makes the counters agree with the file of what is set aside: a crash
// may have come between a record that left there and the note of it.
func (l *Log) reconcile(ctx context.Context) {
	counted := l.queue.Stats().SetAside
	if counted == 0 {
		return
	}
	there, _, err := l.aside.size(ctx)
	if err == nil && uint64(there) < counted {
		err = l.queue.Settle(spool.Settlement{Retried: counted - uint64(there)})
	}
	if err != nil {
		l.log.Warn("what is set aside cannot be counted", "error", err)
	}
}

// retryAside tries again what somebody marked. What is refused once more stays.
func (l *Log) retryAside(ctx context.Context) {
	records, err := l.aside.marked(ctx, l.cfg().BatchSize)
	for _, r := range records {
		if err = l.retryOne(ctx, r); err != nil {
			break
		}
	}
	if err != nil && ctx.Err() == nil {
		l.log.Warn("what was set aside cannot be tried again now", "error", err)
	}
}

func (l *Log) retryOne(ctx context.Context, r asideRecord) error {
	var e spool.Entry
	id, err := uuid.Parse(r.id)
	if err != nil {
		return l.aside.refused(ctx, r.seq, err)
	}
	e.ID, e.Payload = id, r.payload
	row, err := readPayload(e, l.instance)
	if err != nil {
		return l.aside.refused(ctx, r.seq, err)
	}
	attempt, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = l.sink.store(attempt, []*Conversation{row})
	if commitErr := l.sink.commit(attempt); err == nil {
		err = commitErr
	}
	if err != nil {
		if l.sink.judge(err) == poison {
			return l.aside.refused(ctx, r.seq, err)
		}
		return err
	}
	if err := l.aside.remove(ctx, r.seq); err != nil {
		return err
	}
	l.metrics.inserted.Inc()
	if l.queue.Stats().SetAside == 0 { // the spool lost its count of them
		return nil
	}
	return l.queue.Settle(spool.Settlement{Retried: 1})
}

// retire deletes what retention does not keep, in some steps at a time so that
// records never wait for long.
func (l *Log) retire(ctx context.Context) {
	keep := l.cfg().Retention
	if keep.MaxAge <= 0 && keep.MaxBytes <= 0 || time.Now().Before(l.retireAt) {
		return
	}
	own := 0
	more := true
	var err error
	for range retireSteps {
		attempt, cancel := context.WithTimeout(ctx, storeTimeout)
		var n int
		n, more, err = l.sink.retire(attempt, keep, time.Now())
		cancel()
		own += n
		if err != nil || !more {
			break
		}
	}
	if own > 0 {
		l.metrics.retired.Add(float64(own))
		if err := l.queue.Settle(spool.Settlement{Retired: uint64(own)}); err != nil {
			l.log.Warn("the spool cannot note what was deleted", "error", err)
		}
	}
	if err != nil && ctx.Err() == nil {
		l.log.Warn("old conversations cannot be deleted", "error", err)
	}
	if err != nil || !more {
		l.retireAt = time.Now().Add(retireEvery)
	}
}
