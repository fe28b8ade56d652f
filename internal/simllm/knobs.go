package simllm

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds on what a request may ask for, so that no knob can exhaust memory.
const (
	maxTokens    = 1 << 20
	maxTextBytes = 64 << 20
	maxDims      = 1 << 14
)

// Whose manners the OpenAI paths copy.
const (
	likeOllama = "ollama"
	likeLlama  = "llama"
	likeVLLM   = "vllm"
)

// knobs say how one request is answered; doc.go explains each.
type knobs struct {
	tokens, tokenBytes, size, thinkTokens, dims int
	cjk, fixed                                  bool
	ttft, delay                                 time.Duration

	like                          string
	usage                         *bool
	noDone, comments, crlf, bom   bool
	noSpace, multiline, noNewline bool
	split                         int
	fail                          string // "" is none
	status                        int    // set if fail is a status code
	failAfter                     int
	failRate                      float64
	retryAfter                    int
	slow                          time.Duration
}

const (
	failBusy       = "busy"
	failLoading    = "loading"
	failEmpty      = "empty"
	failClose      = "close"
	failReset      = "reset"
	failHang       = "hang"
	failSlow       = "slowheaders"
	failEOF        = "eof"
	failCleanEOF   = "clean-eof"
	failErrorEvent = "error-event"
	failEmptyDelta = "empty-delta"
	failHalfEvent  = "half-event"
	failBadUTF8    = "bad-utf8"
	failHugeEvent  = "huge-event"
	failNone       = "none"
)

var failKinds = []string{
	failBusy, failLoading, failEmpty, failClose, failReset, failHang, failSlow, failEOF, failCleanEOF,
	failErrorEvent, failEmptyDelta, failHalfEvent, failBadUTF8, failHugeEvent, failNone,
}

// setters holds each knob by its name.
var setters = map[string]func(k *knobs, value string) error{
	"tokens":       func(k *knobs, v string) error { return setInt(&k.tokens, v, 0, maxTokens) },
	"token_bytes":  func(k *knobs, v string) error { return setInt(&k.tokenBytes, v, 0, maxTextBytes) },
	"size":         func(k *knobs, v string) error { return setInt(&k.size, v, 0, maxTextBytes) },
	"think_tokens": func(k *knobs, v string) error { return setInt(&k.thinkTokens, v, 0, maxTokens) },
	"dims":         func(k *knobs, v string) error { return setInt(&k.dims, v, 1, maxDims) },
	"words":        func(k *knobs, v string) error { return setChoice(&k.cjk, v, "english", "cjk") },
	"ttft":         func(k *knobs, v string) error { return setDuration(&k.ttft, v) },
	"delay":        func(k *knobs, v string) error { return setDuration(&k.delay, v) },
	"fixed":        func(k *knobs, v string) error { return setBool(&k.fixed, v) },
	"like": func(k *knobs, v string) error {
		k.like = v
		return oneOf(v, []string{likeOllama, likeLlama, likeVLLM})
	},
	"usage": func(k *knobs, v string) error {
		k.usage = new(bool)
		return setBool(k.usage, v)
	},
	"done":        func(k *knobs, v string) error { return setChoice(&k.noDone, v, "true", "false") },
	"comments":    func(k *knobs, v string) error { return setBool(&k.comments, v) },
	"crlf":        func(k *knobs, v string) error { return setBool(&k.crlf, v) },
	"bom":         func(k *knobs, v string) error { return setBool(&k.bom, v) },
	"space":       func(k *knobs, v string) error { return setChoice(&k.noSpace, v, "true", "false") },
	"multiline":   func(k *knobs, v string) error { return setBool(&k.multiline, v) },
	"newline":     func(k *knobs, v string) error { return setChoice(&k.noNewline, v, "true", "false") },
	"split":       func(k *knobs, v string) error { return setInt(&k.split, v, 0, maxTextBytes) },
	"fail":        (*knobs).setFail,
	"fail_after":  func(k *knobs, v string) error { return setInt(&k.failAfter, v, 0, maxTokens) },
	"fail_rate":   func(k *knobs, v string) error { return setShare(&k.failRate, v) },
	"retry_after": func(k *knobs, v string) error { return setInt(&k.retryAfter, v, 0, 1<<20) },
	"slow":        func(k *knobs, v string) error { return setDuration(&k.slow, v) },
}

func (k *knobs) set(name, value string) error {
	set, ok := setters[name]
	if !ok {
		return fmt.Errorf("no knob %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(setters)), ", "))
	}
	if err := set(k, value); err != nil {
		return fmt.Errorf("knob %s=%q: %w", name, value, err)
	}
	return nil
}

// setQuery applies the knobs of a URL query.
func (k *knobs) setQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("knobs %q: %w", query, err)
	}
	for name, all := range values {
		if err := k.set(name, all[len(all)-1]); err != nil {
			return err
		}
	}
	return nil
}

const headerPrefix = "X-Sim-"

// setHeader applies the X-Sim-* headers.
func (k *knobs) setHeader(h http.Header) error {
	for name, all := range h {
		rest, ok := strings.CutPrefix(name, headerPrefix)
		if !ok {
			continue
		}
		if err := k.set(strings.ReplaceAll(strings.ToLower(rest), "-", "_"), all[len(all)-1]); err != nil {
			return err
		}
	}
	return nil
}

func (k *knobs) setFail(v string) error {
	if status, err := strconv.Atoi(v); err == nil {
		k.fail, k.status = v, status
		if status < 400 || status > 599 {
			return fmt.Errorf("a status must be between 400 and 599")
		}
		return nil
	}
	k.fail, k.status = v, 0
	if v == "" || v == failNone {
		k.fail = ""
		return nil
	}
	return oneOf(v, failKinds)
}

func oneOf(v string, choices []string) error {
	if slices.Contains(choices, v) {
		return nil
	}
	return fmt.Errorf("must be one of %s", strings.Join(choices, ", "))
}

// setChoice sets *to if v is the second of the two names.
func setChoice(to *bool, v, off, on string) error {
	*to = v == on
	return oneOf(v, []string{off, on})
}

func setInt(to *int, v string, least, most int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return fmt.Errorf("must be a whole number from %d to %d", least, most)
	}
	*to = n
	return nil
}

func setShare(to *float64, v string) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("must be a number from 0 to 1")
	}
	*to = f
	return nil
}

func setBool(to *bool, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("must be true or false")
	}
	*to = b
	return nil
}

func setDuration(to *time.Duration, v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return fmt.Errorf("must be a duration such as 5ms or 2s")
	}
	*to = d
	return nil
}
