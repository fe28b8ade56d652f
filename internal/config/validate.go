package config

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/batchlog"
	"github.com/vega-proxy/vega-proxy/internal/cache/l2"
	"github.com/vega-proxy/vega-proxy/internal/monitor"
	"github.com/vega-proxy/vega-proxy/internal/proxy"
	"github.com/vega-proxy/vega-proxy/internal/resilience"
	"github.com/vega-proxy/vega-proxy/internal/stream"
)

// mayBeZero are the numbers, sizes and durations whose 0 means something: no
// limit, or off. All others must be more than 0. The settings of upstreams
// stand here without their index, overrides as in their section.
var mayBeZero = map[string]bool{
	"limits.idle_timeout":          true,
	"limits.max_connections":       true,
	"upstreams.idle_timeout":       true,
	"upstreams.max_in_flight":      true,
	"upstreams.queue":              true,
	"upstreams.queue_timeout":      true,
	"retry.budget_percent":         true,
	"cache.stale_if_error":         true,
	"stream.chunk_delay_ms":        true,
	"stream.heartbeat_interval":    true,
	"batchlog.retention.max_age":   true,
	"batchlog.retention.max_bytes": true,
	"shutdown.drain_delay":         true,
	"shutdown.drain_timeout":       true,
}

// insteadOfZero tells how to get what somebody who writes 0 may want.
var insteadOfZero = map[string]string{
	"retry.max_attempts":     "1 turns retries off",
	"breaker.fail_threshold": "breaker.enabled: false turns the breaker off",
	"cache.maxsize":          "cache.policy: off turns the cache off",
	"cache.max_bytes":        "cache.policy: off turns the cache off",
	"cache.ttl_seconds":      "cache.policy: off turns the cache off",
	"batchlog.batch_size":    "batchlog.enabled: false turns the log off",
}

