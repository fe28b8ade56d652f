package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds what is read of a configuration file.
const maxFileBytes = 4 * mib

// readFile reads a YAML file into nested maps and lists. Duplicate keys and keys
// that are not text are taken out and reported, so that the rest can still be
// checked.
func readFile(name string) (any, Problems) {
	data, err := readBounded(name, maxFileBytes)
	if err != nil {
		return nil, Problems{{name, err.Error()}}
	}
	return parseYAML(name, data)
}

func parseYAML(name string, data []byte) (any, Problems) {
	var doc, second yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, Problems{{name, yamlMessage(err)}}
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, Problems{{name, "holds more than one YAML document; keep one and remove the --- between them"}}
	}
	var ps Problems
	checkKeys("", &doc, &ps)
	var tree any
	if err := doc.Decode(&tree); err != nil {
		ps.add(name, "%s", yamlMessage(err))
		return nil, ps
	}
	return tree, ps
}

// checkKeys reports and removes the keys of mappings that are not text or are
// there already. Aliases are left alone: what they name is checked in its place.
func checkKeys(path string, n *yaml.Node, ps *Problems) {
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			checkKeys(path, c, ps)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			checkKeys(item(path, i), c, ps)
		}
	case yaml.MappingNode:
		seen := make(map[string]int)
		kept := n.Content[:0]
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			at := join(path, key.Value)
			merge := key.Tag == "!!merge"
			switch line, dup := seen[key.Value]; {
			case !merge && (key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str"):
				ps.add(at, "the key in line %d is not text; put it in quotes or correct it", key.Line)
				continue
			case dup:
				ps.add(at, "stands in line %d and again in line %d; keep one", line, key.Line)
				continue
			}
			seen[key.Value] = key.Line
			checkKeys(at, value, ps)
			kept = append(kept, key, value)
		}
		n.Content = kept
	}
}

func yamlMessage(err error) string {
	return "is not valid YAML: " + strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: ") + "; correct that line"
}

// readBounded reads a file that must not be longer than limit.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w; check the path and the permissions", reason(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w; check the path and the permissions", reason(err))
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("is longer than %s; check that it is the right file", formatSize(limit))
	}
	return data, nil
}

// reason is a file error without the operation and the path, which the problem
// names already.
func reason(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}
