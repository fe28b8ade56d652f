//go:build faults

package main

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

// plant gives an exchange the fault that its request id begins with. It is
// what the self-monitor is tested against, and what ends an exchange that panics.
func plant(opts *proxy.Options) {
	begin := opts.Begin
	opts.Begin = func(p *progress.Exchange, requestID string, last proxy.Watch) proxy.Watch {
		watched := new(progress.Exchange)
		if f, ok := last.(faulty); ok {
			last = f.Watch
		}
		f := faulty{begin(watched, requestID, last), requestID}
		panicked := false
		p.Init(&everyChange, requestID, func(progress.State) {
			step := p.State().Step()
			if step < 0 {
				watched.Leave()
				return
			}
			watched.Enter(step)
			name := proxy.StepNames()[step]
			if requestID == "panic-"+name && !panicked {
				panicked = true
				blockHandler(200 * time.Millisecond) // for others to join
				panic("planted")
			}
			if name == "dispatch" {
				f.misbehave()
			}
		})
		return f
	}
}

// everyChange has each change of step told.
var everyChange progress.Clock

func init() {
	everyChange.Exact(true)
	for k := range progress.Kinds {
		everyChange.Follow(k, true)
	}
}

// faulty does what is wrong.
type faulty struct {
	proxy.Watch
	requestID string
}

// misbehave does it within a step.
func (f faulty) misbehave() {
	switch fault, _, _ := strings.Cut(f.requestID, "-"); fault {
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

// Exchange keeps what is followed.
func (f faulty) Exchange(id *string, size int64) (done func()) {
	if strings.HasPrefix(*id, "exchange-") {
		kept.Store(id, nil)
	}
	return f.Watch.Exchange(id, size)
}

// UpstreamBody keeps what is followed.
func (f faulty) UpstreamBody(a *upstream.Answer, requestID string) (done func()) {
	if strings.HasPrefix(requestID, "body-") {
		kept.Store(a.Response, nil)
	}
	return f.Watch.UpstreamBody(a, requestID)
}
