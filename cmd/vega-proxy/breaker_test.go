package main

import (
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/simllm"
)

// steerFault sets or ends a simulated backend's fault through its own port.
func steerFault(t *testing.T, c *http.Client, backend, query string) {
	t.Helper()
	method := http.MethodPost
	if query == "" {
		method = http.MethodDelete
	}
	if r := do(t, c, method, backend+"/__sim/fault?"+query, ""); r.status != http.StatusOK {
		t.Fatalf("the simulated backend refuses the fault: %d %s", r.status, r.body)
	}
}

// TestOpenTimeGrows reads the growth of the open time off a running program:
// 1, 2, 4, 8 times the base and no more, each within 20 %.
func TestOpenTimeGrows(t *testing.T) {
	t.Parallel()
	_, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+"cache: {policy: 'off'}\nbreaker: {fail_threshold: 1, base_timeout: 150ms, max_timeout: 1200ms, half_open_test_count: 1}\n")
	c := newClient(t)
	steerFault(t, c, backend, "fail=503&path=/v1")

	var s breakerStatus
	for k, factor := range []float64{1, 2, 4, 8, 8} {
		// The wait that the status itself asks for, measured by our clock, which
		// may be ahead of it by a little.
		until(t, "the breaker lets a probe through", func() bool {
			time.Sleep(time.Duration(s.SecondsUntilRetry * float64(time.Second)))
			s = p.breaker(c, "default", "status")
			return s.SecondsUntilRetry == 0
		})
		begun := time.Now()
		do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusServiceUnavailable, "")
		s = p.breaker(c, "default", "status")
		since := time.Since(begun).Seconds()
		const base = 0.150
		if least, most := 0.8*factor*base-since, 1.2*factor*base; s.SecondsUntilRetry < least || s.SecondsUntilRetry > most {
			t.Errorf("opening %d: %v s until retry, want %v to %v", k+1, s.SecondsUntilRetry, least, most)
		}
		if s.State != "open" || s.ConsecutiveOpenings != k+1 {
			t.Errorf("opening %d: the breaker is %s after %d openings", k+1, s.State, s.ConsecutiveOpenings)
		}
		line := p.wait(`"msg":"circuit breaker"`, `"to":"open"`, `"openings":`+strconv.Itoa(k+1))
		if d := line["open_for_seconds"].(float64); d < 0.8*factor*base || d > 1.2*factor*base {
			t.Errorf("opening %d is for %v s", k+1, d)
		}
	}
	refused := do(t, c, http.MethodPost, p.proxy+chatPath, chat)
	refused.want(t, http.StatusServiceUnavailable, "breaker_open")
	if n, err := strconv.Atoi(refused.header.Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("Retry-After is %q", refused.header.Get("Retry-After"))
	}

	steerFault(t, c, backend, "")
	if s := p.breaker(c, "default", "reset"); s.State != "closed" || s.ConsecutiveOpenings != 0 || s.Metrics.FailedRequests != 5 {
		t.Errorf("after the reset: %+v", s)
	}
	do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusOK, "")
}

// TestOutageReachesTheBackendAsProbesOnly counts at the backend.
func TestOutageReachesTheBackendAsProbesOnly(t *testing.T) {
	requests := 10_000
	if testing.Short() {
		requests = 1_000
	}
	sim, backend := simulate(t, simllm.Config{Tokens: 3})
	p := serve(t, upstreamAt(backend)+"cache: {policy: 'off'}\nbreaker: {base_timeout: 50ms, max_timeout: 400ms, half_open_test_count: 1}\n")
	c := newClient(t)
	setLevel(t, p, c, "error")
	if err := sim.SetFault("fail=500&path=/v1"); err != nil {
		t.Fatal(err)
	}
	for range 5 { // fail_threshold
		do(t, c, http.MethodPost, p.proxy+chatPath, chat).want(t, http.StatusInternalServerError, "")
	}

	const clients = 8
	var passed, refused atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range requests / clients {
				switch r, err := try(t.Context(), c, http.MethodPost, p.proxy+chatPath, chat); {
				case err != nil:
					t.Error(err)
				case r.header.Get("X-Vega-Error") == "breaker_open":
					refused.Add(1)
				case r.status == http.StatusInternalServerError:
					passed.Add(1)
				default:
					t.Errorf("status %d: %s", r.status, r.body)
				}
			}
		})
	}
	wg.Wait()
	s := p.breaker(c, "default", "status")
	if n := sim.Stats().Requests[chatPath]; n != 5+passed.Load() || passed.Load() != s.Metrics.RecoveryAttempts {
		t.Errorf("the backend got %d requests and clients %d of its answers; 5 made the breaker open, %d were probes",
			n, passed.Load(), s.Metrics.RecoveryAttempts)
	}
	if s.Metrics.RejectedRequests != refused.Load() || refused.Load()+passed.Load() != int64(requests/clients*clients) {
		t.Errorf("%d requests were refused, %d passed; the breaker says %+v", refused.Load(), passed.Load(), s.Metrics)
	}
}

