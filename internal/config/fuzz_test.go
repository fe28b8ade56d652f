package config

import (
	"reflect"
	"testing"
)

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"0", "64MiB", "10MB", "9223372036854775807", "1 KiB", "-1", "B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseSize(text)
		if err != nil {
			return
		}
		if n < 0 {
			t.Fatalf("parseSize(%q) = %d", text, n)
		}
		if back, err := parseSize(formatSize(n)); err != nil || back != n {
			t.Errorf("%d is written as %q, which reads as %d, %v", n, formatSize(n), back, err)
		}
	})
}

// Load never panics, and either gives a configuration or says what is wrong.
func FuzzLoad(f *testing.F) {
	f.Add("listen: ':1'\ncache: {ttl_seconds: 5, max_bytes: 1GiB}\nroutes: {deny: [/a]}\n", "VEGA_LISTEN=:1")
	f.Add("upstreams: [{headers: {a: b}}, {<<: &x {url: y}, name: *x}]", "VEGA_UPSTREAMS_1_HEADERS_X_Y=z")
	f.Add("a: &a [*a]", "VEGA_UPSTREAMS_0_BREAKER_FAILURE_STATUSES_3=1")
	f.Add("monitor: {thresholds: {a::b: 1, a: 2}}", "VEGA_MONITOR_THRESHOLDS_A=0")
	f.Add("? {a: b}\n: c\n5: !!binary x\n", "VEGA_=")
	f.Add("listen: !!float x\ncache: {l2: [], <<: {1: 2}}\n", "VEGA_CACHE_L2_URL=${X}")
	f.Fuzz(func(t *testing.T, yaml, variable string) {
		c, _, err := load(t, yaml, variable)
		if (c == nil) == (err == nil) {
			t.Fatalf("Load = %v, %v", c, err)
		}
		if err != nil {
			return
		}
		c.Masked()
		if changes := Diff(c, c); len(changes) > 0 {
			t.Errorf("differs from itself: %v", changes)
		}
		if again := mustLoad(t, yaml, variable); !reflect.DeepEqual(again, c) {
			t.Errorf("loaded twice: %+v and %+v", c, again)
		}
	})
}
