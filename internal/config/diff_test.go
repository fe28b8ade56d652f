package config

import (
	"reflect"
	"testing"
)

func TestDiff(t *testing.T) {
	const base = "upstreams: [{name: a, url: 'http://a:1'}, {name: b, url: 'http://b:1'}]\n"
	for _, tc := range []struct {
		name, old, new string
		want           []Change
	}{
		{"nothing", base, base, nil},
		{"one value", "", "cache: {ttl_seconds: 60}", []Change{{"cache.ttl_seconds", "300", "60", false}}},
		{"a size and a duration", "", "limits: {max_body_bytes: 1GiB, idle_timeout: 5m}",
			[]Change{{"limits.max_body_bytes", "32MiB", "1GiB", false}, {"limits.idle_timeout", "2m", "5m", true}}},
		{"a list", "", "routes: {deny: [/a, /b]}", []Change{{"routes.deny", "[]", "[/a /b]", false}}},
		{"needs a restart", "", "listen: :1\ndata_dir: /x\nbatchlog: {enabled: false}\nlog: {level: debug, format: text}", []Change{
			{"listen", "127.0.0.1:8080", ":1", true}, {"data_dir", "./data", "/x", true},
			{"batchlog.enabled", "true", "false", true}, {"log.level", "info", "debug", false}, {"log.format", "json", "text", true},
		}},
		{"an upstream", base, base + "breaker: {}", nil},
		{"a setting of an upstream", base, "upstreams: [{name: a, url: 'http://a:1'}, {name: b, url: 'http://b:2', stream: {buffer_size: 5}}]",
			[]Change{{"upstreams[1].url", "http://b:1", "http://b:2", false}, {"upstreams[1].stream.buffer_size", "100", "5", false}}},
		{"another order", base, "upstreams: [{name: b, url: 'http://b:1'}, {name: a, url: 'http://a:1'}]",
			[]Change{{"upstreams", "a, b", "b, a", false}}},
		{"added and removed", base, "upstreams: [{name: b, url: 'http://b:1'}, {name: c, url: 'http://c:1'}]",
			[]Change{{"upstreams[1]", "", "c http://c:1", false}, {"upstreams[0]", "a http://a:1", "", false}}},
		{"a section that upstreams follow", base, base + "breaker: {fail_threshold: 9}",
			[]Change{{"breaker.fail_threshold", "5", "9", false}}},
		{"a section that one upstream overrides", base, "breaker: {fail_threshold: 9}\nupstreams: [{name: a, url: 'http://a:1', breaker: {fail_threshold: 3}}, {name: b, url: 'http://b:1'}]",
			[]Change{{"breaker.fail_threshold", "5", "9", false}, {"upstreams[0].breaker.fail_threshold", "5", "3", false}}},
		{"the budget of all streams", "", "stream: {total_buffer_bytes: 1GiB}", []Change{{"stream.total_buffer_bytes", "256MiB", "1GiB", false}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Diff(mustLoad(t, tc.old), mustLoad(t, tc.new)); len(got)+len(tc.want) > 0 && !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// A setting that is renamed must not silently become one that a reload takes up.
func TestRestartTableNamesSettings(t *testing.T) {
	d := Default()
	for _, section := range needRestart {
		found := false
		for _, l := range leaves("", reflect.ValueOf(d)) {
			found = found || within(l.path, section)
		}
		if !found {
			t.Errorf("%s is no setting", section)
		}
	}
}
