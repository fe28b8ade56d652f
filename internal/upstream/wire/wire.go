// Package wire carries one request to one backend and its answer back.
//
// It owns the connections: dialling, keeping, checking before reuse, closing;
// the framing of requests and answers; and the limits of time and size that
// belong to a connection. It never picks a backend, counts failures, reads a
// body's meaning, or asks a second time, save on a fresh connection when a kept
// one turns out to be dead before it gave a single byte.
//
// Cleartext backends are spoken to in HTTP/1.1 over an own pool whose
// connections are driven by the calling goroutine: no hand-off between
// goroutines, one write for head and body. Backends behind TLS go through
// [http.Transport], which negotiates HTTP/2.
package wire

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/poll"
)

// Config describes one backend.
type Config struct {
	// URL is where it listens: scheme and host, with a port or the scheme's
	// default. The host is sent as Host. A path in it is not looked at: the
	// caller has joined it into each Target.
	URL *url.URL

	// ConnectTimeout bounds name resolution and TCP connect together, and once
	// more the TLS handshake. 0 leaves it to the system.
	ConnectTimeout time.Duration
	// FirstByteTimeout runs from the last byte of the request to the first byte
	// of the answer's body. It also bounds each write of the request, so that a
	// backend which stops reading is given up. 0 turns it off.
	FirstByteTimeout time.Duration
	// IdleTimeout bounds the wait for each further byte of the body. 0 turns it off.
	IdleTimeout time.Duration

	// TLS is how an https backend is verified; nil uses the system's roots.
	TLS *tls.Config

	// MaxIdle bounds the connections kept for reuse; 0 means 256.
	MaxIdle int
	// Loop tells of bodies that wait for their backend, so that Await costs no
	// goroutine's waking for each piece; nil makes Await a Wait.
	Loop *poll.Loop
	// MaxHeaderBytes bounds an answer's head, interim answers included; 0 means 1 MiB.
	MaxHeaderBytes int64
}

const (
	defaultMaxIdle        = 256
	defaultMaxHeaderBytes = 1 << 20

	// maxIdleAge is how long a connection is kept unless its server says less.
	maxIdleAge = 90 * time.Second
	// sendGrace is how long a finished answer waits for the report that the
	// request went out too: a backend may answer between the last write and
	// that report. Beyond it the answer was early, and the connection is closed.
	sendGrace = 10 * time.Millisecond
	// inlineBody is how much of a body travels in the same write as the head.
	inlineBody = 64 << 10
)

// Request is one request. Header and Body must stay unchanged until RoundTrip
// has failed or the answer's body has ended or was closed.
type Request struct {
	Method string
	// Target is the request-target in origin form, sent byte for byte: raw path
	// and raw query.
	Target string
	// Header holds end-to-end fields under their canonical names. Host, framing
	// and hop-by-hop fields in it are not sent.
	Header http.Header

	// Body is the whole body; nil with Stream.
	Body []byte
	// Stream is a body that is passed on as it comes. It is read by a goroutine
	// of the round trip, also after RoundTrip has returned.
	Stream io.Reader
	// Length is Stream's length, -1 if unknown. Stream is read that far.
	Length int64
	// StopStream makes a blocked Read of Stream return. It is called when the
	// answer has ended before Stream was read to its end, and Stream's reader is
	// then waited for. Without it that goroutine outlives the round trip until
	// its Read returns. A server sets its request's read deadline here.
	StopStream func()
	// Trailer gives the fields after a Stream of unknown length: asked before
	// the head for the names (values may be nil) and at Stream's end for the
	// values. May be nil.
	Trailer func() http.Header

	// Upgrade is the protocol asked for, such as "websocket"; "" for none.
	Upgrade string
	// Informational is handed each interim answer except 100, 101 and 102, by
	// the time RoundTrip returns. It must not call back. May be nil.
	Informational func(status int, h http.Header)
}

// Response is an answer whose head has been read. Its Body must be read to the
// end or closed.
type Response struct {
	Status                 int
	ProtoMajor, ProtoMinor int
	// Header is as it came, less Transfer-Encoding and Trailer. Connection and
	// what it names are still in it.
	Header http.Header
	// Length is the body's length, -1 if unknown; to HEAD, what Content-Length says.
	Length int64
	// Body gives bytes as soon as they are there. Its Read returns io.EOF only
	// after a clean end, else an *[Error]. Two more methods serve those who hold
	// no buffer while they wait, and flush only when nothing more is at hand:
	// Wait() error returns once Read will not block, with the error Read would
	// return, nil for io.EOF; Ready() bool tells whether Read would return
	// without the network. (Over TLS neither sees into net/http: Wait returns at
	// once, Ready is false up to the end.) All are for one goroutine at a time:
	// to end a blocked one, cancel the context. A cleartext body also has
	// Await(turn func() bool) (turned bool, err error), a Wait that has turn called meanwhile, in
	// another goroutine, each time Read will not block, for as long as turn
	// returns true. A turn must not block.
	//
	// With status 101 it is an io.ReadWriteCloser over the connection, whose
	// methods may be called at the same time; where the connection can be half
	// closed it has CloseWrite() error.
	Body io.ReadCloser
	// Trailer has the announced names at first and the values once Body
	// returned io.EOF; nil if there are none.
	Trailer http.Header

	// Reused tells that a kept connection served the request.
	Reused bool
	// ConnectTime is what the fresh connection cost, 0 if Reused.
	ConnectTime time.Duration
}

// Transport talks to one backend. Its methods may be called at the same time.
type Transport interface {
	// RoundTrip sends r and returns once the head of the answer is there. An
	// error is always an *[Error]. When ctx ends, in whatever phase up to the
	// body's end, the connection is closed at once and the error wraps
	// [context.Cause].
	RoundTrip(ctx context.Context, r *Request) (*Response, error)
	// CloseIdle closes the connections that wait for reuse.
	CloseIdle()
	// Retire is CloseIdle, and keeps no connection from here on: requests go on
	// being served, each on one of its own. It is for a backend that is no longer
	// configured, which some may still be about to ask.
	Retire()
	// Close is CloseIdle for good: further requests fail, those in progress go
	// on and close their connections as they end.
	Close()
	// Stats reads the counters.
	Stats() Stats
}

// Stats are a transport's counters. For https backends Idle is an estimate:
// open connections less requests in progress.
type Stats struct {
	Open, Idle   int    // connections now
	Dials        uint64 // connections opened so far
	Reused       uint64 // requests on a kept connection so far
	StaleRetries uint64 // requests asked again because the kept connection was dead
}

// New returns the transport for cfg: an own HTTP/1.1 pool for http URLs,
// [http.Transport] for https. It dials nothing.
func New(cfg Config) Transport {
	if cfg.MaxIdle == 0 {
		cfg.MaxIdle = defaultMaxIdle
	}
	if cfg.MaxHeaderBytes == 0 {
		cfg.MaxHeaderBytes = defaultMaxHeaderBytes
	}
	if cfg.URL.Scheme == "https" {
		return newStd(cfg)
	}
	return newH1(cfg)
}
