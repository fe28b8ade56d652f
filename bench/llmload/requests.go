package main

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vega-proxy/vega-proxy/bench/internal/hist"
)

// prompts chooses the prompt of each request.
type prompts struct {
	c    *config
	pool []uint64
}

// newPrompts makes the pool of repeated prompts and sends each once.
func newPrompts(c *config, errs *tally) *prompts {
	p := &prompts{c: c}
	if c.hitRatio <= 0 {
		return p
	}
	cl, t := c.client(), c.template(false)
	defer cl.close()
	for range c.pool {
		tag := newTag()
		p.pool = append(p.pool, tag)
		if err := cl.do(t, tag); err != nil {
			errs.add(err)
		}
	}
	return p
}

func (p *prompts) next(rnd *rand.Rand) uint64 {
	if len(p.pool) > 0 && rnd.Float64() < p.c.hitRatio {
		return p.pool[rnd.IntN(len(p.pool))]
	}
	return newTag()
}

// runClosed keeps c.conns connections busy: each sends when it has its answer.
func runClosed(c *config) *Result {
	var errs tally
	p := newPrompts(c, &errs)
	t := c.template(false)
	begin := time.Now().Add(c.warmup)
	end := begin.Add(c.duration)
	hists := make([]hist.H, c.conns)
	var done atomic.Int64
	var wg sync.WaitGroup
	for i := range c.conns {
		wg.Go(func() {
			cl, t, rnd := c.client(), t.clone(), rand.New(rand.NewPCG(1, uint64(i)))
			defer cl.close()
			for now := time.Now(); now.Before(end); {
				err := cl.do(t, p.next(rnd))
				after := time.Now()
				switch {
				case err != nil:
					errs.add(err)
					cl.close()
					time.Sleep(time.Millisecond) // no busy loop against a dead proxy
				case now.After(begin) && after.Before(end):
					hists[i].Add(after.Sub(now))
				}
				if after.After(begin) && err == nil {
					done.Add(1)
				}
				now = time.Now()
			}
		})
	}
	time.Sleep(time.Until(begin))
	n0, u0, t0 := done.Load(), c.target.Read(), time.Now()
	time.Sleep(time.Until(end))
	n1, u1, t1 := done.Load(), c.target.Read(), time.Now()
	wg.Wait()

	r := &Result{Seconds: t1.Sub(t0).Seconds(), Requests: n1 - n0}
	return r.latencies(hists, &errs).withSpend(u0, u1)
}

// runOpen sends at a fixed rate whatever the answers do. A request's latency
// counts from the instant it was due, so a stall is charged to every request
// that it delayed.
func runOpen(c *config) *Result {
	var errs tally
	p := newPrompts(c, &errs)
	t := c.template(false)
	hists := make([]hist.H, c.conns)
	due := make(chan time.Time, c.conns)
	begin := time.Now().Add(c.warmup)
	end := begin.Add(c.duration)
	var done atomic.Int64
	var wg sync.WaitGroup
	for i := range c.conns {
		wg.Go(func() {
			cl, t, rnd := c.client(), t.clone(), rand.New(rand.NewPCG(2, uint64(i)))
			defer cl.close()
			for at := range due {
				err := cl.do(t, p.next(rnd))
				if err != nil {
					errs.add(err)
					cl.close()
				} else if !at.Before(begin) {
					hists[i].Add(time.Since(at))
				}
				done.Add(1)
			}
		})
	}
	wg.Go(func() { pace(c.rate, begin.Add(-c.warmup), end, due) })

	time.Sleep(time.Until(begin))
	n0, u0, t0 := done.Load(), c.target.Read(), time.Now()
	time.Sleep(time.Until(end))
	n1, u1, t1 := done.Load(), c.target.Read(), time.Now()
	wg.Wait()

	r := &Result{Seconds: t1.Sub(t0).Seconds(), Requests: n1 - n0}
	return r.latencies(hists, &errs).withSpend(u0, u1)
}

// pace sends the instants of a schedule on due as they come. It sleeps in the
// kernel: Go's timers can be late by a millisecond, more than what is measured.
func pace(rate float64, from, to time.Time, due chan<- time.Time) {
	runtime.LockOSThread()
	const prSetTimerSlack = 29
	syscall.Syscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0)
	defer close(due)
	for i := 0; ; i++ {
		at := from.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if !at.Before(to) {
			return
		}
		if d := time.Until(at); d > 0 {
			ts := syscall.NsecToTimespec(int64(d))
			syscall.Nanosleep(&ts, nil)
		}
		due <- at
	}
}

func (r *Result) latencies(hists []hist.H, errs *tally) *Result {
	var all hist.H
	for i := range hists {
		all.Merge(&hists[i])
	}
	r.Latency = all.Summary()
	r.RPS = float64(r.Requests) / r.Seconds
	errs.report(r)
	return r
}
