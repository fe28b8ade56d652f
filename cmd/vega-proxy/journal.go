package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/batchlog"
)

// openJournal opens the conversation log, if there is to be one.
func (a *app) openJournal() error {
	if !a.cfg.Batchlog.Enabled {
		return nil
	}
	instance, err := batchlog.Instance(a.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("the conversation log: %w", err)
	}
	a.journal, err = batchlog.New(a.cfg.Batchlog, a.cfg.DataDir, instance, a.log, a.reg)
	if err != nil {
		return fmt.Errorf("the conversation log: %w", err)
	}
	a.losses.count = a.journal.Stats().Dropped // those of earlier processes are no news
	return nil
}

// conversations shows the conversation log to the admin API.
type conversations struct{ *batchlog.Log }

func (c conversations) Stats() any { return c.Log.Stats() }

// Flush fails if the sink refused what was tried.
func (c conversations) Flush(ctx context.Context) (flushed, remaining int, err error) {
	flushed, remaining, err = c.Log.Flush(ctx)
	if trouble := c.Log.Stats().SinkError; err == nil && remaining > 0 && trouble != "" {
		err = errors.New(trouble)
	}
	return flushed, remaining, err
}

func (c conversations) Conversations(ctx context.Context, values url.Values) (any, string, error) {
	q, err := conversationQuery(values)
	if err != nil {
		return nil, "", &admin.BadQuery{Message: err.Error()}
	}
	brief, err := yes(values.Get("brief"))
	if err != nil {
		return nil, "", &admin.BadQuery{Message: "brief: " + err.Error()}
	}
	found, next, err := c.Log.Conversations(ctx, q)
	if errors.Is(err, batchlog.ErrQuery) {
		return nil, "", &admin.BadQuery{Message: err.Error()}
	}
	if brief {
		for i := range found {
			shorten(&found[i])
		}
	}
	if found == nil {
		found = []batchlog.Conversation{} // a list, also in JSON
	}
	return found, next, err
}

// queryNames are the parameters of a search.
var queryNames = []string{"id", "q", "session", "model", "outcome", "since", "until", "limit", "cursor", "brief"}

// briefText is how many characters of a text a brief answer keeps.
const briefText = 200

// shorten leaves of a conversation what a list of them shows.
func shorten(c *batchlog.Conversation) {
	c.Prompt, c.Answer, c.Error = beginning(c.Prompt), beginning(c.Answer), beginning(c.Error)
	c.Reasoning = ""
	c.Messages, c.Params, c.ToolCalls, c.Choices = nil, nil, nil, nil
}

func beginning(text string) string {
	n := 0
	for i := range text {
		if n++; n > briefText {
			return text[:i]
		}
	}
	return text
}

func yes(text string) (bool, error) {
	switch text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

func conversationQuery(values url.Values) (q batchlog.Query, err error) {
	for name := range values {
		if !slices.Contains(queryNames, name) {
			return q, fmt.Errorf("there is no parameter %q; there are %s", name, strings.Join(queryNames, ", "))
		}
	}
	q = batchlog.Query{
		ID:      values.Get("id"),
		Text:    values.Get("q"),
		Session: values.Get("session"),
		Model:   values.Get("model"),
		Outcome: values.Get("outcome"),
		Cursor:  values.Get("cursor"),
	}
	if limit := values.Get("limit"); limit != "" {
		if q.Limit, err = strconv.Atoi(limit); err != nil || q.Limit < 1 || q.Limit > 500 {
			return q, fmt.Errorf("limit %q is no number from 1 to 500", limit)
		}
	}
	now := time.Now()
	if q.Since, err = moment(values.Get("since"), now); err != nil {
		return q, fmt.Errorf("since: %w", err)
	}
	if q.Until, err = moment(values.Get("until"), now); err != nil {
		return q, fmt.Errorf("until: %w", err)
	}
	return q, nil
}

// moment reads a time, or a duration back from now; "" is the zero time.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(text, "-")); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-01-31T10:00:00Z nor a duration back from now such as 24h", text)
}
