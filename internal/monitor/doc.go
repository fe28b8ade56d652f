// Package monitor watches the proxy's own process: whether its goroutines get
// to run, which of its steps are slow and where, whether what has ended is also
// let go of, and how all that makes its health.
//
// It owns the probe of the scheduler, the slow steps with their stacks, the
// objects followed by weak pointers, the list of sessions, the flight recorder's
// files and the metrics of all these. It never delays an exchange: what an
// exchange calls takes no clock, no allocation and no lock that is held for
// long. It knows no other part of the proxy; the others reach it through funcs.
package monitor
