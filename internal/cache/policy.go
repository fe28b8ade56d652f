package cache

import (
	"net/http"
	"strings"
)

// Reason says in a word why the cache did not answer, or did not keep an answer.
type Reason string

// Why a request is not for the cache at all: its answer is a BYPASS.
const (
	Kind          Reason = "kind" // not an endpoint whose answers are cached
	Policy        Reason = "policy"
	NoStore       Reason = "no-store"
	DuplicateKeys Reason = "duplicate-keys" // the body can be read in more than one way
	Load          Reason = "load"
	Stateful      Reason = "stateful"
)

// Why an answer was not there: it is a MISS.
const (
	First   Reason = "first"   // not asked before, or long forgotten
	Expired Reason = "expired" // older than its TTL or than the request's max-age, or soon to be
	NoCache Reason = "no-cache"
	Framing Reason = "framing" // kept in another form, which cannot be turned into this one without loss
	// TooLarge says that the answer, when last seen, was over the limit.
	TooLarge Reason = "too-large"
	Cleared  Reason = "cleared"
)

// Why an answer was not kept, besides Policy, NoStore, TooLarge and Cleared.
const (
	badStatus  Reason = "status"
	incomplete Reason = "incomplete" // cut off, an error in it, or no positive end
	dropped    Reason = "dropped"
	finish     Reason = "finish" // ended by a filter, or not meant as final
	private    Reason = "private"
	remote     Reason = "remote"
	overtaken  Reason = "overtaken" // a request begun later has been answered already
)

// unkept are all reasons not to keep an answer.
var unkept = [...]Reason{
	badStatus, incomplete, dropped, finish, private, remote, overtaken, Policy, NoStore, TooLarge, Cleared,
}

// Ask is what decides whether the cache has a part in a request.
type Ask struct {
	// Answerable: the endpoint generates or embeds.
	Answerable bool
	Header     http.Header

	Canonical bool // the body has a canonical form
	Ambiguous bool
	Load      bool // loads or unloads a model
	Stateful  bool
	Live      bool // equal bodies need not mean equal requests
	// Deterministic: temperature 0 or a seed, and one choice; embeddings always.
	Deterministic bool
}

// Admit says whether the cache may answer a request, keep its answer and join it
// with equal ones: then the reason is empty. Else the request bypasses it.
func (c *Cache) Admit(a Ask, d Directives) Reason {
	switch {
	case !a.Answerable:
		return Kind
	case c.cfg().Policy == "off":
		return Policy
	case d.NoStore:
		return NoStore
	case a.Ambiguous:
		return DuplicateKeys
	case a.Load:
		return Load
	case a.Stateful, a.Live, len(a.Header["X-Conversation-Id"]) > 0: // llama.cpp's resumable streams
		return Stateful
	case !a.Canonical:
		return DuplicateKeys
	case c.cfg().Policy == "deterministic" && !a.Deterministic:
		return Policy
	}
	return ""
}

// Outcome is how an answer ended, as far as it decides whether it is kept.
type Outcome struct {
	// Err is what cut the answer off; nil after a clean end of its body.
	Err error
	// Broken: the last bytes are the beginning of an event without an end.
	Broken bool
	// Complete: the answer came to a positive end by its own account, without
	// an error in it.
	Complete bool
	// Dropped: events were given up, or were too long to be read.
	Dropped bool
	// Remote: the server had another host answer.
	Remote       bool
	FinishReason string
	// CallsTools is asked only under the policy "deterministic".
	CallsTools func(body []byte) bool
	// Trailer: header fields came behind the body.
	Trailer bool

	Events int // in the body, 0 if it has none
	// Note is handed back with each hit, unread.
	Note any
}

// unfit says why an answer with this head is nobody's but the asker's.
func unfit(status int, h http.Header) Reason {
	if status != http.StatusOK {
		return badStatus
	}
	if len(h["Set-Cookie"]) > 0 {
		return private
	}
	if enc := h["Content-Encoding"]; len(enc) > 0 && (len(enc) > 1 || !strings.EqualFold(enc[0], "identity")) {
		return private // not every asker reads it
	}
	for _, line := range h["Cache-Control"] {
		for item := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(item), "=")
			if strings.EqualFold(name, "no-store") || strings.EqualFold(name, "private") {
				return private
			}
		}
	}
	return ""
}

// unkeepable says why an answer with a fit head is not kept.
func (c *Cache) unkeepable(o *Outcome) Reason {
	switch {
	case o.Err != nil, !o.Complete, o.Trailer:
		return incomplete
	case o.Dropped:
		return dropped
	case o.Remote:
		return remote
	}
	switch o.FinishReason {
	case "content_filter", "abort", "error", "refusal", "pause_turn", "load", "unload":
		return finish
	case "length", "max_tokens", "max_output_tokens", "incomplete", "tool_calls", "function_call", "tool_use":
		if c.cfg().Policy == "deterministic" {
			return Policy
		}
	}
	return ""
}
