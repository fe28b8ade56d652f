// Package proxy is the exchange: one request from a client and its answer, from
// the first byte in to the last byte out. It owns the proxy's listener, decides
// who may pass, reads what must be read, asks the upstreams and passes the
// answer on event by event. It decides who ended an exchange, and why.
//
// It never knows what is behind its interfaces: no SQL, no Redis, no breaker.
package proxy
