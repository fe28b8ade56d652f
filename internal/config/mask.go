package config

import (
	"reflect"
	"strings"
	"time"
)

// Masked is the effective configuration to show: keys as the file spells them,
// durations and sizes as people write them, secrets as ***.
func (c *Config) Masked() map[string]any {
	return written(reflect.ValueOf(c.hideSecrets())).(map[string]any)
}

// written is a value as somebody would write it in the file.
func written(v reflect.Value) any {
	switch {
	case v.Type() == durationType:
		return formatDuration(time.Duration(v.Int()))
	case v.Kind() == reflect.Int64:
		if text := formatSize(v.Int()); strings.HasSuffix(text, "B") {
			return text
		}
		return v.Int()
	case v.Kind() == reflect.Struct:
		m := make(map[string]any)
		for _, s := range settings(v.Type()) {
			m[s.name] = written(v.FieldByIndex(s.index))
		}
		return m
	case v.Kind() == reflect.Slice:
		l := make([]any, v.Len())
		for i := range l {
			l[i] = written(v.Index(i))
		}
		return l
	case v.Kind() == reflect.Map:
		m := make(map[string]any)
		for _, k := range v.MapKeys() {
			m[k.String()] = written(v.MapIndex(k))
		}
		return m
	}
	return v.Interface()
}
