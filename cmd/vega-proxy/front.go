package main

import (
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/stream"
)

func (a *app) buildFront() (err error) {
	streams := make(map[string]stream.Config, len(a.cfg.Upstreams))
	secret := false
	finishes := false
	for _, u := range a.cfg.Upstreams {
		streams[u.Name] = u.Stream
		secret = secret || len(u.SecretHeaders) > 0
		finishes = finishes || u.OnClientGone == "finish"
	}
	opts := proxy.Options{
		Config:         a.cfg.Config,
		Upstreams:      a.upstreams,
		Streams:        streams,
		Finishes:       finishes,
		Budget:         a.budget,
		StreamRegistry: a.streams,
		StreamEvents:   stream.NewEvents(a.reg, a.budget),
		Secret:         secret,
		IsAdminKey:     a.admin.MatchesKey,
		DrainDelay:     a.cfg.Shutdown.DrainDelay,
		DrainTimeout:   a.cfg.Shutdown.DrainTimeout,
		Log:            a.log,
		Metrics:        proxy.NewMetrics(a.reg),

		JournalEmbeddings: a.cfg.Batchlog.Embeddings,
		MaxRecordBytes:    a.cfg.Batchlog.MaxRecordBytes,
		MaxHeldBytes:      a.cfg.Batchlog.MaxHeldBytes,
		SessionHeaders:    a.cfg.Batchlog.SessionHeaders,
	}
	a.watch(&opts)
	if a.journal != nil {
		opts.Journal = a.journal
	}
	if a.cache != nil {
		opts.Cache, opts.SharedCache = a.cache, a.cfg.Cache.Shared
	}
	a.front, err = proxy.New(opts, isLoopback(a.frontLn.Addr()))
	return err
}

// streams shows the running streams to the admin API.
type streams struct{ *stream.Registry }

func (s streams) List() (live, recent any) { return s.Registry.List() }