// dying is a simulated backend on an address of its own, which can be stopped
// and started again.
type dying struct {
	t    *testing.T
	sim  *simllm.Server
	addr string
	srv  *http.Server
	done chan struct{}
}

func newDying(t *testing.T) *dying {
	d := &dying{t: t, sim: simllm.New(simllm.Config{Tokens: 3}), addr: "127.0.0.1:0"}
	d.start()
	t.Cleanup(func() { d.stop() })
	return d
}

func (d *dying) start() {
	d.t.Helper()
	var ln net.Listener
	until(d.t, "the backend's address is free again", func() (ok bool) {
		var err error
		ln, err = net.Listen("tcp", d.addr)
		return err == nil
	})
	d.addr, d.srv, d.done = ln.Addr().String(), &http.Server{Handler: d.sim}, make(chan struct{})
	go func() {
		defer close(d.done)
		_ = d.srv.Serve(ln) // ends when it is stopped
	}()
}

// stop closes the listener and every connection, busy ones too.
func (d *dying) stop() {
	d.srv.Close()
	<-d.done
}

func (d *dying) asked() int64 { return d.sim.Stats().Requests[chatPath] }

// TestFailoverUnderLoad: one of two upstreams dies and comes back while clients
// go on asking; whole answers can always come from the other.
func TestFailoverUnderLoad(t *testing.T) {
	first, second := newDying(t), newDying(t)
	p := serve(t, `
upstreams:
  - {name: first, url: "http://`+first.addr+`"}
  - {name: second, url: "http://`+second.addr+`"}
cache: {policy: "off"}
breaker: {fail_threshold: 3, base_timeout: 100ms, max_timeout: 200ms, half_open_test_count: 1}
`)
	c := newClient(t)
	setLevel(t, p, c, "warn")
	stop := make(chan struct{})
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r, err := try(t.Context(), c, http.MethodPost, p.proxy+chatPath, chat); err != nil || r.status != http.StatusOK {
					t.Errorf("a client got %d, %v: %s", r.status, err, r.body)
					return
				}
				answered.Add(1)
			}
		})
	}
	more := func(what string, count func() int64, n int64) {
		t.Helper()
		from := count()
		until(t, what, func() bool { return t.Failed() || count() >= from+n })
	}
	for range 2 {
		more("the first answers", first.asked, 50)
		first.stop()
		more("the second answers instead", second.asked, 50)
		until(t, "the breaker opens", func() bool { return p.breaker(c, "first", "status").State != "closed" })
		first.start()
		more("the first is asked again", first.asked, 50)
	}
	close(stop)
	wg.Wait()
	if s := p.breaker(c, "first", "status"); s.State != "closed" {
		t.Errorf("the breaker of what is back is %s", s.State)
	}
	if answered.Load() == 0 {
		t.Error("no client was answered")
	}
}

func setLevel(t *testing.T, p *process, c *http.Client, level string) {
	t.Helper()
	do(t, c, http.MethodPut, p.admin+"/admin/log-level", `{"level":"`+level+`"}`, "X-API-Key", p.key()).want(t, http.StatusOK, "")
}
