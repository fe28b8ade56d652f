package dialect

import "strings"

// Framing is how the body of an answer is cut into events.
type Framing uint8

// The framings.
const (
	FramingNone   Framing = iota // bytes that nobody here reads
	FramingJSON                  // one JSON document
	FramingSSE                   // server-sent events
	FramingNDJSON                // one JSON document a line
)

// FramingOf reads a Content-Type. Parameters and case do not matter.
func FramingOf(contentType string) Framing {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.TrimSpace(kind)
	switch {
	case strings.EqualFold(kind, "text/event-stream"):
		return FramingSSE
	case strings.EqualFold(kind, "application/x-ndjson"),
		strings.EqualFold(kind, "application/ndjson"),
		strings.EqualFold(kind, "application/jsonl"),
		strings.EqualFold(kind, "application/jsonlines"):
		return FramingNDJSON
	case strings.EqualFold(kind, "application/json"):
		return FramingJSON
	default:
		return FramingNone
	}
}
