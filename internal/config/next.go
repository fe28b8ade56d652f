package config

import (
	"reflect"
	"slices"
)

// Next is the configuration that follows c, which is in force, when loaded is read:
// loaded, save for the settings that need a restart, which stay as they are. The
// changes are those between the two that were read, in the order of the file.
//
// It fails with Problems if what would then hold is none that Load accepts.
func (c *Config) Next(loaded *Config) (next *Config, changes []Change, err error) {
	changes = Diff(c, loaded)
	mixed := *loaded
	waiting := ""
	was := leaves("", reflect.ValueOf(c.withoutUpstreams()))
	for _, l := range leaves("", reflect.ValueOf(&mixed).Elem()) {
		if !slices.ContainsFunc(changes, func(ch Change) bool { return ch.Restart && ch.Path == l.path }) {
			continue
		}
		i := slices.IndexFunc(was, func(w leaf) bool { return w.path == l.path })
		l.value.Set(was[i].value)
		waiting = l.path
	}
	if waiting == "" {
		return &mixed, changes, nil
	}
	var ps Problems
	for _, p := range mixed.validate() {
		ps.add(p.Path, "%s (%s is what it was until a restart, and this does not go with it: restart, or change it later)", p.Message, waiting)
	}
	if len(ps) > 0 {
		return nil, changes, ps
	}
	return &mixed, changes, nil
}
