package wire

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// source is the request's body as net/http reads it: from a goroutine of its
// own, which RoundTrip or the end of the answer may have to wait for.
type source struct {
	r       *Request
	x       *stdExchange
	sent    int64 // of it
	trailer http.Header
	touched atomic.Bool // Stream was read: it cannot be sent again

	mu       sync.Mutex
	reading  bool          // Read is in progress
	ended    bool          // it was read to its end
	unwanted bool          // no further Read
	over     bool          // the exchange has ended: StopStream is out of reach
	failed   *sourceError  // what Stream said, other than to stop
	done     chan struct{} // closed when net/http has let go
	finished bool          // done is closed
}

var errUnwanted = errors.New("the rest of the request is not wanted any more")

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	if s.ended || s.unwanted {
		defer s.mu.Unlock()
		if s.ended { // net/http asks once more behind the last byte
			return 0, io.EOF
		}
		return 0, errUnwanted
	}
	s.reading = true
	s.mu.Unlock()
	n, err := s.read(p)
	s.mu.Lock()
	s.reading = false
	s.ended = err == io.EOF
	if s.unwanted {
		s.finish()
		if !s.ended && err != nil {
			err = errUnwanted
		}
	} else if failed, ok := err.(*sourceError); ok {
		s.failed = failed
	}
	s.mu.Unlock()
	return n, err
}

func (s *source) read(p []byte) (int, error) {
	if s.r.Stream == nil {
		n := copy(p, s.r.Body[s.sent:])
		if s.sent += int64(n); s.sent == int64(len(s.r.Body)) {
			return n, io.EOF
		}
		return n, nil
	}
	s.touched.Store(true)
	s.x.watch.pause(false) // how long the source takes is not the backend's fault
	if s.r.Length >= 0 {
		p = p[:min(int64(len(p)), s.r.Length-s.sent)]
	}
	n, err := s.r.Stream.Read(p)
	s.x.watch.start(timeoutFirstByte, s.x.t.cfg.FirstByteTimeout)
	s.sent += int64(n)
	switch {
	case s.sent == s.r.Length:
		err = io.EOF
	case err == io.EOF && s.r.Length >= 0:
		err = missing(s.r.Length-s.sent, s.r.Length)
	}
	switch {
	case err == nil:
	case err != io.EOF:
		err = &sourceError{err}
	case s.trailer != nil:
		for name, values := range s.r.Trailer() {
			name = http.CanonicalHeaderKey(name)
			if _, announced := s.trailer[name]; announced {
				s.trailer[name] = values
			}
		}
	}
	return n, err
}

// Close is net/http's word that it wants no more. HTTP/2 says so while a Read
// is in progress.
func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reading {
		s.unwanted = true
		s.finish()
		return nil
	}
	s.stopReading()
	return nil
}

// stop ends a Read in progress, and forbids the next.
func (s *source) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopReading()
}

func (s *source) stopReading() {
	first := !s.unwanted
	s.unwanted = true // before StopStream, so that the error it causes is known for our doing
	if first && s.reading && !s.over && s.r.Stream != nil && s.r.StopStream != nil {
		s.r.StopStream()
	}
}

// failure is Stream's own, or nil.
func (s *source) failure() *sourceError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *source) finish() {
	if !s.finished {
		s.finished = true
		close(s.done)
	}
}

// settle waits up to grace for net/http to be done with the body, then makes it
// so with cancel, which is to lead to stop.
func (s *source) settle(grace time.Duration, cancel func()) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		cancel()
		s.stop()
		if s.r.Stream == nil || s.r.StopStream != nil {
			<-s.done
		}
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
}
