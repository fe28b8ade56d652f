package main

import (
	"github.com/vega-proxy/vega-proxy/internal/admin"
)

func (a *app) buildAdmin() error {
	key, generated, path, err := admin.LoadKey(a.cfg.Admin, a.cfg.DataDir)
	if err != nil {
		return err
	}
	a.keyFile = path
	switch {
	case generated:
		a.log.Info("an admin key was made", "file", path)
	case path != "":
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
		Config:   func() any { return a.cfg.Masked() },
		LogLevel: &a.level,
	}
	if a.journal != nil {
		parts.Log = conversations{a.journal}
	}
	if a.cache != nil {
		parts.Cache = responses{a.cache}
	}
	a.admin, err = admin.New(a.cfg.Admin, key, parts, a.log)
	return err
}
