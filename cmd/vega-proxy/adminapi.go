package main

import (
	"context"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/config"
)

func (a *app) buildAdmin() error {
	key, path, err := a.loadAdminKey(a.cfg)
	if err != nil {
		return err
	}
	if a.keyFile = path; path != "" {
		a.log.Info("the admin key was read", "file", path)
	}
	reports := a.health()
	if err := a.reg.Register(healthGauge{reports}); err != nil {
		return err
	}
	parts := admin.Parts{
		Ready:    a.ready,
		Metrics:  a.reg,
		Health:   reports,
		Breakers: &a.upstreams,
		Streams:  streams{a.streams},
		Monitor:  watcher{a.monitor},
		Config:   func() any { return a.reloading.running.Load().Masked() },
		Reload:   func(ctx context.Context) (admin.Reloaded, error) { return a.reload(ctx, "admin API") },
		LogLevel: &a.level,
		Cache:    responses{a.cache},
		Timing:   a.timings.of,
	}
	if a.journal != nil {
		parts.Log = conversations{a.journal}
	}
	a.admin, err = admin.New(a.cfg.Admin, key, parts, a.log)
	return err
}

// loadAdminKey finds the admin key, or makes one; path is the file that it is in, if
// any.
func (a *app) loadAdminKey(cfg *config.Config) (key, path string, err error) {
	key, generated, path, err := admin.LoadKey(cfg.Admin, cfg.DataDir)
	if err == nil && generated {
		a.log.Info("an admin key was made", "file", path)
	}
	return key, path, err
}
