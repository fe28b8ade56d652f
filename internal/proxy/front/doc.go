// Package front is an HTTP/1.1 server loop for plain requests, which are nearly
// all: a known method, an origin-form target, one Host, a short head, a short
// body of known length. It owns the connections on which nothing else has come
// so far, and answers on them with an [http.Handler].
//
// It never refuses, forgives or upgrades. With the first request that is not
// plain, be it malformed or only unusual, the connection goes to net/http for
// good, with all bytes that were not served, through [Server.Fallback]. So the
// parser that clients can reach stays small and strict, and net/http remains the
// authority for everything odd.
//
// What it saves against net/http: no goroutine, read or timer change a request
// to notice that the client has gone (one epoll instance tells), no copy of the
// header, one write for a whole answer or a flushed piece of one, and no buffer
// while nothing is in it.
package front
