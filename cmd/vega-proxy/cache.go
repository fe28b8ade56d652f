package main

import (
	"fmt"

	"github.com/vega-proxy/vega-proxy/internal/cache"
)

// openCache makes the response cache. One that is off may be turned on later.
func (a *app) openCache() (err error) {
	if a.cache, err = cache.New(a.cfg.Cache); err != nil {
		return fmt.Errorf("the response cache: %w", err)
	}
	return a.reg.Register(a.cache)
}

// responses shows the response cache to the admin API.
type responses struct{ *cache.Cache }

func (r responses) Stats() any { return r.Cache.Stats() }
