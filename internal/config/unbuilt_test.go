package config

import (
	"reflect"
	"slices"
	"testing"
)

func TestCheckBuilt(t *testing.T) {
	all := []Unbuilt{
		{"cache", "cache"}, {"batchlog", "log"}, {"monitor", "monitor"}, {"telemetry", "tracing"},
		{"stream.adaptive", "streams"}, {"stream.drop_on_overflow", "streams"}, {"admin.pprof", "profiles"},
	}
	for _, tc := range []struct {
		name, yaml string
		refused    []string
	}{
		{"defaults", "", nil},
		{"built parts", "stream: {buffer_size: 5}\nbreaker: {fail_threshold: 1}\nadmin: {open_metrics: false}", nil},
		{"turned off", "cache: {policy: off}\nbatchlog: {enabled: false}\nmonitor: {flight_recorder: {enabled: false}}\nadmin: {pprof: false}", nil},
		{"moot while off", "cache: {policy: off, ttl_seconds: 5, l2: {url: 'redis://h'}}\nbatchlog: {enabled: false, content: hashed}\nstream: {adaptive: {min: 5}}\ntelemetry: {sample_ratio: 0.1}", nil},
		{"set", "cache: {ttl_seconds: 5, l2: {url: 'redis://h'}}\nbatchlog: {content: hashed}\nmonitor: {flight_recorder: {enabled: false}, check_interval: 2s}\ntelemetry: {otlp_endpoint: 'http://h'}",
			[]string{"cache.ttl_seconds", "cache.l2.url", "batchlog.content", "monitor.check_interval", "telemetry.otlp_endpoint"}},
		{"set for all upstreams", "stream: {drop_on_overflow: true}\nupstreams: [{stream: {buffer_size: 5}}]", []string{"stream.drop_on_overflow"}},
		{"set for one upstream", "upstreams: [{}, {name: b, stream: {drop_on_overflow: true, adaptive: {enabled: true}}}]",
			[]string{"upstreams[1].stream.drop_on_overflow", "upstreams[1].stream.adaptive.enabled"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ps, parts := CheckBuilt(mustLoad(t, tc.yaml), all...)
			wantProblems(t, ps, tc.refused...)
			for _, p := range ps {
				wantText(t, p.Message, "this build has no ", " yet; remove the setting")
			}
			if want := []string{"cache", "log", "monitor", "tracing", "streams", "profiles"}; !slices.Equal(parts, want) {
				t.Errorf("parts %q, want %q", parts, want)
			}
			if ps, parts := CheckBuilt(mustLoad(t, tc.yaml)); len(ps)+len(parts) > 0 {
				t.Errorf("with everything built: %v, %v", ps, parts)
			}
		})
	}
}

func TestSwitchesNameSettings(t *testing.T) {
	d := Default()
	for _, s := range switches {
		i := slices.IndexFunc(leaves("", reflect.ValueOf(d)), func(l leaf) bool {
			return l.path == s.path && l.value.Type() == reflect.TypeOf(s.off)
		})
		if i < 0 || !within(s.path, s.section) {
			t.Errorf("%s is no switch of %s", s.path, s.section)
		}
	}
}
