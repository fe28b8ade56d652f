package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// needRestart are the settings and sections that a running process cannot take
// up: what a listener, a file or a background part was opened with. Everything
// else holds from the next request on. See restarts for tls.
var needRestart = []string{
	"listen", "http2", "data_dir",
	"limits.max_header_bytes", "limits.read_header_timeout", "limits.idle_timeout", "limits.max_connections",
	"cache.l2",
	"batchlog.enabled", "batchlog.database", "batchlog.migrate", "batchlog.spool",
	"monitor.flight_recorder",
	"admin.listen", "metrics", "log.format", "telemetry",
}

// Change is one setting that differs between two configurations.
type Change struct {
	// Path is the setting as the file spells it; upstreams keep the index
	// that they have in the new configuration, a removed one that of the old.
	Path string
	// Old and New are the values as the file would have them, with secrets
	// masked; an added or removed upstream is its name and URL.
	Old, New string
	// Restart tells that the change holds only after a restart.
	Restart bool
}

// Diff lists what differs, in the order of the file. Upstreams are matched by
// their names, so moving one in the list is a change of the list's order alone.
func Diff(old, new *Config) []Change {
	var changes []Change
	add := func(path, from, to string) {
		changes = append(changes, Change{Path: path, Old: from, New: to, Restart: restarts(path, old, new)})
	}
	oldShown, newShown := old.hideSecrets(), new.hideSecrets()
	compare := func(path string, old, new, oldShown, newShown any) {
		was, is := leaves(path, reflect.ValueOf(old)), leaves(path, reflect.ValueOf(new))
		wasShown, isShown := leaves(path, reflect.ValueOf(oldShown)), leaves(path, reflect.ValueOf(newShown))
		for i := range was {
			if !reflect.DeepEqual(was[i].value.Interface(), is[i].value.Interface()) {
				add(is[i].path, fmt.Sprint(written(wasShown[i].value)), fmt.Sprint(written(isShown[i].value)))
			}
		}
	}

	compare("", old.withoutUpstreams(), new.withoutUpstreams(), oldShown.withoutUpstreams(), newShown.withoutUpstreams())
	if was, is := names(old.Upstreams), names(new.Upstreams); !slices.Equal(common(was, is), common(is, was)) {
		add("upstreams", strings.Join(was, ", "), strings.Join(is, ", "))
	}
	for i, u := range new.Upstreams {
		at := item("upstreams", i)
		if j := slices.Index(names(old.Upstreams), u.Name); j >= 0 {
			compare(at, old.Upstreams[j], u, oldShown.Upstreams[j], newShown.Upstreams[i])
		} else {
			add(at, "", u.Name+" "+u.URL)
		}
	}
	for j, u := range old.Upstreams {
		if !slices.Contains(names(new.Upstreams), u.Name) {
			add(item("upstreams", j), u.Name+" "+u.URL, "")
		}
	}
	for _, f := range renewed(old, new) {
		add(f.path, f.file, f.file+" (its content)")
	}
	// An upstream that follows a top-level section changes with it.
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool {
		above, upstream := overridden(c.Path)
		return upstream != "" && slices.Contains(changes, Change{above, c.Old, c.New, restarts(above, old, new)})
	})
}

// restarts tells whether a change waits for a restart. A listener's certificate
// can be replaced, but a listener does not begin or cease to encrypt.
func restarts(path string, old, new *Config) bool {
	if within(path, "tls") {
		return (old.TLS.CertFile == "") != (new.TLS.CertFile == "")
	}
	return slices.ContainsFunc(needRestart, func(section string) bool { return within(path, section) })
}

// within tells whether a path is a section, or a setting in it.
func within(path, section string) bool {
	rest, ok := strings.CutPrefix(path, section)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (c *Config) withoutUpstreams() Config {
	rest := *c
	rest.Upstreams = nil
	return rest
}

func names(us []Upstream) []string {
	out := make([]string, len(us))
	for i, u := range us {
		out[i] = u.Name
	}
	return out
}

// common is the part of a that is in b too, in a's order.
func common(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}
