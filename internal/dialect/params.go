package dialect

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// params collects a request's parameters by one set of names.
type params struct {
	names  []string // as the log calls them
	given  []string // as the request called them
	values [][]byte
}

// common maps the dialects' names to the ones that the log uses.
var common = map[string]string{
	"temperature":           "temperature",
	"top_p":                 "top_p",
	"max_tokens":            "max_tokens",
	"max_completion_tokens": "max_tokens",
	"max_output_tokens":     "max_tokens",
	"num_predict":           "max_tokens",
	"n_predict":             "max_tokens",
	"stop":                  "stop",
	"stop_sequences":        "stop",
	"reasoning":             "reasoning",
	"reasoning_effort":      "reasoning",
	"think":                 "reasoning",
	"thinking":              "reasoning",
}

// plainParams are logged by their own names. It is a list of what is allowed,
// since a member that is not known may hold content, which the log may have to
// leave out.
var plainParams = map[string]bool{
	"top_k": true, "min_p": true, "typical_p": true, "seed": true, "n": true, "best_of": true,
	"min_tokens": true, "frequency_penalty": true, "presence_penalty": true,
	"repeat_penalty": true, "repetition_penalty": true, "repeat_last_n": true,
	"mirostat": true, "mirostat_tau": true, "mirostat_eta": true, "logit_bias": true,
	"ignore_eos": true, "logprobs": true, "top_logprobs": true, "echo": true,
	"num_ctx": true, "num_keep": true, "num_batch": true, "num_gpu": true, "num_thread": true,
	"stream": true, "keep_alive": true, "raw": true, "truncate": true, "shift": true,
	"truncation": true, "dimensions": true, "encoding_format": true, "service_tier": true,
	"parallel_tool_calls": true, "tool_choice": true, "verbosity": true, "modalities": true,
	"store": true, "background": true, "max_tool_calls": true,
}

// read reads one member's value if it is a parameter.
func (p *params) read(c *cursor, name string) {
	if to, ok := common[name]; ok {
		p.set(to, name, c.value())
	} else if plainParams[name] {
		p.set(name, name, c.value())
	} else {
		c.skip()
	}
}

// readNested reads Ollama's options.
func (p *params) readNested(c *cursor) {
	if !c.object() {
		return
	}
	for name, ok := c.member(); ok; name, ok = c.member() {
		p.read(c, unquote(name))
	}
}

// set keeps the last value given, but max_completion_tokens goes before the
// max_tokens that it replaces.
func (p *params) set(name, given string, value []byte) {
	if string(value) == "null" {
		return
	}
	i := slices.Index(p.names, name)
	switch {
	case i < 0:
		p.names = append(p.names, name)
		p.given = append(p.given, given)
		p.values = append(p.values, value)
	case given != "max_tokens" || p.given[i] == given:
		p.given[i], p.values[i] = given, value
	}
}

// object returns the parameters as a JSON object, or nil if there are none.
func (p *params) object() []byte {
	if len(p.names) == 0 {
		return nil
	}
	dst := []byte{'{'}
	for i, name := range p.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(appendText(dst, name), ':'), p.values[i]...)
	}
	dst = append(dst, '}')
	value := jsontext.Value(dst)
	// Only spaces go; the text was valid before.
	if err := value.Compact(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil
	}
	return value
}
