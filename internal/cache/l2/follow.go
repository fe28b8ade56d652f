package l2

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

const (
	listenFor   = time.Second // for clears, before it is looked whether Redis is the same
	betweenLost = 200 * time.Millisecond
)

// Run keeps the tier in use until ctx ends: it listens to the clears of others,
// writes what was put, and tries anew what has failed.
func (t *Tier) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		t.write(ctx)
		t.Close() // which ends the listening
	})
	wg.Go(func() { t.follow(ctx) })
	wg.Wait()
	return nil
}

// follow is the one place where a breaker that is not closed is tried.
func (t *Tier) follow(ctx context.Context) {
	defer t.synced.Store(false)
	for ctx.Err() == nil {
		permit, err := t.breaker.Allow()
		if open, ok := errors.AsType[*resilience.OpenError](err); ok {
			t.synced.Store(false) // nobody listens while this sleeps
			sleep(ctx, open.RetryAfter)
			continue
		}
		took, err := t.sync(ctx)
		switch {
		case err != nil: // a reply that is not as asked for is as bad as none here
			permit.Report(resilience.Failure, t.explain(err))
		case took > t.opts.Timeout: // so that a slow Redis comes to be left alone, and stays so
			permit.Report(resilience.Failure, fmt.Sprintf("%s took %s to answer", t.client.Options().Addr, took.Round(time.Millisecond)))
			err = t.listen(ctx)
		default:
			permit.Report(resilience.Success, "")
			t.poke() // what waits may be told now
			err = t.listen(ctx)
		}
		if err != nil {
			t.failed(err)
			t.synced.Store(false)
			sleep(ctx, betweenLost)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// sync learns which clears there were, and how long a call takes that does what a
// lookup does.
func (t *Tier) sync(ctx context.Context) (took time.Duration, err error) {
	if !t.synced.Load() { // a connection is made first, which may take longer
		if err := t.call(ctx, dialTimeout, func(ctx context.Context) error { return t.client.Ping(ctx).Err() }); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	fresh := rand.Text()
	var made *redis.BoolCmd
	var current *redis.StringCmd
	err = t.call(ctx, dialTimeout, func(ctx context.Context) error {
		pipe := t.client.Pipeline()
		made = pipe.SetNX(ctx, prefix+"epoch", fresh, 0)
		current = pipe.Get(ctx, prefix+"epoch")
		_, err := pipe.Exec(ctx)
		return err
	})
	took = time.Since(start)
	if err != nil || t.synced.Load() && current.Val() == t.Position().epoch {
		return took, err
	}
	t.synced.Store(false)
	return took, t.call(ctx, writeTimeout, func(ctx context.Context) error { return t.load(ctx, current.Val(), fresh, made.Val()) })
}

// load reads the stream. One that is not there although there is an epoch was
// lost, and so is what it said: that begins another epoch.
func (t *Tier) load(ctx context.Context, epoch, fresh string, begin bool) error {
	if !begin {
		n, err := t.client.Exists(ctx, prefix+"clears").Result()
		if err != nil {
			return err
		}
		if begin = n == 0; begin {
			epoch = fresh
			if err := t.client.Set(ctx, prefix+"epoch", epoch, 0).Err(); err != nil {
				return err
			}
		}
	}
	if begin {
		if err := t.client.XAdd(ctx, t.entry(fieldBegin, epoch)).Err(); err != nil {
			return err
		}
	}
	messages, err := t.client.XRange(ctx, prefix+"clears", "-", "+").Result()
	if err != nil {
		return err
	}
	entries := parseStream(messages)
	if len(entries) == 0 {
		return fmt.Errorf("%sclears is empty", prefix)
	}
	t.mu.Lock()
	todo := t.clears.load(epoch, entries, t.self)
	t.publish()
	t.mu.Unlock()
	t.do(todo)
	t.synced.Store(true)
	return nil
}

// entry is one for the stream.
func (t *Tier) entry(field, value string) *redis.XAddArgs {
	return &redis.XAddArgs{
		Stream: prefix + "clears", MaxLen: keptClears, Approx: true, Values: []string{field, value, fieldBy, t.self},
	}
}

// listen waits for the next clears, for a while, and does them.
func (t *Tier) listen(ctx context.Context) error {
	t.mu.Lock()
	from := t.clears.seen
	t.mu.Unlock()
	var streams []redis.XStream
	err := t.call(ctx, listenFor+writeTimeout, func(ctx context.Context) (err error) {
		streams, err = t.client.XRead(ctx, &redis.XReadArgs{Streams: []string{prefix + "clears", from.String()}, Block: listenFor}).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range streams {
		var todo []string
		t.mu.Lock()
		for _, e := range parseStream(s.Messages) {
			todo = t.clears.take(e, t.self, todo)
		}
		t.publish()
		t.mu.Unlock()
		t.do(todo)
	}
	return nil
}

func (t *Tier) do(todo []string) {
	for _, model := range todo {
		t.opts.Clear(model)
		t.counts.heard.Add(1)
	}
}

// publish sets the position for questions that begin from now on. The caller holds
// the lock.
func (t *Tier) publish() {
	t.position.Store(&Position{epoch: t.clears.epoch, at: t.clears.latest})
}

func (t *Tier) call(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}
