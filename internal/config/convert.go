package config

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxInt bounds plain numbers, so that no arithmetic with a count, with seconds
// or with milliseconds can overflow.
const maxInt = math.MaxInt32

// convert brings a value of the file to the type of its setting, strictly: no
// text for a number, no number for text. What does not fit is reported and left
// out (ok is false), so that one run tells everything.
func convert(path string, raw any, t reflect.Type, ps *Problems) (value any, ok bool) {
	switch {
	case t.Kind() == reflect.Struct:
		return convertStruct(path, raw, t, ps)
	case t.Kind() == reflect.Slice:
		return convertList(path, raw, t, ps)
	case t.Kind() == reflect.Map:
		return convertMap(path, raw, t, ps)
	}
	value, err := scalar(raw, t)
	if err != nil {
		ps.add(path, "%v", err)
		return nil, false
	}
	return value, true
}

func convertStruct(path string, raw any, t reflect.Type, ps *Problems) (any, bool) {
	m, ok := raw.(map[string]any)
	if !ok {
		ps.add(path, "is %s, not a section; write its settings below it, indented", kindOf(raw))
		return nil, false
	}
	types := make(map[string]reflect.Type)
	for _, s := range settings(t) {
		types[s.name] = s.typ
	}
	out := make(map[string]any, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := join(path, key)
		typ, known := types[key]
		if !known {
			ps.add(at, "is not a setting; %s", suggestSetting(path, key, slices.Sorted(maps.Keys(types))))
			continue
		}
		if m[key] == nil { // an empty section or setting keeps its default
			continue
		}
		if v, ok := convert(at, m[key], typ, ps); ok {
			out[key] = v
		}
	}
	return out, true
}

func convertList(path string, raw any, t reflect.Type, ps *Problems) (any, bool) {
	l, ok := raw.([]any)
	if !ok {
		ps.add(path, "is %s, not a list; write [first, second]", kindOf(raw))
		return nil, false
	}
	out := make([]any, 0, len(l))
	for i, e := range l {
		v, ok := convert(item(path, i), e, t.Elem(), ps)
		if !ok && t.Elem().Kind() == reflect.Struct {
			v, ok = map[string]any{}, true // the items after it keep their index
		}
		if ok {
			out = append(out, v)
		}
	}
	return out, true
}

func convertMap(path string, raw any, t reflect.Type, ps *Problems) (any, bool) {
	m, ok := raw.(map[string]any)
	if !ok {
		ps.add(path, "is %s, not names with values; write {name: value}", kindOf(raw))
		return nil, false
	}
	out := make(map[string]any, len(m))
	spelled := make(map[string]string, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := join(path, key)
		if other, dup := spelled[strings.ToLower(key)]; dup {
			ps.add(at, "differs from %s in capitals only; keep one of them", other)
			continue
		}
		spelled[strings.ToLower(key)] = key
		if t.Elem().Kind() == reflect.Int && !validStep(key) {
			ps.add(at, "is not the name of a step; use lower-case letters, digits, _, - and .")
			continue
		}
		if v, ok := convert(at, m[key], t.Elem(), ps); ok {
			out[strings.ToLower(key)] = v
		}
	}
	return out, true
}

// validStep holds the names of steps to what survives viper, which lower-cases
// keys and splits them at "::".
func validStep(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-.") == "" && name == strings.ToLower(name)
}

// scalar converts one value of the file. Its errors name no text value, which
// may be a secret, except where the setting cannot be one.
func scalar(raw any, t reflect.Type) (any, error) {
	if text, ok := raw.(string); ok && (t.Kind() == reflect.String || t == durationType || t.Kind() == reflect.Int64) {
		return fromText(text, t)
	}
	switch {
	case t == durationType:
		switch n := raw.(type) {
		case int, int64, uint64, float64:
			if n == 0 || n == float64(0) {
				return time.Duration(0), nil
			}
			return nil, needsUnit(n)
		}
		return nil, fmt.Errorf("is %s, not a duration; write for example 500ms, 30s or 5m", kindOf(raw))
	case t.Kind() == reflect.Int64, t.Kind() == reflect.Int:
		switch n := raw.(type) {
		case int:
			return fromText(strconv.Itoa(n), t)
		case int64, uint64:
			return fromText(fmt.Sprint(n), t)
		}
		if t.Kind() == reflect.Int64 {
			return nil, fmt.Errorf("is %s, not a size; write a whole number of bytes, or one with KiB, MiB or GiB", kindOf(raw))
		}
		return nil, fmt.Errorf("is %s, not a whole number; write it without quotes, unit or fraction", kindOf(raw))
	case t.Kind() == reflect.Float64:
		switch n := raw.(type) {
		case int:
			return float64(n), nil
		case float64:
			return fromText(strconv.FormatFloat(n, 'g', -1, 64), t)
		}
		return nil, fmt.Errorf("is %s, not a number; write it without quotes or unit", kindOf(raw))
	case t.Kind() == reflect.Bool:
		if b, ok := raw.(bool); ok {
			return b, nil
		}
		return nil, fmt.Errorf("is %s, not true or false; write true or false without quotes", kindOf(raw))
	}
	return nil, fmt.Errorf("is %s, not text; put it in quotes", kindOf(raw))
}

// fromText reads a value written as text: every one from the environment, and
// texts, durations and sizes from the file.
func fromText(text string, t reflect.Type) (any, error) {
	switch {
	case t == durationType:
		return parseDuration(text)
	case t.Kind() == reflect.Int64:
		return parseSize(text)
	case t.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number; write it without unit or fraction", text)
		}
		if n < 0 || n > maxInt {
			return nil, fmt.Errorf("%d is out of range; write 0 to %d", n, maxInt)
		}
		return n, nil
	case t.Kind() == reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%q is not a number; write for example 0.7", text)
		}
		return f, nil
	case t.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false; write one of them", text)
		}
		return b, nil
	}
	return text, nil
}

func kindOf(raw any) string {
	switch raw.(type) {
	case nil:
		return "empty"
	case string:
		return "text"
	case bool:
		return "true or false"
	case int, int64, uint64, float64:
		return "a number"
	case time.Time:
		return "a date"
	case []any:
		return "a list"
	}
	return "a section"
}

// canonicalHeaders gives the names, which viper has lower-cased, the spelling
// that net/http uses.
func canonicalHeaders(headers map[string]string) map[string]string {
	out := make(map[string]string, len(headers))
	for name, value := range headers {
		out[http.CanonicalHeaderKey(name)] = value
	}
	return out
}
