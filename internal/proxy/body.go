package proxy

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

const (
	// smallBody is read whole whatever the endpoint: head and body then go
	// upstream in one write, and can be sent again.
	smallBody = 64 << 10
	// peekBody is how much of a body is read to learn which model it names,
	// where the endpoint is not one whose bodies are parsed.
	peekBody = 64 << 10
)

// bodies lends the buffers in which requests' bodies are held.
var bodies = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 4<<10)) }}

// maxPooledBody keeps a rare huge body from being held for ever.
const maxPooledBody = 1 << 20

// errTooLarge is a body over limits.max_body_bytes.
var errTooLarge = errors.New("the request's body is too large")

// readBody reads the request's body as far as its endpoint needs it: whole for
// generate and embed, whole if it is small, else only its beginning, with the
// rest left to be passed on. It returns the refusal if there is one.
func (x *exchange) readBody() *refusal {
	r := x.r
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		return nil
	case x.readAlready():
		if limit := x.rules.Config.Limits.MaxBodyBytes; x.parsed && int64(len(x.body)) > limit {
			return tooLarge(limit)
		}
		return nil
	case x.parsed:
		return x.readWhole(x.rules.Config.Limits.MaxBodyBytes)
	case r.ContentLength > 0 && r.ContentLength <= smallBody:
		return x.readWhole(smallBody)
	case x.route.ModelInBody, x.route.MakesModel:
		return x.readStart()
	}
	x.passOn(r.Body)
	return nil
}

// readAlready takes the body of a plain request, which came with it.
func (x *exchange) readAlready() bool {
	b, ok := x.r.Body.(*front.Body)
	if !ok {
		return false
	}
	data, err := b.Bytes()
	if err != nil {
		return false // reading it will say so again
	}
	x.body = data
	return true
}

// keepBody lets a stream, which may take minutes, hold no more than its request.
func (x *exchange) keepBody() {
	if b, ok := x.r.Body.(*front.Body); ok && x.buffer == nil {
		x.body = bytes.Clone(x.body)
		b.Release()
	}
}

// passOn has the rest of the body read by the upstream's sender.
func (x *exchange) passOn(body io.Reader) {
	if x.r.ProtoMajor == 1 {
		// An upstream may answer before the body has ended.
		if err := http.NewResponseController(x.w).EnableFullDuplex(); err != nil {
			x.s.opts.Log.Warn("full duplex is not supported by the connection", "error", err)
		}
	}
	x.stream = &timedBody{x: x, r: body}
}

func (x *exchange) readWhole(limit int64) *refusal {
	if x.r.ContentLength > limit {
		return tooLarge(limit)
	}
	x.buffer = bodies.Get().(*bytes.Buffer)
	x.buffer.Reset()
	if x.r.ContentLength > 0 {
		// The one allocation that a client can ask for by a header alone is
		// bounded; beyond it the buffer grows with what arrives.
		x.buffer.Grow(int(min(x.r.ContentLength, maxPooledBody)) + bytes.MinRead)
	}
	n, err := x.buffer.ReadFrom(io.LimitReader(&timedBody{x: x, r: x.r.Body}, limit+1))
	if err != nil {
		return x.bodyFailed(err)
	}
	if n > limit {
		return tooLarge(limit)
	}
	x.body = x.buffer.Bytes()
	return nil
}

func (x *exchange) readStart() *refusal {
	x.buffer = bodies.Get().(*bytes.Buffer)
	x.buffer.Reset()
	n, err := x.buffer.ReadFrom(io.LimitReader(&timedBody{x: x, r: x.r.Body}, peekBody))
	if err != nil {
		return x.bodyFailed(err)
	}
	x.body = x.buffer.Bytes()
	if n == peekBody {
		x.passOn(io.MultiReader(bytes.NewReader(x.body), x.r.Body))
	}
	return nil
}

func tooLarge(limit int64) *refusal {
	return &refusal{code: bodyTooLarge, close: true,
		message: "the request's body is larger than limits.max_body_bytes, " + byteSize(limit)}
}

// bodyFailed explains a body that did not arrive.
func (x *exchange) bodyFailed(err error) *refusal {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{code: requestTimeout, close: true, message: "the request's body stopped coming"}
	case x.r.Context().Err() != nil:
		return &refusal{code: clientGone, close: true, message: "the client went away"}
	}
	return &refusal{code: requestBroke, close: true, message: "the request's body broke off: " + err.Error()}
}

// timedBody bounds the silence between two reads of a request's body.
type timedBody struct {
	x *exchange
	r io.Reader
	n atomic.Int64 // bytes that have come
}

func (b *timedBody) Read(p []byte) (int, error) {
	start, idle := time.Now(), b.x.rules.Config.Limits.IdleTimeout
	n, err := b.read(p)
	b.n.Add(int64(n))
	switch {
	case err == nil, err == io.EOF, b != b.x.stream:
	case errors.Is(err, os.ErrDeadlineExceeded) && (idle <= 0 || time.Since(start) < idle):
		// stopStream did it: nobody reads the rest.
	default:
		b.x.bodyBroke(err)
	}
	return n, err
}

func (b *timedBody) read(p []byte) (n int, err error) {
	idle := b.x.rules.Config.Limits.IdleTimeout
	if idle <= 0 {
		return b.r.Read(p)
	}
	if conn := b.x.conn; b.x.r.ProtoMajor == 1 && conn != nil {
		conn.readingBody(idle)
		n, err = b.r.Read(p)
		conn.readingBody(0)
		return n, err
	}
	rc := http.NewResponseController(b.x.w)
	rc.SetReadDeadline(time.Now().Add(idle)) // without support there is no limit
	n, err = b.r.Read(p)
	rc.SetReadDeadline(time.Time{})
	return n, err
}

// inspected is the body as plain JSON for reading, or nil if it cannot be read
// so. What is forwarded stays as it came. A body that unfolds beyond the limit is
// refused: a small one must not be able to ask for any amount of memory.
func (x *exchange) inspected() ([]byte, *refusal) {
	encoding := x.r.Header["Content-Encoding"]
	if len(encoding) == 0 || len(x.body) == 0 {
		return x.body, nil
	}
	limit := x.rules.Config.Limits.MaxBodyBytes
	plain, err := decode(strings.ToLower(strings.Join(encoding, ",")), x.body, limit)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, tooLarge(limit)
	case err != nil:
		return nil, nil // the upstream will say what it thinks of it
	}
	return plain, nil
}

var (
	gzips = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zstds = sync.Pool{New: func() any {
		// One goroutine: the caller's. A window larger than this is refused.
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			panic("zstd refuses its own options: " + err.Error())
		}
		return d
	}}
)

// decode unfolds a compressed body up to limit bytes.
func decode(encoding string, body []byte, limit int64) ([]byte, error) {
	var r io.Reader
	switch encoding {
	case "identity":
		return body, nil
	case "gzip", "x-gzip":
		z := gzips.Get().(*gzip.Reader)
		defer gzips.Put(z)
		if err := z.Reset(bytes.NewReader(body)); err != nil {
			return nil, err
		}
		r = z
	case "zstd":
		z := zstds.Get().(*zstd.Decoder)
		defer func() {
			if z.Reset(nil) == nil {
				zstds.Put(z)
			}
		}()
		if err := z.Reset(bytes.NewReader(body)); err != nil {
			return nil, err
		}
		r = z
	default:
		return nil, errors.New("the content coding " + encoding + " is not known")
	}
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(plain)) > limit {
		err = errTooLarge
	}
	return plain, err
}
