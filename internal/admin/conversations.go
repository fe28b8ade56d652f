package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// logTimeout is how long a request waits for the conversation log's sink.
const logTimeout = 30 * time.Second

// Log is the conversation log. What it is asked and what it returns may hold
// prompts, so neither is ever logged here.
type Log interface {
	// Stats returns the counts as a value for encoding/json.
	Stats() any
	// Flush has what waits for the sink tried now and returns, once it was or
	// ctx has ended, how many conversations went in and how many still wait. On
	// an error the sink refused, or was not done in time; both numbers hold all
	// the same.
	Flush(ctx context.Context) (flushed, remaining int, err error)
	// Conversations searches, newest first. q is the request's query as it came:
	// which parameters there are and what they may be is the log's to say, with
	// a *BadQuery. It returns a list for encoding/json, which is never null
	// there, and the cursor behind its last one, "" where there are no more.
	Conversations(ctx context.Context, q url.Values) (found any, next string, err error)
}

// BadQuery is the error of a search that can have no answer. Message says to a
// person which parameter is wrong and what it may be.
type BadQuery struct{ Message string }

func (e *BadQuery) Error() string { return e.Message }

func badQuery(message string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "bad_query", message: message}
}

// query is r.URL.Query, but refuses what that leaves out without a word: a
// search or a change must not go further than it was meant to.
func query(r *http.Request) (url.Values, *refusal) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badQuery("the query cannot be read: " + err.Error())
	}
	return q, nil
}

func (s *Server) logStats(*http.Request) (any, *refusal) {
	return s.parts.Log.Stats(), nil
}

// flushLog keeps the error's text out of its answer, which is logged: a
// database may quote what it refuses.
func (s *Server) flushLog(r *http.Request) (any, *refusal) {
	ctx, cancel := context.WithTimeout(r.Context(), logTimeout)
	defer cancel()
	flushed, remaining, err := s.parts.Log.Flush(ctx)
	done := map[string]int{"flushed": flushed, "remaining": remaining}
	if err != nil {
		reason := "the sink refused"
		if ctx.Err() != nil {
			reason = "the sink was not done while this request waited"
		}
		return nil, &refusal{status: http.StatusServiceUnavailable, code: "flush_failed", beside: done,
			message: fmt.Sprintf("%s: flushed %d, remaining %d; these stay in the spool and are tried again; sink_error in GET /admin/performance/batch/conversation-logger/stats says more", reason, flushed, remaining)}
	}
	return done, nil
}

func (s *Server) conversations(r *http.Request) (any, *refusal) {
	q, ref := query(r)
	if ref != nil {
		return nil, ref
	}
	ctx, cancel := context.WithTimeout(r.Context(), logTimeout)
	defer cancel()
	found, next, err := s.parts.Log.Conversations(ctx, q)
	if bad, ok := errors.AsType[*BadQuery](err); ok {
		return nil, badQuery(bad.Message)
	}
	if err != nil {
		message := "the conversations could not be searched: " + err.Error()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			message = fmt.Sprintf("the search took longer than %v; narrow it with since, until, session or model", logTimeout)
		}
		return nil, &refusal{status: http.StatusServiceUnavailable, code: "search_failed", message: message}
	}
	var cursor *string // null at the end
	if next != "" {
		cursor = &next
	}
	return struct {
		Conversations any     `json:"conversations"`
		NextCursor    *string `json:"next_cursor"`
	}{found, cursor}, nil
}

// timing answers null for what is not known any more: that is no mistake of who
// asks.
func (s *Server) timing(r *http.Request) (any, *refusal) {
	timing, _ := s.parts.Timing(pathParam(r, "id"))
	return map[string]any{"timing": timing}, nil
}
