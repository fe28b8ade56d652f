package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Path is the setting as it is written, such as upstreams[1].url, or the
	// file's name when the file as a whole is wrong.
	Path string
	// Message says what is wrong and what to do about it.
	Message string
}

// Problems is everything that is wrong, as one error with a line per problem.
// Its text holds no secret.
type Problems []Problem

// Error is one line per problem: "path: what is wrong; what to do".
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Path + ": " + p.Message
	}
	return strings.Join(lines, "\n")
}

func (ps *Problems) add(path, format string, args ...any) {
	*ps = append(*ps, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}
