// Package l2 is the response cache's second tier: values by name in Redis or
// Valkey, shared by all replicas that are given the same one.
//
// It owns the connections, the breaker before them, the queue of what is to be
// written, and the log of clears by which replicas tell each other what must not
// be given any more. It never delays a request by more than the timeout, and not
// at all while its breaker is open; it never fails one, and knows nothing of what
// the values mean.
//
// In Redis there are, under the prefix "vega:1:",
//
//	epoch            a random word; another one stands for a Redis that lost its data
//	clears           a stream of clears, oldest first; its first entry begins the epoch
//	EPOCH:NAME       a value
//
// A value says at which place of the stream its question was begun. It is void
// once a clear of its model stands behind that place, and where the stream no
// longer reaches back to it.
package l2
