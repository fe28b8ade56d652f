package batchlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/batchlog/spool"
)

const (
	lastFlush     = 5 * time.Second  // what is spent on the rest when the log ends
	storeTimeout  = 30 * time.Second // of one attempt
	firstDelay    = 100 * time.Millisecond
	longestDelay  = 30 * time.Second
	maxBatchBytes = 8 << 20
	together      = time.Second // under load, of what goes in at once
	togetherBytes = 256 << 10   // likewise, of what is read at once beyond a batch
	retireEvery   = time.Minute
	retireSteps   = 20 // between two batches
)

// ErrNotRunning says that nothing is flushed, since Run does not run.
var ErrNotRunning = errors.New("the log is not running")

type flushed struct{ flushed, remaining int }

// Run moves records from the spool to the sink until ctx ends, then spends at
// most five seconds on those that are left; what is left then stays spooled for
// the next start. It is called once.
func (l *Log) Run(ctx context.Context) error {
	spooling, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	var spoolErr error
	wg.Go(func() { spoolErr = l.queue.Run(spooling) })
	l.mu.Lock()
	l.running = true
	l.mu.Unlock()
	l.reconcile(ctx)
	l.work(ctx) // what the last run left has waited for long enough
	for l.await(ctx) {
		l.work(ctx)
		l.housekeep(ctx)
	}
	l.mu.Lock()
	l.running = false
	l.mu.Unlock()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer cancel()
	l.work(last)
	stop()
	wg.Wait()
	return errors.Join(spoolErr, l.queue.Close(), l.sink.close(), l.aside.close())
}

// Flush has all that is spooled now tried at once, and returns when that was
// done: how many records left, and how many are waiting.
func (l *Log) Flush(ctx context.Context) (gone, remaining int, err error) {
	done := make(chan flushed, 1)
	l.mu.Lock()
	if !l.running {
		l.mu.Unlock()
		return 0, int(l.queue.Stats().Spooled), ErrNotRunning
	}
	l.waiting = append(l.waiting, done)
	if l.interrupt != nil {
		l.interrupt()
	}
	l.mu.Unlock()
	select {
	case f := <-done:
		return f.flushed, f.remaining, nil
	case <-ctx.Done():
		return 0, int(l.queue.Stats().Spooled), context.Cause(ctx)
	}
}

// await returns when a batch is due: enough records wait, or some have waited
// for long enough, or somebody asked for it; after a failure, when it is time to
// try again. Where records come fast, what comes within a moment goes in together:
// a transaction of hundreds costs each of them less. It reports false when ctx has
// ended.
func (l *Log) await(ctx context.Context) bool {
	pause := l.cfg().FlushInterval
	if l.failures > 0 {
		pause = l.delay
	}
	wait, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	l.mu.Lock()
	asked := len(l.waiting) > 0
	l.interrupt = cancel
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.interrupt = nil
		l.mu.Unlock()
	}()
	switch {
	case asked:
	case l.failures > 0:
		<-wait.Done()
	default:
		// It ends with the time, with a flush, or with enough records: all are due.
		_ = l.queue.Wait(wait, min(l.cfg().BatchSize, l.cfg().MaxQueueSize))
		moment, end := context.WithDeadline(wait, l.worked.Add(together))
		defer end()
		_ = l.queue.Wait(moment, l.cfg().MaxQueueSize)
	}
	return ctx.Err() == nil
}

// work tries all that is spooled, and tells those who asked for it.
func (l *Log) work(ctx context.Context) {
	l.mu.Lock()
	asked := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	l.worked = time.Now()
	n := l.drain(ctx)
	for _, done := range asked {
		done <- flushed{n, int(l.queue.Stats().Spooled)}
	}
}

// group is what is stored between two commits: some batches, each of which was read
// and let go by itself.
type group struct {
	began time.Time
	last  uint64 // sequence number
	n     int    // of records
	bytes int
	spool.Outcome
}

// drain stores what is there when it begins, or until that fails.
func (l *Log) drain(ctx context.Context) (done int) {
	pending := int(l.queue.Stats().Spooled)
	for done < pending && ctx.Err() == nil {
		n, err := l.storeGroup(ctx, pending-done)
		done += n
		if err != nil {
			if err := l.queue.Rewind(); err != nil {
				l.log.Error("the spool cannot be read again from where the batch began", "error", err)
			}
			l.failed(ctx, err, l.sink.judge(err))
			return done
		}
		if n == 0 {
			return done
		}
		l.succeeded()
	}
	return done
}

// storeGroup stores up to so many records with one commit, and acknowledges those
// that it is done with: all, unless it fails. It is done with none if there are none.
func (l *Log) storeGroup(ctx context.Context, waiting int) (done int, err error) {
	g := group{began: time.Now()}
	limit := min(waiting, max(l.cfg().MaxQueueSize, l.cfg().BatchSize))
	for err == nil && g.n < limit && g.bytes < maxBatchBytes && ctx.Err() == nil {
		var entries []spool.Entry
		if entries, err = l.queue.Read(l.atOnce(limit-g.n), maxBatchBytes); len(entries) == 0 {
			break
		}
		err = l.batch(ctx, &g, entries)
	}
	if g.n == 0 && err == nil {
		return 0, nil
	}
	attempt, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if commitErr := l.sink.commit(attempt); commitErr != nil {
		if g.n = 0; err == nil {
			err = commitErr
		}
		g.Outcome = spool.Outcome{}
	}
	if g.n > 0 {
		if ackErr := l.queue.Ack(g.last, g.Outcome); ackErr != nil {
			// The records may come again after a crash, which does no harm.
			l.log.Warn("the spool cannot note what was stored", "error", ackErr)
		}
	}
	l.count(g.n, g.Outcome, err, time.Since(g.began))
	return g.n, err
}

