package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/config"
)

// reloading is how a running proxy takes up another configuration.
type reloading struct {
	source  source
	hangups <-chan os.Signal
	turn    chan struct{}                 // held by the one that is being done
	running atomic.Pointer[config.Config] // in force
	seen    atomic.Pointer[string]        // the stamps of the files when they were last read
	refused atomic.Pointer[string]        // why the last one was; nil is that it was not

	total     *prometheus.CounterVec
	succeeded prometheus.Gauge
	at        prometheus.Gauge
}

func (a *app) openReloading() {
	r := &a.reloading
	r.turn = make(chan struct{}, 1)
	r.running.Store(a.cfg)
	r.source.load = func() (*config.Config, []string, error) { return a.cfg, nil, nil }
	r.total = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vega_config_reloads_total", Help: "Reloads of the configuration by their result: success or failure.",
	}, []string{"result"})
	r.total.WithLabelValues("success")
	r.total.WithLabelValues("failure")
	r.succeeded = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "vega_config_last_reload_successful", Help: "1 unless the last reload of the configuration was refused.",
	})
	r.at = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "vega_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was read.",
	})
	r.succeeded.Set(1)
	r.at.SetToCurrentTime()
	a.reg.MustRegister(r.total, r.succeeded, r.at)
}

// reload reads the configuration anew and has what changed hold from here on, or
// changes nothing and says everything that stands against it. why is what asked
// for it.
func (a *app) reload(ctx context.Context, why string) (admin.Reloaded, error) {
	r := &a.reloading
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return admin.Reloaded{}, context.Cause(ctx)
	}
	before := r.running.Load().Files()
	seen := r.source.stamps(before)
	r.seen.Store(&seen)
	done, err := a.takeUp()
	if err != nil {
		text := err.Error()
		if before := r.refused.Swap(&text); why == anotherTry && before != nil && *before == text {
			return done, err // which is said already
		}
		r.total.WithLabelValues("failure").Inc()
		r.succeeded.Set(0)
		a.log.Error("the new configuration is refused and the old one stays", "trigger", why, "file", r.source.file,
			"problems", strings.Split(text, "\n"))
		return done, err
	}
	if named := r.running.Load().Files(); !slices.Equal(named, before) {
		now := r.source.stamps(named) // of the files that it names now
		r.seen.Store(&now)
	}
	r.refused.Store(nil)
	r.total.WithLabelValues("success").Inc()
	r.succeeded.Set(1)
	r.at.SetToCurrentTime()
	a.logReload(why, &done)
	return done, nil
}

// takeUp does a reload. Up to the last thing that can fail it changes nothing.
func (a *app) takeUp() (done admin.Reloaded, err error) {
	r := &a.reloading
	if info, err := os.Stat(r.source.file); err == nil && info.Size() == 0 {
		return done, config.Problems{{Path: r.source.file, Message: "is empty, as while it is being written or when the disk is full; write {} into it to have the defaults"}}
	}
	loaded, warnings, err := r.source.load()
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return done, problems
	}
	if err != nil {
		return done, err
	}
	next, changes, err := r.running.Load().Next(loaded)
	if err != nil {
		return done, err
	}
	apply, key, err := a.prepare(next)
	if err != nil {
		return done, err
	}
	done.File, done.Warnings = r.source.file, warnings
	for _, c := range changes {
		done.Differences = append(done.Differences, admin.Difference{Path: c.Path, Old: c.Old, New: c.New})
		if c.Restart {
			done.RestartNeeded = append(done.RestartNeeded, c.Path)
		} else {
			done.Changed = append(done.Changed, c.Path)
		}
	}
	if !a.admin.MatchesKey(key) && !slices.Contains(done.Changed, "admin.api_key") { // the file in the data directory is another
		done.Changed = append(done.Changed, "admin.api_key")
		done.Differences = append(done.Differences, admin.Difference{Path: "admin.api_key", Old: "***", New: "***"})
	}
	done.Applied = len(done.Changed) > 0
	done.Message = r.message(&done)
	apply(done.Changed)
	r.running.Store(next)
	return done, nil
}

// prepare makes ready what a configuration needs. apply, which cannot fail, has it
// hold; it is told which settings changed.
func (a *app) prepare(next *config.Config) (apply func(changed []string), key string, err error) {
	before := a.upstreams.Load()
	set, err := before.Next(upstreamConfigs(next), next.Retry, next.Balance)
	if err != nil {
		return nil, "", err
	}
	front, err := a.front.Prepare(a.frontSettings(next, set))
	if err != nil {
		return nil, "", err
	}
	journal := func() {}
	if a.journal != nil {
		if journal, err = a.journal.Prepare(next.Batchlog); err != nil {
			return nil, "", err
		}
	}
	if key, _, err = a.loadAdminKey(next); err != nil {
		return nil, "", err
	}
	api, err := a.admin.Prepare(next.Admin, key)
	if err != nil {
		return nil, "", err
	}
	return func(changed []string) {
		a.budget.Configure(next.Stream.TotalBufferBytes)
		a.monitor.Configure(next.Monitor)
		a.cache.Configure(next.Cache)
		journal()
		api()
		a.upstreams.Store(set)
		front()
		set.Replace(before)
		if slices.ContainsFunc(changed, func(path string) bool { return strings.HasPrefix(path, "upstreams") }) {
			a.cache.Forget() // what others have answered
		}
		if slices.Contains(changed, "log.level") { // else one that was set by hand stays
			_ = a.level.UnmarshalText([]byte(next.Log.Level)) // validated
		}
	}, key, nil
}

// message says a reload in a sentence.
func (r *reloading) message(done *admin.Reloaded) string {
	var parts []string
	switch n := len(done.Changed); {
	case n == 1:
		parts = append(parts, "1 setting changed")
	case n > 1:
		parts = append(parts, fmt.Sprintf("%d settings changed", n))
	case len(done.RestartNeeded) > 0:
		parts = append(parts, "nothing changed yet")
	case r.source.file == "":
		parts = append(parts, "nothing changed: there is no configuration file, and flags and environment are those of the start")
	default:
		parts = append(parts, "nothing changed")
	}
	if len(done.RestartNeeded) > 0 {
		parts = append(parts, "a restart is needed for "+strings.Join(done.RestartNeeded, ", "))
	}
	return strings.Join(parts, "; ")
}

func (a *app) logReload(why string, done *admin.Reloaded) {
	for _, w := range done.Warnings {
		a.log.Warn(w)
	}
	for _, d := range done.Differences {
		level, text := slog.LevelInfo, "setting changed"
		if slices.Contains(done.RestartNeeded, d.Path) {
			level, text = slog.LevelWarn, "setting changes at the next start, not before"
		}
		a.log.Log(context.Background(), level, text, "setting", d.Path, "old", d.Old, "new", d.New)
	}
	level := slog.LevelInfo
	if why == changedFile && len(done.Differences) == 0 {
		level = slog.LevelDebug // it was only touched
	}
	a.log.Log(context.Background(), level, "configuration reloaded", "trigger", why, "file", done.File, "applied", done.Applied, "result", done.Message)
}

// configHealth is a warning while the configuration that there is, is not the one
// in force.
func (a *app) configHealth() admin.Component {
	c := admin.Component{Name: "configuration", Status: admin.Healthy, Reasons: []string{}, Detail: "/admin/config"}
	if text := a.reloading.refused.Load(); text != nil {
		c.Status = admin.Warning
		for line := range strings.Lines(*text) {
			c.Reasons = append(c.Reasons, "the new configuration is refused: "+strings.TrimSpace(line))
		}
	}
	return c
}
