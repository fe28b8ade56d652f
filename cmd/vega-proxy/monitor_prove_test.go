//go:build prove

package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// TestMonitorHealthyForAMinute is TestMonitorHealthyUnderLoad for 60 s, where a
// late scheduler counts as well. It wants the machine to itself.
func TestMonitorHealthyForAMinute(t *testing.T) {
	if raceEnabled {
		t.Fatal("the race detector takes most of the processors: run this without")
	}
	healthyUnderLoad(t, time.Minute, true)
}

// TestMonitorNamesLeakedGoroutine is with the runtime's profile of leaked goroutines,
// which ordinary builds do not have.
func TestMonitorNamesLeakedGoroutine(t *testing.T) {
	t.Setenv("GOEXPERIMENT", "goroutineleakprofile")
	program := filepath.Join(t.TempDir(), "vega-proxy")
	if err := build(program, "-tags", "faults"); err != nil {
		t.Fatal(err)
	}
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serveProgram(t, program, filepath.Join(t.TempDir(), "data"), nil, upstreamAt(backend)+"monitor: {leak_check_interval: 1s}\n")
	c := newClient(t)
	do(t, c, http.MethodPost, p.proxy+chatPath, chat, "X-Request-Id", "goroutine-1").want(t, http.StatusOK, "")
	until(t, "the goroutine, and where it waits", func() bool {
		var memory struct {
			Leaks struct {
				Available bool
				Total     int
				Places    []struct{ Place string }
			} `json:"goroutine_leaks"`
		}
		p.asked(c, http.MethodGet, "/admin/performance/memory/leaks", &memory)
		l := memory.Leaks
		return l.Available && l.Total == 1 && strings.HasPrefix(l.Places[0].Place, "main.waitForNobody faults.go:")
	})
}
