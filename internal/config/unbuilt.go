package config

import (
	"reflect"
	"slices"
)

// Unbuilt is a section or setting that this build knows and does not act on.
type Unbuilt struct {
	// Section is its path, such as "cache" or "stream.adaptive"; a section of
	// an upstream's overrides counts with the section that it overrides.
	Section string
	// Part names what is missing, in a word.
	Part string
}

// switches are the settings that turn a part off. While one is off, nothing
// else below its section has an effect, so nothing there is refused.
var switches = []struct {
	path, section string
	off           any
}{
	{"cache.policy", "cache", "off"},
	{"cache.coalesce", "cache.coalesce", false},
	{"batchlog.enabled", "batchlog", false},
	{"monitor.flight_recorder.enabled", "monitor.flight_recorder", false},
	{"breaker.enabled", "breaker", false},
	{"stream.adaptive.enabled", "stream.adaptive", false},
	{"admin.pprof", "admin.pprof", false},
	{"telemetry.otlp_endpoint", "telemetry", ""},
	{"cache.l2.url", "cache.l2", ""},
}

// CheckBuilt refuses settings of parts that are not in this build: any that
// differs from its default, unless the part is turned off. It also names the
// missing parts, each once, for a line at the start.
func CheckBuilt(c *Config, unbuilt ...Unbuilt) (Problems, []string) {
	var ps Problems
	var parts []string
	for _, u := range unbuilt {
		if !slices.Contains(parts, u.Part) {
			parts = append(parts, u.Part)
		}
	}
	defaults := make(map[string]any)
	for _, l := range leaves("", reflect.ValueOf(Default())) {
		defaults[withoutIndex(l.path)] = l.value.Interface()
	}
	for _, s := range c.ownSettings() {
		if reflect.DeepEqual(s.value.Interface(), defaults[s.rule]) || c.turnedOff(s) {
			continue
		}
		for _, u := range unbuilt {
			if within(s.rule, u.Section) {
				ps.add(s.path, "this build has no %s yet; remove the setting", u.Part)
				break
			}
		}
	}
	return ps, parts
}

// turnedOff tells whether a switch above a setting is off.
func (c *Config) turnedOff(s ownSetting) bool {
	for _, l := range leaves("", reflect.ValueOf(*c)) {
		for _, sw := range switches {
			if within(s.rule, sw.section) && l.path == s.upstream+sw.path && l.value.Interface() == sw.off {
				return true
			}
		}
	}
	return false
}
