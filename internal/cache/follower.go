package cache

import (
	"context"

	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// Follower is a request that waits for the answer to another's. It is for one
// goroutine. Close ends it, also after Again.
type Follower struct {
	fl    *flight
	ctx   context.Context // its client's
	query Query
	head  chan struct{} // closed when what follows is set

	// Guarded by the cache's mutex until head is closed.
	attempt int
	reader  *stream.Reader
	err     error
	left    bool
}

// attach gives the follower its reader, unless the beginning of the answer is gone.
func (f *Follower) attach() (ok bool) {
	f.reader, ok = f.fl.rec.Reader(f.ctx)
	return ok
}

// Answer waits for the first bytes of the answer, or for the end of one without
// any. The head is shared, and must not be changed; the reader gives the body.
// Nothing of the answer should be sent before, so that a failure can be mended.
//
// The error is ErrAgain if the request that was waited for came to nothing: call
// Again. It is the cause of the client's own context if that ended. Any other is
// the one that the leader gave to Fail, and this request's own now. Once Answer
// has returned a reader, an error that ends it is this request's end.
func (f *Follower) Answer() (*Answer, *stream.Reader, error) {
	select {
	case <-f.head:
	case <-f.ctx.Done():
		return nil, nil, context.Cause(f.ctx)
	}
	c := f.fl.c
	if f.err != nil {
		return nil, nil, f.err
	}
	if err := f.reader.Wait(); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	failed := f.fl.err != nil
	c.mu.Unlock()
	if failed && f.attempt == once {
		f.attempt = twice
		return nil, nil, ErrAgain
	}
	return &f.fl.answer, f.reader, nil
}

// Again leaves the flight that failed and begins anew. Those who do so at the
// same time share one flight, whose failure is everybody's.
func (f *Follower) Again() Turn {
	f.Close()
	return f.fl.c.begin(f.ctx, f.query, f.attempt)
}

// Close leaves the flight. It may be called twice.
func (f *Follower) Close() {
	c := f.fl.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.left {
		return
	}
	f.left = true
	if f.reader != nil {
		f.reader.Close()
	}
	f.fl.leave()
}
