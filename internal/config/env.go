package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

const envPrefix = "VEGA_"

// variable is one environment variable that stands for a setting.
type variable struct {
	name  string
	text  string
	steps []step
	typ   reflect.Type
}

// step leads from a setting to one below it: a key, or an index of a list.
type step struct {
	key   string
	index int // -1 for a key
}

// path is the variable's setting as the file would spell it.
func (v variable) path() string {
	path := ""
	for i, s := range v.steps {
		switch {
		case s.index >= 0:
			path = item(path, s.index)
		case i > 0 && v.steps[i-1].key == "headers":
			path = join(path, http.CanonicalHeaderKey(s.key))
		default:
			path = join(path, s.key)
		}
	}
	return path
}

// variables finds the settings in an environment, in an order in which they can
// be applied: whole lists before their items, items by rising index. A variable
// that is set to nothing counts as not set. What looks like a setting and is
// none is only warned about, because Kubernetes puts such names into every
// container (VEGA_PROXY_PORT for a service called vega-proxy).
func variables(environ map[string]string) (vars []variable, warnings []string) {
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		rest, ours := strings.CutPrefix(name, envPrefix)
		if !ours || environ[name] == "" {
			continue
		}
		steps, typ := resolve(reflect.TypeFor[Config](), rest)
		switch {
		case typ == nil:
			warnings = append(warnings, name+": no setting has this variable, so it is ignored"+suggestVariable(name))
		case typ.Kind() == reflect.Struct || typ.Kind() == reflect.Map || typ == upstreamsType:
			warnings = append(warnings, name+": names a whole section, so it is ignored; set its settings one by one, such as "+example(name, typ))
		default:
			vars = append(vars, variable{name, environ[name], steps, typ})
		}
	}
	slices.SortStableFunc(vars, func(a, b variable) int {
		return slices.CompareFunc(a.steps, b.steps, func(a, b step) int {
			return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.index, b.index))
		})
	})
	return vars, warnings
}

// resolve reads the part of a variable's name that is still to be read against
// the settings of t. Names hold underscores themselves, so every setting that
// the rest begins with is tried. A nil type means that there is none.
func resolve(t reflect.Type, rest string) ([]step, reflect.Type) {
	if rest == "" {
		return nil, t
	}
	switch t.Kind() {
	case reflect.Struct:
		for _, s := range settings(t) {
			name := strings.ToUpper(s.name)
			below, ok := "", rest == name
			if !ok {
				below, ok = strings.CutPrefix(rest, name+"_")
				ok = ok && below != ""
			}
			if !ok {
				continue
			}
			if steps, typ := resolve(s.typ, below); typ != nil {
				return append([]step{{s.name, -1}}, steps...), typ
			}
		}
	case reflect.Slice:
		digits, below, _ := strings.Cut(rest, "_")
		i, err := strconv.Atoi(digits)
		if err != nil || i < 0 || digits != strconv.Itoa(i) || strings.HasSuffix(rest, "_") {
			return nil, nil
		}
		if steps, typ := resolve(t.Elem(), below); typ != nil {
			return append([]step{{"", i}}, steps...), typ
		}
	case reflect.Map:
		if rest != strings.ToUpper(rest) {
			return nil, nil
		}
		key := strings.ToLower(rest)
		if t.Elem().Kind() == reflect.String { // header names have dashes, variables cannot
			key = strings.ReplaceAll(key, "_", "-")
		}
		return []step{{key, -1}}, t.Elem()
	}
	return nil, nil
}

// value reads the variable's text as its setting's type; a list of scalars is
// separated by commas.
func (v variable) value() (any, error) {
	if v.typ.Kind() != reflect.Slice {
		return fromText(v.text, v.typ)
	}
	var list []any
	for part := range strings.SplitSeq(v.text, ",") {
		e, err := fromText(strings.TrimSpace(part), v.typ.Elem())
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// put sets a value below a node of the settings and returns the changed node.
// A list grows by one item at a time; fresh makes a new item.
func put(node any, steps []step, value any, fresh func() any) (any, error) {
	if len(steps) == 0 {
		return value, nil
	}
	s := steps[0]
	if s.index < 0 {
		m, _ := node.(map[string]any)
		if m == nil {
			m = make(map[string]any)
		}
		below, err := put(m[s.key], steps[1:], value, fresh)
		if err == nil {
			m[s.key] = below
		}
		return m, err
	}
	list, _ := node.([]any)
	if s.index > len(list) {
		return node, fmt.Errorf("leaves a gap: the list has %d items so far; number them from 0 without leaving one out", len(list))
	}
	var old any
	if s.index < len(list) {
		old = list[s.index]
	} else if len(steps) > 1 {
		old = fresh()
	}
	below, err := put(old, steps[1:], value, fresh)
	if err != nil {
		return node, err
	}
	if s.index == len(list) {
		return append(list, below), nil
	}
	list[s.index] = below
	return list, nil
}

func suggestVariable(name string) string {
	var names []string
	for _, l := range leaves("", reflect.ValueOf(Default())) {
		names = append(names, envName(l.path))
	}
	if near := nearest(name, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// envName is the variable of a setting: upstreams[0].url is VEGA_UPSTREAMS_0_URL.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "[", "_", "]", "", "-", "_").Replace(path))
}

// example is a variable of one setting in the section that a variable names.
func example(name string, t reflect.Type) string {
	switch {
	case t == upstreamsType:
		return name + "_0_URL"
	case t.Kind() == reflect.Map:
		return name + "_NAME"
	}
	return name + "_" + strings.ToUpper(settings(t)[0].name)
}
