package doctor

import (
	"context"
	"sync"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/config"
)

// facts is what was seen. A nil pointer is what did not end in time.
type facts struct {
	cfg *config.Config
	Options

	backends []*backend
	sink     *batchlog.Examination
	spool    *spool
	data     *directory
	files    *files
	proxy    *running
	ports    []*port
	process  *process
	second   *contact // the cache's second tier
	traces   *contact // where traces go
}

// gather looks at everything at the same time.
func gather(ctx context.Context, cfg *config.Config, o Options) *facts {
	f := &facts{cfg: cfg, Options: o, backends: make([]*backend, len(cfg.Upstreams))}
	short, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	var wg sync.WaitGroup
	for i, u := range cfg.Upstreams {
		wg.Go(func() {
			f.backends[i] = within(short, func(ctx context.Context) *backend { return survey(ctx, u, o.Key) })
		})
	}
	f.ports = make([]*port, len(listeners(cfg)))
	for i, l := range listeners(cfg) {
		wg.Go(func() {
			f.ports[i] = within(short, func(context.Context) *port { return tryPort(l.setting, l.address) })
		})
	}
	if cfg.Batchlog.Enabled {
		wg.Go(func() {
			f.sink = within(short, func(ctx context.Context) *batchlog.Examination {
				return new(batchlog.Examine(ctx, cfg.Batchlog, cfg.DataDir))
			})
		})
		wg.Go(func() {
			f.spool = within(short, func(ctx context.Context) *spool { return readSpool(ctx, cfg.DataDir) })
		})
	}
	wg.Go(func() { f.data = within(short, func(context.Context) *directory { return readDirectory(cfg.DataDir) }) })
	wg.Go(func() { f.files = within(short, func(context.Context) *files { return readFiles(cfg, o.File) }) })
	wg.Go(func() {
		f.proxy = within(short, func(ctx context.Context) *running { return findProxy(ctx, cfg, o.Admin) })
	})
	wg.Go(func() { f.process = within(short, func(context.Context) *process { return readProcess("/") }) })
	if cfg.Cache.L2.URL != "" {
		wg.Go(func() {
			f.second = within(short, func(ctx context.Context) *contact { return pingRedis(ctx, cfg.Cache.L2.URL) })
		})
	}
	if cfg.Telemetry.OTLPEndpoint != "" {
		wg.Go(func() {
			f.traces = within(short, func(ctx context.Context) *contact { return postNoTraces(ctx, cfg.Telemetry.OTLPEndpoint) })
		})
	}
	wg.Wait()
	if o.Generate {
		f.generate(ctx)
	}
	return f
}

// generate asks one model of each upstream that can be asked.
func (f *facts) generate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, generation)
	defer cancel()
	var wg sync.WaitGroup
	for _, b := range f.backends {
		if b != nil && b.usable() {
			wg.Go(func() { b.stream = within(ctx, b.generate) })
		}
	}
	wg.Wait()
}

// within returns what a look finds, or nil if it does not end in time. A disk that
// hangs cannot be told to stop: such a look is left behind, until the process
// ends.
func within[T any](ctx context.Context, look func(context.Context) *T) *T {
	found := make(chan *T, 1)
	go func() { found <- look(ctx) }()
	select {
	case x := <-found:
		return x
	case <-ctx.Done():
	}
	select {
	case x := <-found:
		return x
	case <-time.After(grace):
		return nil
	}
}
