package main

import (
	"fmt"
	"hash/fnv"

	"github.com/vega-proxy/vega-proxy/internal/config"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/stream"
	"github.com/vega-proxy/vega-proxy/internal/upstream"
)

func (a *app) buildFront() (err error) {
	opts := proxy.Options{
		Settings:       a.frontSettings(a.cfg, a.upstreams.Load()),
		Loopback:       isLoopback(a.frontLn.Addr()),
		Budget:         a.budget,
		StreamRegistry: a.streams,
		StreamEvents:   stream.NewEvents(a.reg, a.budget),
		IsAdminKey:     a.admin.MatchesKey,
		Log:            a.log,
		Metrics:        proxy.NewMetrics(a.reg),
	}
	a.watch(&opts)
	opts.Timed = a.timings.note
	a.trace(&opts)
	if a.journal != nil {
		opts.Journal = a.journal
	}
	a.front, err = proxy.New(opts)
	return err
}

// frontSettings is what the front goes by under a configuration.
func (a *app) frontSettings(cfg *config.Config, set *upstream.Set) proxy.Settings {
	s := proxy.Settings{
		Config:       cfg.Config,
		Upstreams:    set,
		Streams:      make(map[string]stream.Config, len(cfg.Upstreams)),
		Stream:       cfg.Stream,
		SharedCache:  cfg.Cache.Shared,
		Generation:   generation(cfg),
		DrainDelay:   cfg.Shutdown.DrainDelay,
		DrainTimeout: cfg.Shutdown.DrainTimeout,

		JournalEmbeddings: cfg.Batchlog.Embeddings,
		MaxRecordBytes:    cfg.Batchlog.MaxRecordBytes,
		MaxHeldBytes:      cfg.Batchlog.MaxHeldBytes,
		SessionHeaders:    cfg.Batchlog.SessionHeaders,
	}
	for _, u := range cfg.Upstreams {
		s.Streams[u.Name] = u.Stream
		s.Secret = s.Secret || len(u.SecretHeaders) > 0
		s.Finishes = s.Finishes || u.OnClientGone == "finish"
	}
	if cfg.Cache.Policy != "off" {
		s.Cache = a.cache
	}
	return s
}

// generation stands for all that answers, in its order. Credentials are not part of
// it: a new key gets the old answers. Replicas for which it is the same share a second
// cache tier.
func generation(cfg *config.Config) uint64 {
	h := fnv.New64a()
	for _, u := range cfg.Upstreams {
		fmt.Fprintf(h, "%q %q %q\n", u.Name, u.URL, u.Models)
	}
	return h.Sum64()
}
