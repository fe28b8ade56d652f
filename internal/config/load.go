package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// keyDelimiter parts the keys in viper's own names. It is not viper's dot,
// because names of headers and steps may hold dots.
const keyDelimiter = "::"

// Load reads the configuration: defaults < file < environment < flags. An empty
// file name means no file; fs may be nil, and may lack any of the flags. The
// environment is a list of NAME=value as os.Environ gives it; it is also where
// ${NAME} is looked up.
//
// The warnings are about variables that were ignored and settings that deserve
// a second look; they come even with an error. The error, if any, is a Problems
// with everything that is wrong.
func Load(file string, fs *pflag.FlagSet, environ []string) (*Config, []string, error) {
	var ps Problems
	var fromFile any
	if file != "" {
		tree, problems := readFile(file)
		if tree == nil && len(problems) > 0 {
			return nil, nil, problems
		}
		fromFile, ps = tree, problems
	}
	env := environment(environ)
	vars, warnings := variables(env)

	settings, origin := layers(file, fromFile, vars, &ps)
	c, err := decode(settings, fs, origin)
	if err != nil {
		return nil, warnings, append(ps, Problem{"configuration", err.Error()})
	}
	nameUpstreams(c.Upstreams)
	checked := c.resolveSecrets(env)
	checked = append(checked, c.validate()...)
	c.readPEMs()
	for _, p := range checked {
		if slices.ContainsFunc(ps, func(known Problem) bool { return known.Path == p.Path }) {
			continue // what could not be read needs no second complaint
		}
		list, _, _ := strings.Cut(p.Path, "[")
		if from := cmp.Or(origin[p.Path], origin[list]); from != "" {
			p.Message = "(from " + from + ") " + p.Message
		}
		ps = append(ps, p)
	}
	warnings = append(warnings, c.doubts()...)
	if len(ps) > 0 {
		return nil, warnings, ps
	}
	return c, warnings, nil
}

// layers puts the environment over the file over the defaults, and tells which
// settings came from which variable.
func layers(file string, fromFile any, vars []variable, ps *Problems) (map[string]any, map[string]string) {
	v := viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter))
	for key, value := range asTree(reflect.ValueOf(Default())).(map[string]any) {
		v.SetDefault(key, value)
	}
	// The list is given by the file as a whole, or is the one default upstream.
	v.SetDefault("upstreams", []any{map[string]any{}})
	if fromFile != nil {
		if tree, ok := convert("", fromFile, reflect.TypeFor[Config](), ps); ok {
			if err := v.MergeConfigMap(tree.(map[string]any)); err != nil {
				ps.add(file, "cannot be merged: %v", err)
			}
		} else {
			(*ps)[len(*ps)-1].Path = file
		}
	}

	settings := v.AllSettings()
	origin := make(map[string]string)
	apply := func(vars []variable, fresh func() any) {
		for _, variable := range vars {
			value, err := variable.value()
			if err == nil {
				_, err = put(settings, variable.steps, value, fresh)
			}
			if err != nil {
				ps.add(variable.path(), "(from %s) %v", variable.name, err)
				continue
			}
			origin[variable.path()] = variable.name
		}
	}
	// An upstream's breaker and stream begin as the top-level ones, so those
	// come first.
	ofUpstreams := func(v variable) bool { return v.steps[0].key == "upstreams" }
	apply(slices.DeleteFunc(slices.Clone(vars), ofUpstreams), nil)
	items, _ := settings["upstreams"].([]any)
	for i, given := range items {
		items[i] = overlay(newItem(settings), given)
	}
	apply(slices.DeleteFunc(slices.Clone(vars), func(v variable) bool { return !ofUpstreams(v) }),
		func() any { return newItem(settings) })
	return settings, origin
}

// newItem is an upstream that says nothing for itself.
func newItem(settings map[string]any) any {
	fresh := asTree(reflect.ValueOf(defaultItem())).(map[string]any)
	for _, section := range []string{"breaker", "stream"} {
		fresh[section] = overlay(fresh[section], settings[section])
	}
	return fresh
}

// overlay puts what is given over a base, setting by setting; lists replace
// lists. Neither argument is changed.
func overlay(base, given any) any {
	b, ok1 := base.(map[string]any)
	g, ok2 := given.(map[string]any)
	if !ok1 || !ok2 {
		if l, ok := given.([]any); ok {
			return slices.Clone(l)
		}
		return given
	}
	out := make(map[string]any, len(b))
	maps.Copy(out, b)
	for k, v := range g {
		out[k] = overlay(b[k], v)
	}
	return out
}

// decode puts the flags over the settings and makes the value of them all.
func decode(settings map[string]any, fs *pflag.FlagSet, origin map[string]string) (*Config, error) {
	v := viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter))
	if fs != nil {
		if f := fs.Lookup(flagUpstream); f != nil && f.Changed {
			only := newItem(settings).(map[string]any)
			only["name"], only["url"] = defaultUpstream, f.Value.String()
			settings["upstreams"] = []any{only}
			origin["upstreams[0].url"] = "--" + flagUpstream
		}
		for name, key := range flagKeys {
			f := fs.Lookup(name)
			if f == nil {
				continue
			}
			if err := v.BindPFlag(strings.ReplaceAll(key, ".", keyDelimiter), f); err != nil {
				return nil, fmt.Errorf("flag --%s: %w", name, err)
			}
			if f.Changed {
				origin[key] = "--" + name
			}
		}
	}
	if err := v.MergeConfigMap(settings); err != nil {
		return nil, fmt.Errorf("cannot be merged: %w", err)
	}
	c := new(Config)
	strict := func(dc *mapstructure.DecoderConfig) {
		dc.WeaklyTypedInput = false
		dc.DecodeHook = nil // every value has its type already
	}
	if err := v.UnmarshalExact(c, strict); err != nil {
		return nil, fmt.Errorf("does not fit its settings: %w", err)
	}
	if c.Monitor.Thresholds == nil { // viper has no empty maps
		c.Monitor.Thresholds = map[string]int{}
	}
	for i := range c.Upstreams {
		c.Upstreams[i].Headers = canonicalHeaders(c.Upstreams[i].Headers)
		c.Upstreams[i].SecretHeaders = []string{}
	}
	return c, nil
}

// nameUpstreams names those without a name: the first one "default", the others
// by their host and port, such as 10.0.0.7-11434.
func nameUpstreams(us []Upstream) {
	for i := range us {
		switch u, err := url.Parse(us[i].URL); {
		case us[i].Name != "":
		case i == 0:
			us[i].Name = defaultUpstream
		case err == nil:
			us[i].Name = strings.Map(func(r rune) rune {
				if nameRune(r) {
					return r
				}
				return '-'
			}, u.Host)
		}
	}
}

// environment is the list as a map; of two values for one name the last holds,
// as in os/exec.
func environment(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			m[name] = value
		}
	}
	return m
}