// validate checks every value, and the rules between values.
func (c *Config) validate() Problems {
	var ps Problems
	c.checkListeners(&ps)
	c.checkProxy(&ps)
	oneOf(&ps, "balance", c.Balance, "first", "least_busy")
	c.checkUpstreams(&ps)
	c.checkZeros(&ps)
	c.checkThresholds(&ps)
	checkBreaker(&ps, "breaker", c.Breaker)
	need(&ps, c.Retry.MaxBackoff >= c.Retry.BaseBackoff, "retry.max_backoff", "is less than retry.base_backoff; raise it or lower the other")
	need(&ps, c.Retry.BudgetPercent <= 100, "retry.budget_percent", "is %d; write 0 to 100", c.Retry.BudgetPercent)
	c.checkCache(&ps)
	checkStream(&ps, "stream", c.Stream)
	checkBatchlog(&ps, c.Batchlog)
	need(&ps, c.DataDir != "", "data_dir", "is empty; name a directory")
	oneOf(&ps, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(&ps, "log.format", c.Log.Format, "json", "text")
	checkTelemetry(&ps, c.Telemetry)
	c.checkGuards(&ps)
	return ps
}

func need(ps *Problems, ok bool, path, format string, args ...any) {
	if !ok {
		ps.add(path, format, args...)
	}
}

func oneOf(ps *Problems, path, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	hint := ""
	if near := nearest(value, allowed); near != "" {
		hint = "; did you mean " + near + "?"
	}
	ps.add(path, "is %q, not one of %s%s", value, strings.Join(allowed, ", "), hint)
}

// checkZeros holds every number, size and duration to be more than 0 unless
// mayBeZero says otherwise.
func (c *Config) checkZeros(ps *Problems) {
	for _, s := range c.ownSettings() {
		if s.value.CanInt() && s.value.Int() == 0 && !mayBeZero[s.rule] {
			ps.add(s.path, "is 0; %s", cmp.Or(insteadOfZero[s.rule], "write a value greater than 0"))
		}
	}
	for _, step := range slices.Sorted(maps.Keys(c.Monitor.Thresholds)) {
		need(ps, c.Monitor.Thresholds[step] > 0, "monitor.thresholds."+step, "is 0; write 1 or more")
	}
}

// checkThresholds holds that each threshold is of a step that there is.
func (c *Config) checkThresholds(ps *Problems) {
	const section = "monitor.thresholds"
	steps := append(proxy.StepNames(), monitor.SchedulerStep)
	for _, step := range slices.Sorted(maps.Keys(c.Monitor.Thresholds)) {
		if slices.Contains(steps, step) {
			continue
		}
		hint := "the steps are " + strings.Join(steps, ", ")
		if near := nearest(step, steps); near != "" {
			hint = "did you mean " + join(section, near) + "?"
		}
		ps.add(join(section, step), "is not a step; %s", hint)
	}
}

func checkBreaker(ps *Problems, path string, b resilience.BreakerConfig) {
	need(ps, b.MaxTimeout >= b.BaseTimeout, path+".max_timeout", "is less than %s.base_timeout; raise it or lower the other", path)
	for _, list := range []struct {
		name     string
		statuses []int
	}{{"failure_statuses", b.FailureStatuses}, {"neutral_statuses", b.NeutralStatuses}} {
		for i, s := range list.statuses {
			need(ps, s >= 100 && s <= 599, item(path+"."+list.name, i), "is %d, not an HTTP status; write 100 to 599", s)
		}
	}
}

func (c *Config) checkCache(ps *Problems) {
	oneOf(ps, "cache.policy", c.Cache.Policy, "all", "deterministic", "off")
	if c.Cache.L2.URL != "" {
		if err := l2.CheckURL(c.Cache.L2.URL); err != nil {
			ps.add("cache.l2.url", "%v", err)
		}
	}
}

func checkStream(ps *Problems, path string, s stream.Config) {
	need(ps, s.ThrottleThreshold > 0 && s.ThrottleThreshold <= 1, path+".throttle_threshold", "is %v; write more than 0 and at most 1", s.ThrottleThreshold)
	need(ps, s.WarningThreshold > 0 && s.WarningThreshold < s.ThrottleThreshold, path+".warning_threshold",
		"is %v; write more than 0 and less than %s.throttle_threshold (%v)", s.WarningThreshold, path, s.ThrottleThreshold)
	a := s.Adaptive
	need(ps, a.Min <= a.Initial, path+".adaptive.min", "is more than %s.adaptive.initial; lower it or raise the other", path)
	need(ps, a.Initial <= a.Max, path+".adaptive.max", "is less than %s.adaptive.initial; raise it or lower the other", path)
}

func checkBatchlog(ps *Problems, b batchlog.Config) {
	oneOf(ps, "batchlog.content", b.Content, "full", "hashed", "off")
	checkDatabase(ps, b.Database)
	for i, r := range b.Redact {
		at := item("batchlog.redact", i)
		_, err := regexp.Compile(r)
		switch {
		case r == "":
			ps.add(at, "is empty and would redact everything; remove it")
		case err != nil:
			ps.add(at, "is neither builtin nor a valid RE2 expression (%v); correct it", err)
		}
	}
	if fsync, err := time.ParseDuration(b.Spool.Fsync); b.Spool.Fsync != "always" && (err != nil || fsync <= 0) {
		ps.add("batchlog.spool.fsync", "is %q; write a duration greater than 0, such as 1s, or always", b.Spool.Fsync)
	}
	for i, h := range b.SessionHeaders {
		need(ps, validHeaderName(h), item("batchlog.session_headers", i), "is %q, not the name of a header; use letters, digits and -", h)
	}
}

// checkGuards refuses to offer a secret or the admin API to a network without
// a key before it.
func (c *Config) checkGuards(ps *Problems) {
	secret := slices.IndexFunc(c.Upstreams, func(u Upstream) bool { return len(u.SecretHeaders) > 0 })
	if secret >= 0 && len(c.ClientKeys) == 0 && BeyondLoopback(c.Listen) {
		ps.add("client_keys", "are needed: listen (%s) is beyond loopback while upstream %s sends a secret header, so anyone who reaches it could use that secret; set client_keys, or listen on 127.0.0.1",
			c.Listen, c.Upstreams[secret].Name)
	}
	if BeyondLoopback(c.Admin.Listen) && c.Admin.APIKey == "" {
		ps.add("admin.api_key", "is needed: admin.listen (%s) is beyond loopback; set a key, or listen on 127.0.0.1", c.Admin.Listen)
	}
}

// doubts are settings that are allowed and rarely right.
func (c *Config) doubts() []string {
	var out []string
	for i, u := range c.Upstreams {
		if u.TLS.InsecureSkipVerify {
			out = append(out, fmt.Sprintf("%s.tls.insecure_skip_verify: anyone on the way can pose as upstream %s; name its certificate authority in ca_file instead", item("upstreams", i), u.Name))
		}
	}
	return out
}
