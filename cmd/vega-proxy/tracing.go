package main

import (
	"fmt"

	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/trace"
)

// openTracer makes what sends traces, if they are to be sent.
func (a *app) openTracer() (err error) {
	if a.cfg.Telemetry.OTLPEndpoint == "" {
		return nil
	}
	if a.tracer, err = trace.New(a.cfg.Telemetry, version, a.reg, a.log); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}

// trace has the exchanges traced.
func (a *app) trace(opts *proxy.Options) {
	if a.tracer != nil {
		opts.Trace = a.tracer.Begin
	}
}