// atOnce is how many of the records that wait are read together: a batch, or more as
// long as they take little memory, going by those before.
func (l *Log) atOnce(waiting int) int {
	batch := min(l.cfg().BatchSize, waiting)
	if l.recordBytes == 0 {
		return batch
	}
	return max(batch, min(waiting, togetherBytes/l.recordBytes))
}

// failed plans the next attempt: twice as late each time, and not when everyone
// else tries.
func (l *Log) failed(ctx context.Context, err error, v verdict) {
	if ctx.Err() != nil {
		return // it was us who ended it
	}
	delay := min(longestDelay, firstDelay<<min(l.failures, 20))
	l.delay = delay/2 + rand.N(delay/2)
	l.failures++
	l.mu.Lock()
	l.tally.trouble = err.Error()
	l.mu.Unlock()
	report := l.log.Warn
	if v == wrong {
		report = l.log.Error
	}
	report("conversations cannot be stored; they stay in the spool, and are tried again", "sink", l.sink.name(), "error", err,
		"attempt", l.failures, "next_in_ms", l.delay.Milliseconds(), "spooled", l.queue.Stats().Spooled)
}

func (l *Log) succeeded() {
	if l.failures == 0 {
		return
	}
	l.failures = 0
	l.mu.Lock()
	l.tally.trouble = ""
	l.mu.Unlock()
	l.log.Info("conversations are stored again", "sink", l.sink.name(), "spooled", l.queue.Stats().Spooled)
}

// item is one record on its way.
type item struct {
	entry spool.Entry
	row   *Conversation // nil if it cannot be read
	err   error         // why it is set aside
}

// batch stores records, in order, as part of a group.
func (l *Log) batch(ctx context.Context, g *group, entries []spool.Entry) error {
	items := make([]item, len(entries))
	size := 0
	for i, e := range entries {
		size += len(e.Payload)
		items[i].entry = e
		items[i].row, items[i].err = readPayload(e, l.instance)
	}
	l.recordBytes = size / len(entries)
	done, err := l.store(ctx, items)
	for i := range items[:done] {
		switch it := &items[i]; {
		case it.err != nil:
			g.SetAside++
		case it.row.Revision > 0:
			g.Amended++
		}
	}
	if done > 0 {
		g.last = entries[done-1].Seq
	}
	g.n += done
	g.bytes += size
	return err
}

// readPayload reads a record. A reader that fails on what somebody sent must not
// stop those behind it.
func readPayload(e spool.Entry, instance string) (row *Conversation, err error) {
	defer func() {
		if p := recover(); p != nil {
			row, err = nil, fmt.Errorf("reading the record failed: %v", p)
		}
	}()
	return parsePayload(uuid.UUID(e.ID), e.Payload, instance)
}

// store puts the items into the sink. Where the sink refuses one for its
// content it is found by halving, and set aside. On another error store stops,
// and is done with those before.
func (l *Log) store(ctx context.Context, items []item) (done int, err error) {
	rows := rowsOf(items)
	if len(rows) > 0 {
		attempt, cancel := context.WithTimeout(ctx, storeTimeout)
		err = l.sink.store(attempt, rows)
		cancel()
	}
	switch {
	case err == nil:
		for i := range items {
			if items[i].row == nil {
				if err := l.setAside(ctx, &items[i], items[i].err); err != nil {
					return i, err
				}
			}
		}
		return len(items), nil
	case l.sink.judge(err) != poison:
		return 0, err
	case len(items) == 1:
		if err := l.setAside(ctx, &items[0], err); err != nil {
			return 0, err
		}
		return 1, nil
	}
	half := len(items) / 2
	if done, err = l.store(ctx, items[:half]); err != nil {
		return done, err
	}
	done, err = l.store(ctx, items[half:])
	return half + done, err
}

// rowsOf returns the rows of items with different ids: a record and what amends
// it are one.
func rowsOf(items []item) []*Conversation {
	rows := make([]*Conversation, 0, len(items))
	var at map[string]int
	for i := range items {
		row := items[i].row
		if row == nil {
			continue
		}
		if at == nil {
			at = make(map[string]int, len(items))
		}
		if j, ok := at[row.ID]; ok {
			merged := *rows[j]
			merged.amend(row)
			rows[j] = &merged
			continue
		}
		at[row.ID] = len(rows)
		rows = append(rows, row)
	}
	return rows
}

func (l *Log) setAside(ctx context.Context, it *item, why error) error {
	id := uuid.UUID(it.entry.ID).String()
	discarded, err := l.aside.put(ctx, it.entry.Seq, id, it.entry.Payload, why)
	if discarded > 0 {
		err = errors.Join(err, l.queue.Settle(spool.Settlement{Discarded: uint64(discarded)}))
	}
	if err != nil {
		return err
	}
	it.err = why
	l.log.Error("the sink will not take a conversation; it is set aside, see `vega-proxy logs set-aside`", "id", id)
	return nil
}
