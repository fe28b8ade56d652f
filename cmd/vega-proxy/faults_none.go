//go:build !faults

package main

import "github.com/vega-proxy/vega-proxy/internal/proxy"

// plant does nothing: only builds for a test have faults; see faults.go.
func plant(*proxy.Options) {}
