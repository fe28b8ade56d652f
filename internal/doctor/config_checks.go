package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

func checkValid(f *facts) []Result {
	if len(f.Warnings) == 0 {
		return []Result{ok("every setting is understood and possible")}
	}
	var results []Result
	for _, w := range f.Warnings {
		results = append(results, warning(w, "the setting does nothing, or is rarely meant", "correct it, or remove it"))
	}
	return results
}

const (
	leastFirstByte = 60 * time.Second
	leastIdle      = 10 * time.Second
)

func checkTimeouts(f *facts, b *backend) Result {
	u := b.cfg
	switch {
	case u.FirstByteTimeout < leastFirstByte:
		return warning(fmt.Sprintf("first_byte_timeout is %s", u.FirstByteTimeout), "a plain answer sends nothing until it is complete, and a model may have to be loaded: both are cut, and count as failures",
			"leave it at 600s, or above what the longest plain answer takes")
	case u.IdleTimeout == 0:
		return warning("idle_timeout is 0", "an answer whose backend has died silently hangs for ever, and holds its place", "set idle_timeout: 120s")
	case u.IdleTimeout < leastIdle:
		return warning(fmt.Sprintf("idle_timeout is %s", u.IdleTimeout), "answers are cut where a model thinks for that long", "set idle_timeout: 120s")
	case u.MaxInFlight > 0 && u.Queue > 0 && u.QueueTimeout == 0:
		return warning("queue_timeout is 0", "requests wait for a place for as long as their clients do", "set queue_timeout: 30s")
	}
	return ok("the deadlines leave room for long answers, and end dead ones")
}

func checkFailover(f *facts) []Result {
	us := f.cfg.Upstreams
	seen := map[string]string{}
	var results []Result
	for _, u := range us {
		key := strings.TrimSuffix(u.URL, "/") + " " + strings.Join(u.Models, ",")
		if other := seen[key]; other != "" {
			results = append(results, warning(fmt.Sprintf("%s and %s are the same server", other, u.Name), "a failover asks the server again that has just failed, and it is counted twice", "remove one of them, or correct its url"))
		}
		seen[key] = u.Name
	}
	switch {
	case len(us) > 1 && f.cfg.Retry.MaxAttempts == 1:
		results = append(results, warning("there are several upstreams, and retry.max_attempts is 1", "when one fails, no other is tried", "set retry.max_attempts: 2"))
	case len(us) > 1 && f.cfg.Retry.BudgetPercent == 0:
		results = append(results, warning("there are several upstreams, and retry.budget_percent is 0", "only requests of which nothing was sent go to another upstream", "set retry.budget_percent: 20"))
	case len(results) == 0:
		results = append(results, ok(fmt.Sprintf("upstreams: %d, tries: %d", len(us), f.cfg.Retry.MaxAttempts)))
	}
	return results
}

// checkLoop: a proxy that is its own upstream asks itself for ever.
func checkLoop(f *facts, b *backend) Result {
	for _, l := range listeners(f.cfg) {
		if sameServer(b.base, l.address) {
			return wrong(fmt.Sprintf("its URL is the proxy's own %s (%s)", l.setting, l.address), "each request comes back to the proxy, which refuses it as loop_detected", "write the backend's address into the URL; clients are the ones that get the proxy's")
		}
	}
	return ok("it is another server than the proxy")
}

// sameServer tells whether a URL leads to a listener, as far as the addresses
// tell.
func sameServer(u *url.URL, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" || port != u.Port() {
		return false
	}
	local := func(host string) bool {
		ip, err := netip.ParseAddr(host)
		return host == "" || strings.EqualFold(host, "localhost") || err == nil && (ip.IsLoopback() || ip.IsUnspecified())
	}
	return strings.EqualFold(host, u.Hostname()) || local(host) && local(u.Hostname())
}

func checkCache(f *facts) []Result {
	c := f.cfg.Cache
	switch {
	case c.Policy == "off":
		return []Result{skipped("cache.policy is off")}
	case c.MaxEntryBytes > c.MaxBytes:
		return []Result{warning("cache.max_entry_bytes is more than cache.max_bytes", "large answers are not kept, whatever the first says", "raise cache.max_bytes")}
	case c.Shared && len(f.cfg.ClientKeys) != 1:
		return []Result{warning("cache.shared is true", "an answer that one client earned is given to all others, whatever their credentials", "leave it false, unless all clients may see all answers")}
	}
	return []Result{ok(fmt.Sprintf("up to %d answers in %s, each for %ds", c.MaxSize, bytesText(c.MaxBytes), c.TTLSeconds))}
}

// largestShare is the part of the spool that one record may take.
const largestShare = 4

func checkRecords(f *facts) []Result {
	l := f.cfg.Batchlog
	if !l.Enabled {
		return []Result{skipped(logOff)}
	}
	if l.MaxRecordBytes > l.Spool.MaxBytes/largestShare {
		return []Result{warning(fmt.Sprintf("batchlog.max_record_bytes is %s, and batchlog.spool.max_bytes %s", bytesText(l.MaxRecordBytes), bytesText(l.Spool.MaxBytes)),
			"a conversation larger than a quarter of the spool is dropped", "raise batchlog.spool.max_bytes to at least four times the other")}
	}
	return []Result{ok("the spool holds the largest record")}
}

const (
	flushing     = 5 * time.Second  // of the log, at the end
	defaultGrace = 30 * time.Second // of Kubernetes
	longDrain    = 15 * time.Minute
)

func checkDrain(f *facts) []Result {
	s := f.cfg.Shutdown
	whole := s.DrainDelay + s.DrainTimeout + flushing
	found := fmt.Sprintf("stopping takes up to %s", whole)
	switch {
	case s.DrainTimeout == 0:
		return []Result{warning("shutdown.drain_timeout is 0", "each restart cuts the streams that are under way", "set it to what most answers take, such as 30s")}
	case whole > longDrain:
		return []Result{warning(found, "a restart may take that long, and what stops the proxy may kill it before", "lower shutdown.drain_timeout")}
	case f.process != nil && f.process.kubernetes && whole > defaultGrace:
		return []Result{ok(fmt.Sprintf("%s: terminationGracePeriodSeconds of the pod must be more (it is 30 unless set)", found))}
	}
	return []Result{ok(found)}
}
