package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"sync"
)

var errDraining = errors.New("the proxy is shutting down")

func (a *app) ready() error {
	if a.draining.Load() {
		return errDraining
	}
	return nil
}

// run serves until ctx ends or a part fails. What collects from the exchanges,
// and what shows them, outlives the last of them.
func (a *app) run(ctx context.Context) error {
	defer a.close()
	a.lookFirst()
	a.announce() // in the first lines that are written; connections wait for their server meanwhile
	defer a.lines.start()()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()

	var wg sync.WaitGroup
	failed := make(chan error, 7) // each part reports once
	part := func(name string, run func(context.Context) error) {
		wg.Go(func() {
			var err error
			// The goroutines that a part starts have its label too.
			pprof.Do(back, pprof.Labels("task", name), func(ctx context.Context) { err = run(ctx) })
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				failed <- err
				stop(err)
			}
		})
	}
	wg.Go(func() { pprof.Do(back, pprof.Labels("task", "reloads"), a.hearReloads) })
	part("monitor", a.monitor.Run)
	if a.journal != nil {
		part("conversation log", a.journal.Run)
	}
	if a.tracer != nil {
		part("traces", a.tracer.Run)
	}
	if a.loop != nil {
		part("streams", a.runLoop)
	}
	part("second cache tier", a.cache.Run)
	part("admin", func(ctx context.Context) error { return a.admin.Run(ctx, a.adminLn) })
	if a.metricsLn != nil {
		part("metrics", func(ctx context.Context) error { return a.admin.RunMetrics(ctx, a.metricsLn) })
	}
	defer context.AfterFunc(ctx, func() {
		a.draining.Store(true)
		a.log.Info("stopping", "cause", context.Cause(ctx).Error())
	})()
	wg.Go(runtime.GC) // what the start has left behind makes room for the first exchanges
	var err error
	pprof.Do(ctx, pprof.Labels("task", "proxy"), func(ctx context.Context) { err = a.front.Serve(ctx, a.frontLn) })
	stopBack()
	wg.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	a.log.Info("stopped")
	return err
}

func (a *app) announce() {
	for _, u := range a.cfg.Upstreams {
		a.log.Info("upstream", "name", u.Name, "url", u.URL)
	}
	if a.metricsLn != nil {
		a.log.Info("metrics listening", "address", a.metricsLn.Addr().String())
	}
	a.log.Info("admin listening", "address", a.adminLn.Addr().String())
	a.log.Info("proxy listening", "address", a.frontLn.Addr().String(), "version", version)
}
