package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/vega-proxy/vega-proxy/internal/config"
)

// hangups are the signals that ask for a reload. Whoever serves listens to them
// before it reads its configuration, since the signal ends a process that does not.
func hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// source is where the configuration comes from.
type source struct {
	file string // "" is none
	load func() (*config.Config, []string, error)
}

// sourceOf is what a command's flags name.
func sourceOf(fs *pflag.FlagSet) source {
	s := source{load: func() (*config.Config, []string, error) { return load(fs) }}
	if f := fs.Lookup("config"); f != nil {
		s.file = f.Value.String()
	}
	return s
}

// stamp is another one when a file's content may be. Editors and Kubernetes put a
// new file, or a new link, in the place of the old one, so which file it is counts.
func stamp(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Sprintf("%s: %v\n", file, err)
	}
	id := ""
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id = fmt.Sprint(st.Dev, st.Ino)
	}
	return fmt.Sprintf("%s: %s %d %d\n", file, id, info.Size(), info.ModTime().UnixNano())
}

// stamps are those of the file and of all that it names.
func (s *source) stamps(named []string) string {
	all := ""
	if s.file != "" {
		all = stamp(s.file)
	}
	for _, file := range named {
		all += stamp(file)
	}
	return all
}

const (
	// lookInterval is how often the files are looked at. A change is taken up when
	// they were the same at two looks: whoever writes into a file has then ended.
	lookInterval = time.Second
	// retryLooks is after how many looks a refused configuration is tried again: what
	// it names may have come in the meantime, as Kubernetes brings a ConfigMap and a
	// Secret at different times.
	retryLooks = 10

	changedFile = "changed file"
	anotherTry  = "another try"
)

// lookFirst notes how the files are, so that what changes from here on is a change.
func (a *app) lookFirst() {
	r := &a.reloading
	first := r.source.stamps(r.running.Load().Files())
	r.seen.CompareAndSwap(nil, &first)
}

// hearReloads takes up the configuration anew at SIGHUP and when one of its files
// has changed, until ctx ends.
func (a *app) hearReloads(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	r := &a.reloading
	last, looks := "", 0
	for {
		select {
		case <-r.hangups:
			_, _ = a.reload(ctx, "SIGHUP") // it has logged all there is to say, here and below
		case <-tick.C:
			now := r.source.stamps(r.running.Load().Files())
			looks++
			switch {
			case now == last && now != *r.seen.Load():
				_, _ = a.reload(ctx, changedFile)
			case r.refused.Load() != nil && looks%retryLooks == 0:
				_, _ = a.reload(ctx, anotherTry)
			}
			last = now
		case <-ctx.Done():
			return
		}
	}
}
