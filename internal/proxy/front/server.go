package front

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
)

// Config is what a Server is built from.
type Config struct {
	Handler http.Handler
	// ReadHeaderTimeout bounds a request's head, counted from its first byte, or
	// from the connection's beginning; IdleTimeout the wait for a further
	// request; BodyTimeout the silence between two reads of a body. Each may end
	// up to an eighth late. 0 is no limit.
	ReadHeaderTimeout, IdleTimeout, BodyTimeout time.Duration
	// MaxHead is the longest head in bytes that is plain; 0 and more than 8 KiB
	// mean 8 KiB.
	MaxHead int
	// MaxBody is the longest body in bytes that is plain. It is read whole
	// before the handler runs. 0 leaves all bodies to net/http.
	MaxBody int64
	// BaseContext ends, with its cause, the context of every request; nil is
	// [context.Background].
	BaseContext context.Context
	// ConnContext lets handlers find the connection: its values are those of
	// the requests' contexts. It is called once a connection, with a context
	// that never ends, and must not return one that does. nil adds nothing.
	ConnContext func(ctx context.Context, c net.Conn) context.Context
	// Log gets handlers' mistakes and the listener's troubles; never nil.
	Log *slog.Logger
}

// Server serves plain requests. Its methods may be called at the same time.
type Server struct {
	cfg      Config
	base     context.Context
	fallback *fallback
	date     dateLine

	ended atomic.Bool // the base context has
	done  chan struct{}
	wg    sync.WaitGroup // what Serve started, and its connections

	mu        sync.Mutex // guards the fields below
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	watch     *poll.Loop // nil where there is none, and before Serve
	unhook    func() bool
}

// New returns a server that has not started anything.
func New(cfg Config) *Server {
	if cfg.MaxHead <= 0 || cfg.MaxHead > inputSize {
		cfg.MaxHead = inputSize
	}
	if cfg.BaseContext == nil {
		cfg.BaseContext = context.Background()
	}
	done := make(chan struct{})
	return &Server{
		cfg:       cfg,
		base:      cfg.BaseContext,
		fallback:  newFallback(done),
		done:      done,
		listeners: map[net.Listener]struct{}{},
		conns:     map[*conn]struct{}{},
	}
}

// Fallback is the listener of the connections that are not, or no longer, for
// this server, to be given to [http.Server.Serve]. Each has a method NetConn,
// which returns what the server's own listener had accepted. While nobody
// accepts, they wait. Once it is closed they are closed.
func (s *Server) Fallback() net.Listener { return s.fallback }

// Serve answers on the connections that ln accepts, until ln fails or Close is
// called, which it reports as [http.ErrServerClosed]. Connections outlive it,
// and are waited for by Close. Connections without a system's socket, and all
// where leaving clients cannot be watched, go to the fallback as they are.
func (s *Server) Serve(ln net.Listener) error {
	watch, err := s.start(ln)
	if err != nil {
		return err
	}
	defer s.forget(ln)
	for delay := time.Duration(0); ; {
		nc, err := ln.Accept()
		if err != nil {
			select {
			case <-s.done:
				return http.ErrServerClosed
			default:
			}
			if ne, ok := errors.AsType[net.Error](err); !ok || !temporary(ne) {
				return err
			}
			// Out of descriptors, most likely: some will be free again.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.cfg.Log.Warn("accept a connection", "error", err, "retry_in", delay)
			if !s.sleep(delay) {
				return http.ErrServerClosed
			}
			continue
		}
		delay = 0
		c := newConn(s, nc, watch)
		if !s.track(c) {
			c.close()
			return http.ErrServerClosed
		}
	}
}

// temporary tells whether accepting may work again soon.
func temporary(err net.Error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary() || err.Timeout()
}

func (s *Server) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}

// start notes the listener, and starts with the first one what all need.
func (s *Server) start(ln net.Listener) (*poll.Loop, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		ln.Close() // as the caller's listener is ours from here on
		return nil, http.ErrServerClosed
	}
	s.listeners[ln] = struct{}{}
	if s.unhook != nil {
		return s.watch, nil
	}
	s.unhook = context.AfterFunc(s.base, s.endAll)
	w, err := poll.New(1)
	switch {
	case err == nil:
		s.watch = w
		s.wg.Go(w.Run)
	case !errors.Is(err, errors.ErrUnsupported):
		s.cfg.Log.Warn("leaving clients cannot be watched: net/http serves all connections", "error", err)
	}
	return s.watch, nil
}

func (s *Server) forget(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

// track starts c's goroutine, unless the server is closed.
func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Go(func() {
		c.serve()
		s.untrack(c)
	})
	return true
}

// untrack leaves c to itself.
func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// endAll ends the contexts of all requests in progress with the base context.
func (s *Server) endAll() {
	s.ended.Store(true) // for those that begin from here on
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		c.endRequest(context.Cause(s.base))
	}
}

// Settle waits until no request is being answered, or ctx ends. Handlers return
// before the last bytes of their answers are written, which Close would cut.
func (s *Server) Settle(ctx context.Context) {
	for wait := time.Millisecond; s.answering(); wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// answering tells whether a request has begun and its answer is not written.
func (s *Server) answering() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.mu.Lock()
		busy := c.ctx != nil
		c.mu.Unlock()
		if busy {
			return true
		}
	}
	return false
}

// Close closes the listeners and all connections that were not handed over,
// ends the contexts of their requests, and waits until no handler is left. The
// fallback listener is closed too.
func (s *Server) Close() error {
	conns, err := s.shut()
	for _, c := range conns {
		c.gone()
	}
	s.wg.Wait()
	return err
}

// shut closes everything and returns the connections that were left.
func (s *Server) shut() ([]*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil
	}
	s.closed = true
	close(s.done)
	if s.unhook != nil {
		s.unhook()
	}
	var errs []error
	for ln := range s.listeners {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for c := range s.conns {
		c.nc.Close() // its goroutine finds out
	}
	if s.watch != nil {
		errs = append(errs, s.watch.Close())
	}
	return slices.Collect(maps.Keys(s.conns)), errors.Join(errs...)
}
