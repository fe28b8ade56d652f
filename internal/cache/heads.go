package cache

import (
	"net/http"
	"slices"
	"strings"
)

// heads are the headers of the latest answers as a replay may carry them. Most
// answers of an upstream have the same one, and so share it. It has no lock of its
// own.
type heads map[headPlace]http.Header

type headPlace struct {
	upstream string
	form     Form
}

// mostHeads bounds them; more upstreams than that are forgotten now and then.
const mostHeads = 64

// replayable returns what of a header a replay may carry. Nobody may change it.
func (k heads) replayable(at headPlace, h http.Header) http.Header {
	if kept := k[at]; kept != nil && sameReplay(kept, h) {
		return kept
	}
	if len(k) >= mostHeads {
		clear(k)
	}
	k[at] = replayHeader(h)
	return k[at]
}

// sameReplay tells whether kept is what replayHeader would make of h.
func sameReplay(kept, h http.Header) bool {
	hops, n := h["Connection"], 0
	for name, values := range h {
		if !replayable(name) || named(hops, name) {
			continue
		}
		if n++; !slices.Equal(kept[name], values) {
			return false
		}
	}
	return n == len(kept)
}

// replayHeader copies the end-to-end headers that an answer may be given again
// with. The values cannot be appended to in place.
func replayHeader(h http.Header) http.Header {
	kept := make(http.Header, len(h))
	total := 0
	for _, values := range h {
		total += len(values)
	}
	all := make([]string, 0, total)
	hops := h["Connection"]
	for name, values := range h {
		if !replayable(name) || named(hops, name) {
			continue
		}
		first := len(all)
		all = append(all, values...)
		kept[name] = all[first:len(all):len(all)]
	}
	return kept
}

// replayable tells whether a replay may carry a header: not if it is of one hop, of
// one moment, of one asker, or told anew each time. CORS headers may be replayed,
// since the origin is in the key.
func replayable(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Proxy-Authenticate", "Proxy-Authorization",
		"Content-Length", "Date", "Age", "Set-Cookie", "Server-Timing",
		"X-Request-Id", "Request-Id", "Openai-Processing-Ms", "Alt-Svc",
		"Via", "Cf-Ray":
		return false
	}
	for _, prefix := range [...]string{"X-Ratelimit-", "Anthropic-Ratelimit-", "Ratelimit", "X-Vega-"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// named tells whether Connection declares a header to be hop by hop.
func named(lines []string, name string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), name) {
				return true
			}
		}
	}
	return false
}
