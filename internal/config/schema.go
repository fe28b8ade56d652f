package config

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	durationType  = reflect.TypeFor[time.Duration]()
	upstreamsType = reflect.TypeFor[[]Upstream]()
)

// setting is one field of a configuration struct as the file spells it.
type setting struct {
	name  string
	typ   reflect.Type
	index []int
}

// settings lists the fields of a struct in the order of their declaration, with
// squashed structs in the place where they are embedded.
func settings(t reflect.Type) []setting {
	var out []setting
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("mapstructure")
		switch {
		case tag == ",squash":
			for _, s := range settings(f.Type) {
				s.index = append([]int{i}, s.index...)
				out = append(out, s)
			}
		case tag != "-":
			out = append(out, setting{name: tag, typ: f.Type, index: []int{i}})
		}
	}
	return out
}

// leaf is one value of a configuration: a scalar, or a list or map of scalars.
type leaf struct {
	path  string
	value reflect.Value
}

// leaves lists the values of a struct in the order of the file.
func leaves(path string, v reflect.Value) []leaf {
	var out []leaf
	switch {
	case v.Kind() == reflect.Struct:
		for _, s := range settings(v.Type()) {
			out = append(out, leaves(join(path, s.name), v.FieldByIndex(s.index))...)
		}
	case v.Type() == upstreamsType:
		for i := range v.Len() {
			out = append(out, leaves(item(path, i), v.Index(i))...)
		}
	default:
		out = append(out, leaf{path: path, value: v})
	}
	return out
}

// ownSetting is a leaf together with the setting whose rules it follows.
type ownSetting struct {
	leaf
	// rule is the path without indexes, and without the upstream before an
	// override: upstreams[1].stream.buffer_size follows stream.buffer_size.
	rule string
	// upstream is the part of the path before an override, such as
	// "upstreams[1].", else empty.
	upstream string
}

// ownSettings lists the leaves of c, without those of an upstream's breaker and
// stream that repeat the top-level section.
func (c *Config) ownSettings() []ownSetting {
	var out []ownSetting
	all := leaves("", reflect.ValueOf(*c))
	top := make(map[string]any, len(all))
	for _, l := range all {
		top[l.path] = l.value.Interface()
	}
	for _, l := range all {
		above, upstream := overridden(l.path)
		if upstream != "" && reflect.DeepEqual(l.value.Interface(), top[above]) {
			continue
		}
		out = append(out, ownSetting{l, withoutIndex(above), upstream})
	}
	return out
}

var (
	index    = regexp.MustCompile(`\[\d+\]`)
	override = regexp.MustCompile(`^(upstreams\[\d+\]\.)((?:breaker|stream)\..*)$`)
)

// overridden is the top-level setting that a path overrides and the upstream it
// does so for; any other path is its own and has no upstream.
func overridden(path string) (above, upstream string) {
	if m := override.FindStringSubmatch(path); m != nil {
		return m[2], m[1]
	}
	return path, ""
}

func withoutIndex(path string) string { return index.ReplaceAllString(path, "") }

// asTree is the value as the nested maps and lists that viper merges.
func asTree(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Struct:
		m := make(map[string]any)
		for _, s := range settings(v.Type()) {
			m[s.name] = asTree(v.FieldByIndex(s.index))
		}
		return m
	case v.Kind() == reflect.Slice:
		l := make([]any, v.Len())
		for i := range l {
			l[i] = asTree(v.Index(i))
		}
		return l
	case v.Kind() == reflect.Map:
		m := make(map[string]any)
		for _, k := range v.MapKeys() {
			m[k.String()] = asTree(v.MapIndex(k))
		}
		return m
	}
	return v.Interface()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func item(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// lastName is the last name in a path: "url" of "upstreams[1].url".
func lastName(path string) string {
	return path[strings.LastIndexByte(path, '.')+1:]
}
