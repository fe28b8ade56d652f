package cache

import (
	"strings"
	"testing"
	"time"
)

func reconfigure(c *Cache, change func(*Config)) {
	cfg := *c.cfg()
	change(&cfg)
	c.Configure(cfg)
}

func TestConfigureKeepsEntries(t *testing.T) {
	c := newCache(t, nil)
	fill(t, c, query(1), "a")
	reconfigure(c, func(cfg *Config) {
		cfg.TTLSeconds, cfg.StaleIfError, cfg.Policy, cfg.Coalesce = 9, time.Minute, "deterministic", false
	})
	if body, _ := look(t, c, query(1)); body != "a" {
		t.Errorf("the entry is %q", body)
	}
	if s := c.Stats(); s.TTLSeconds != 9 {
		t.Errorf("stats %+v", s)
	}
	if got := c.Admit(Ask{Answerable: true, Canonical: true}, plainly); got != Policy {
		t.Errorf("what is not deterministic: %q", got)
	}
}

func TestConfigureSizes(t *testing.T) {
	for _, tt := range []struct{ from, to int }{{100, 10}, {10, 100}, {100, 1}, {1, 100}, {100, 2}, {2, 3}} {
		c := newCache(t, func(cfg *Config) { cfg.MaxSize = tt.from })
		for i := range 2 * tt.from {
			fill(t, c, query(i), "a")
		}
		reconfigure(c, func(cfg *Config) { cfg.MaxSize = tt.to })
		if s := c.Stats(); s.Size != 0 || s.Bytes != 0 || s.MaxSize != tt.to {
			t.Errorf("%d to %d: %+v", tt.from, tt.to, s)
		}
		for i := range 3 * tt.to {
			fill(t, c, query(i), "a")
		}
		if s := c.Stats(); s.Size > int64(tt.to) || s.Size < int64(tt.to+1)/2 {
			t.Errorf("%d to %d: %d entries", tt.from, tt.to, s.Size)
		}
	}
}

func TestConfigureLargestEntry(t *testing.T) {
	c := newCache(t, nil)
	reconfigure(c, func(cfg *Config) { cfg.MaxEntryBytes = 10 })
	if _, unkept := fill(t, c, query(1), strings.Repeat("x", 11)); unkept != TooLarge {
		t.Errorf("a long one: %q", unkept)
	}
	reconfigure(c, func(cfg *Config) { cfg.MaxEntryBytes = 100 })
	if _, unkept := fill(t, c, query(1), strings.Repeat("x", 11)); unkept != "" {
		t.Errorf("with a higher limit: %q", unkept)
	}
}

func TestConfigureOffAndOn(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.Policy = "off" })
	reconfigure(c, func(cfg *Config) { cfg.Policy = "all" })
	fill(t, c, query(1), "a")
	reconfigure(c, func(cfg *Config) { cfg.Policy = "off" })
	if s := c.Stats(); s.Size != 0 {
		t.Errorf("stats %+v", s)
	}
}
