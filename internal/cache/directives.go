package cache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Directives are what one request wishes for its own answer.
type Directives struct {
	NoStore      bool // the cache is to have no part in it
	NoCache      bool // a new answer, which replaces the one that is kept
	OnlyIfCached bool // no upstream is to be asked
	// MaxAge is the greatest age of an answer that is wanted, or -1.
	MaxAge time.Duration
	// MinFresh is for how long an answer is to be fresh still.
	MinFresh time.Duration
	// TTL is how long this answer is to be kept, or -1; with 0 it is not kept.
	TTL time.Duration
}

// maxSeconds bounds what a request can wish for: a year.
const maxSeconds = 365 * 24 * 3600

// DirectivesOf reads Cache-Control and X-Vega-Cache-TTL. What is not understood
// is no wish.
func DirectivesOf(h http.Header) Directives {
	d := Directives{MaxAge: -1, TTL: -1}
	for _, line := range h["Cache-Control"] {
		for item := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
			switch {
			case strings.EqualFold(name, "no-store"):
				d.NoStore = true
			case strings.EqualFold(name, "no-cache"):
				d.NoCache = true
			case strings.EqualFold(name, "only-if-cached"):
				d.OnlyIfCached = true
			case strings.EqualFold(name, "max-age"):
				if age := seconds(strings.Trim(value, `"`)); age >= 0 && (d.MaxAge < 0 || age < d.MaxAge) {
					d.MaxAge = age
				}
			case strings.EqualFold(name, "min-fresh"):
				d.MinFresh = max(d.MinFresh, seconds(strings.Trim(value, `"`)))
			}
		}
	}
	if values := h["X-Vega-Cache-Ttl"]; len(values) > 0 {
		d.TTL = seconds(strings.TrimSpace(values[0]))
	}
	return d
}

// seconds reads a whole number of seconds, or returns -1.
func seconds(text string) time.Duration {
	if text == "" {
		return -1
	}
	for _, ch := range []byte(text) {
		if ch < '0' || ch > '9' {
			return -1
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil { // more digits than a number holds
		n = maxSeconds
	}
	return time.Duration(min(n, maxSeconds)) * time.Second
}
