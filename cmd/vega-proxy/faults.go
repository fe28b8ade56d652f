//go:build faults

package main

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// plant gives an exchange the fault that its request id begins with. It is
// what the self-monitor is tested against.
func plant(opts *proxy.Options) {
	begin := opts.Begin
	opts.Begin = func(requestID string) proxy.Steps { return faultySteps{begin(requestID), requestID} }
	opts.Tracker = faultyTracker{opts.Tracker}
}

// faultySteps does what is wrong within a step: in dispatch.
type faultySteps struct {
	proxy.Steps
	requestID string
}

func (s faultySteps) Enter(step int) {
	s.Steps.Enter(step)
	if proxy.StepNames()[step] != "dispatch" {
		return
	}
	switch fault, _, _ := strings.Cut(s.requestID, "-"); fault {
	case "hog":
		for range 40 { // each has its turn of 10 ms before the probe has
			go hogProcessor(time.Now().Add(5 * time.Second))
		}
	case "lock":
		waitForHeldLock(300 * time.Millisecond)
	case "block":
		blockHandler(2 * time.Second)
	case "goroutine":
		go waitForNobody(make(chan int))
	case "descriptors":
		forgetDescriptors(8)
	}
}

//go:noinline
func hogProcessor(until time.Time) {
	for n := uint64(1); time.Now().Before(until); {
		for range 10_000_000 {
			n = n*6364136223846793005 + 1442695040888963407
		}
		kept.Store("result", n)
	}
}

func waitForHeldLock(held time.Duration) {
	var mu sync.Mutex
	mu.Lock()
	time.AfterFunc(held, mu.Unlock)
	lockAndUnlock(&mu)
}

//go:noinline
func lockAndUnlock(mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
}

//go:noinline
func blockHandler(d time.Duration) { <-time.After(d) }

//go:noinline
func waitForNobody(c chan int) { <-c }

func forgetDescriptors(n int) {
	for range n {
		if f, err := os.Open(os.Args[0]); err == nil {
			kept.Store(f, nil)
		}
	}
}

// kept is what nobody ever lets go of.
var kept sync.Map

// faultyTracker keeps what is followed.
type faultyTracker struct{ proxy.Tracker }

func (f faultyTracker) Exchange(id *string, size int64) (done func()) {
	if strings.HasPrefix(*id, "exchange-") {
		kept.Store(id, nil)
	}
	return f.Tracker.Exchange(id, size)
}

func (f faultyTracker) UpstreamBody(a *upstream.Answer, requestID string) (done func()) {
	if strings.HasPrefix(requestID, "body-") {
		kept.Store(a.Response, nil)
	}
	return f.Tracker.UpstreamBody(a, requestID)
}
