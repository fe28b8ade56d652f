package main

import (
	"context"
	"fmt"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/admin"
	"github.com/vega-proxy/vega-proxy/internal/cache"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
)

// openCache makes the response cache. One that is off may be turned on later.
func (a *app) openCache() (err error) {
	if a.cache, err = cache.New(a.cfg.Cache); err != nil {
		return fmt.Errorf("the response cache: %w", err)
	}
	if err = a.cache.Share(cache.Notes{Encode: proxy.EncodeNote, Decode: proxy.DecodeNote}, a.log); err != nil {
		return fmt.Errorf("cache.l2: %w", err)
	}
	return a.reg.Register(a.cache)
}

// responses shows the response cache to the admin API.
type responses struct{ *cache.Cache }

func (r responses) Stats() any { return r.Cache.Stats() }

// clearWait is how long a clear by hand waits for Redis.
const clearWait = 100 * time.Millisecond

// Clear waits a moment for the other replicas to be told.
func (r responses) Clear(model string) int {
	n := r.Cache.Clear(model)
	ctx, cancel := context.WithTimeout(context.Background(), clearWait)
	defer cancel()
	r.Cache.Settle(ctx)
	return n
}

// sharedCacheHealth is a warning while the second cache tier is not used: it lacks
// nobody but the upstreams, which are asked more.
func (a *app) sharedCacheHealth() admin.Component {
	c := admin.Component{Name: "cache_l2", Status: admin.Healthy, Reasons: []string{}, Detail: "/admin/performance/cache/stats"}
	s, _ := a.cache.Shared()
	if s.State != resilience.Closed || !s.Synced {
		c.Status = admin.Warning
		why := s.LastError
		if why == "" {
			why = "it was not reached yet"
		}
		c.Reasons = append(c.Reasons, "the second cache tier is not used: "+why)
	}
	if s.PendingClears > 0 {
		c.Status = admin.Warning
		c.Reasons = append(c.Reasons, fmt.Sprintf("%d clears of the cache have not reached the other replicas; they will when the second tier is back", s.PendingClears))
	}
	return c
}
