// Command vega-proxy stands between an application and its LLM backend.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/google/uuid"
)

// version is set by the build.
var version = "dev"

func main() {
	spendMemory()
	uuid.EnableRandPool() // request ids: one read of randomness for many of them
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)   // from here on a second signal kills
	signal.Ignore(syscall.SIGPIPE) // a log whose reader has left must not end the proxy
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "vega-proxy:", err)
	if e, ok := errors.AsType[*exitError](err); ok {
		os.Exit(e.code)
	}
	os.Exit(1)
}

const (
	// exUsage is the shells' code for a command line that was not understood.
	exUsage = 2
	// exConfig is sysexits' EX_CONFIG: the configuration is wrong, and another
	// start will not help.
	exConfig = 78
)

// exitError gives an error its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }
