package main

import (
	"context"
	"slices"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
)

const (
	followEvery = time.Second
	followBack  = time.Hour // the longest exchange whose end is noticed
	followSlack = 10 * time.Second
)

// follow shows the newest conversations, then looks for others until the context
// ends. The key is made when an exchange begins and the row when it ends, so that
// a long one comes behind the cursor: it is found by its end.
func (l *conversationLog) follow(ctx context.Context, f *logFilter) error {
	q, err := f.query(time.Now())
	if err != nil {
		return misused(l.cmd, err)
	}
	var newest []batchlog.Conversation
	ended := time.Now()
	if err := l.each(ctx, q, f.limit, func(c *batchlog.Conversation) error {
		newest = append(newest, *c)
		return nil
	}); err != nil {
		return err
	}
	slices.Reverse(newest)
	shown := make(map[string]time.Time) // to when each ended
	show := func(c *batchlog.Conversation) error {
		if _, ok := shown[c.ID]; ok {
			return nil
		}
		shown[c.ID] = c.StartedAt.Add(time.Duration(c.Duration * float64(time.Millisecond)))
		q.Cursor = max(q.Cursor, c.ID)
		return l.line(c)
	}
	l.head()
	for i := range newest {
		if err := show(&newest[i]); err != nil {
			return err
		}
	}
	q.OldestFirst = true
	for tick := time.Tick(followEvery); ; {
		if err := l.out.Flush(); err != nil {
			return err
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return nil
		}
		late := q
		late.Cursor = ""
		late.EndedSince = ended.Add(-l.flush - followSlack)
		if back := time.Now().Add(-followBack); back.After(late.Since) {
			late.Since = back
		}
		ended = time.Now()
		for _, q := range []batchlog.Query{late, q} {
			if err := l.each(ctx, q, 0, show); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
		for id, end := range shown {
			if end.Before(late.EndedSince) && id < q.Cursor {
				delete(shown, id)
			}
		}
	}
}
