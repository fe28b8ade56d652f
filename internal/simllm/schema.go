package simllm

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// maxSchemaDepth ends schemas that refer to themselves.
const maxSchemaDepth = 12

// sampler makes a value that a JSON Schema allows.
type sampler struct {
	rng  *rand.Rand
	root map[string]any
	mark string // put into the first free string
}

func (s *sampler) value(schema any, depth int) any {
	m, _ := schema.(map[string]any)
	if depth > maxSchemaDepth {
		return nil
	}
	if ref, ok := m["$ref"].(string); ok {
		return s.value(s.resolve(ref), depth+1)
	}
	if c, ok := m["const"]; ok {
		return c
	}
	if e, ok := m["enum"].([]any); ok && len(e) > 0 {
		return e[s.rng.IntN(len(e))]
	}
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		if of, ok := m[key].([]any); ok && len(of) > 0 {
			return s.value(of[0], depth+1)
		}
	}
	switch s.kind(m) {
	case "object":
		return s.object(m, depth)
	case "array":
		n := 1 + s.rng.IntN(2)
		if least, ok := m["minItems"].(float64); ok {
			n = max(n, min(int(least), 16))
		}
		if most, ok := m["maxItems"].(float64); ok {
			n = min(n, int(max(most, 0)))
		}
		items := make([]any, n)
		for i := range items {
			items[i] = s.value(m["items"], depth+1)
		}
		return items
	case "integer", "number":
		if least, ok := m["minimum"].(float64); ok {
			return least
		}
		most := 99
		if v, ok := m["maximum"].(float64); ok {
			most = int(max(0, min(v, 99)))
		}
		return s.rng.IntN(most + 1)
	case "boolean":
		return s.rng.IntN(2) == 0
	case "null":
		return nil
	}
	if s.mark != "" {
		mark := s.mark
		s.mark = ""
		return mark
	}
	nouns := vocabulary[noun]
	return strings.TrimSpace(nouns[s.rng.IntN(len(nouns))])
}

func (s *sampler) object(m map[string]any, depth int) map[string]any {
	properties, _ := m["properties"].(map[string]any)
	out := make(map[string]any, len(properties))
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		out[name] = s.value(properties[name], depth+1)
	}
	return out
}

// kind is the schema's type; the first one that is not null if it names many.
func (s *sampler) kind(m map[string]any) string {
	switch t := m["type"].(type) {
	case string:
		return t
	case []any:
		for _, one := range t {
			if name, ok := one.(string); ok && name != "null" {
				return name
			}
		}
	}
	if _, ok := m["properties"]; ok {
		return "object"
	}
	return "string"
}

// resolve follows a reference within the document, such as "#/$defs/step".
func (s *sampler) resolve(ref string) any {
	var at any = s.root
	for name := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(ref, "#"), "/"), "/") {
		if name == "" {
			continue
		}
		m, _ := at.(map[string]any)
		at = m[name]
	}
	return at
}
