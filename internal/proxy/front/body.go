package front

import (
	"io"
	"net/http"
	"sync"
)

// Body is a request's body, which has been read before the handler runs. Its
// methods may be called at the same time.
type Body struct {
	mu   sync.Mutex
	data []byte // what has come
	at   int    // up to here Read has given it out
	err  error  // why it is not all; nil if it is
	in   *input // holds data, or
	own  bool   // data is a buffer of its own
	over bool   // released
}

// Bytes returns the whole body without a copy, however much of it was read. The
// bytes are valid until Release, Close, or the handler's return. The error says
// why there are fewer than the request's ContentLength: [os.ErrDeadlineExceeded]
// or [io.ErrUnexpectedEOF], wrapped or not.
func (b *Body) Bytes() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return nil, http.ErrBodyReadAfterClose
	}
	return b.data, b.err
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
		return 0, http.ErrBodyReadAfterClose
	case b.at < len(b.data):
		n := copy(p, b.data[b.at:])
		b.at += n
		return n, nil
	case b.err != nil:
		return 0, b.err
	}
	return 0, io.EOF
}

// Release gives the body's buffer back, for a handler that goes on without it.
func (b *Body) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	b.over = true
	if b.in != nil {
		giveBackInput(b.in)
	}
	if b.own {
		giveBackBody(b.data)
	}
	b.in, b.data = nil, nil
}

// Close implements io.Closer by Release.
func (b *Body) Close() error {
	b.Release()
	return nil
}
