package wire

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// source is the request's body as net/http reads it.
type source struct {
	r       *Request
	x       *stdExchange
	sent    int // of Body
	trailer http.Header
	failed  atomic.Pointer[error] // of Stream
	touched atomic.Bool
	once    sync.Once
	done    chan struct{} // closed when net/http has let go of it
}

func (s *source) Read(p []byte) (int, error) {
	if s.r.Stream == nil {
		n := copy(p, s.r.Body[s.sent:])
		if s.sent += n; s.sent == len(s.r.Body) {
			return n, io.EOF
		}
		return n, nil
	}
	s.touched.Store(true)
	s.x.watch.pause(false) // how long the source takes is not the backend's fault
	n, err := s.r.Stream.Read(p)
	s.x.watch.start(timeoutFirstByte, s.x.t.cfg.FirstByteTimeout)
	switch {
	case err == nil:
	case err != io.EOF:
		err = &sourceError{err}
		s.failed.Store(&err)
	case s.trailer != nil:
		for name, values := range s.r.Trailer() {
			if name = http.CanonicalHeaderKey(name); s.announced(name) {
				s.trailer[name] = values
			}
		}
	}
	return n, err
}

func (s *source) announced(name string) bool {
	_, ok := s.trailer[name]
	return ok
}

func (s *source) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// settle waits up to grace for net/http to be done with the body, then makes it
// so, and tells whether it was done before.
func (s *source) settle(grace time.Duration, cancel func()) bool {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-s.done:
		return true
	case <-timer.C:
	}
	cancel()
	if s.r.Stream != nil {
		if s.r.StopStream == nil {
			return false
		}
		s.r.StopStream()
	}
	<-s.done
	return false
}
