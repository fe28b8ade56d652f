package batchlog

import (
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// Outcome is how an exchange ended, in the column `outcome`.
type Outcome string

// All there are.
const (
	OK            Outcome = "ok"
	ClientGone    Outcome = "client_gone"
	UpstreamError Outcome = "upstream_error"
	Truncated     Outcome = "truncated"
	Timeout       Outcome = "timeout"
	Rejected      Outcome = "rejected" // refused by the proxy; recorded without content
	Cancelled     Outcome = "cancelled"
	ShuttingDown  Outcome = "shutting_down"
)

// Record is one exchange as the path of a request hands it over: bytes and
// facts, unread.
type Record struct {
	// ID is a UUIDv7, the record's key. Records of one exchange share it.
	ID uuid.UUID

	// Revision is 0 for the first record of an exchange. A record with a higher
	// one corrects those before it. It has all facts again, but needs no bodies and
	// no time to the first token: where it has none, those stay.
	Revision int

	RequestID, SessionID string
	StartedAt            time.Time
	Route                dialect.Route
	Endpoint             string // path as sent, without query
	Upstream, Model      string

	RequestBody []byte          // with no content encoding
	Answer      [][]byte        // the body of the answer as it was passed on, in pieces
	Framing     dialect.Framing // of the answer

	// TTFT is the time to the first token; 0 if there was none.
	TTFT, Duration time.Duration

	CacheStatus          string
	HTTPStatus, Attempts int
	Outcome              Outcome
	EndedBy, Error       string

	Streamed   bool
	Truncated  bool // the answer has no end
	Incomplete bool // not all of the bytes are here
	Dropped    int  // events that the client did not get

	BytesIn, BytesOut int64

	// Tenant tells callers apart, by their credential or what else they are known
	// by. Only a keyed hash of it is kept.
	Tenant string
}
