package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 64 << 10
	// writeTimeout is for one answer, with what the longest wait for one leaves
	// to write it; a profile extends its own by the seconds it was asked for.
	// There is no read timeout beside it, because net/http ends a request's
	// context with it: limited bounds bodies instead.
	writeTimeout = logTimeout + 10*time.Second
	// stopGrace is how long answers under way may take once the server is to stop.
	stopGrace = 5 * time.Second
)

// Run serves Handler on ln until ctx ends, gives answers under way five
// seconds, cuts off the rest, and returns when the last of its goroutines has
// ended. It closes ln, and returns an error only when ln failed. It may be called
// once.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() { s.feed.run(ctx) })
	defer looking.Wait()
	defer stop()
	return serve(ctx, ln, s.Handler(), s.log)
}

// RunMetrics is Run for MetricsHandler.
func (s *Server) RunMetrics(ctx context.Context, ln net.Listener) error {
	return serve(ctx, ln, s.MetricsHandler(), s.log)
}

func serve(ctx context.Context, ln net.Listener, handler http.Handler, log *slog.Logger) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// Neither Shutdown nor Close waits for the last handlers, so connections
	// are counted: the server says "new" before Serve can return, and "closed"
	// after the connection's last handler has.
	var conns sync.WaitGroup
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// OPTIONS * goes by the guard like everything else.
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
	}

	failed := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { failed <- srv.Serve(ln) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("admin: serving on %s: %w", ln.Addr(), err)
	}
	grace, stop := context.WithTimeout(base, stopGrace)
	defer stop()
	if shutdownErr := srv.Shutdown(grace); errors.Is(shutdownErr, context.DeadlineExceeded) {
		log.Warn("admin answers cut off at the end", "grace", stopGrace)
	}
	cancel()
	srv.Close() // its error is the listener's, which Shutdown has closed already
	serving.Wait()
	conns.Wait()
	return err
}
