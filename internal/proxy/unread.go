package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// unread is what net/http refuses by itself, before a handler can see it.
type unread struct {
	code Code
	why  string // net/http's own words; may be empty
}

// The words that net/http has for them, by their status line. What it knows more
// precisely stands behind the line, after a colon.
var unreadLines = []struct {
	line string
	code Code
}{
	{"HTTP/1.1 431 Request Header Fields Too Large", headTooLarge},
	{"HTTP/1.1 400 Bad Request", malformed},
	{"HTTP/1.1 501 Not Implemented", unsupportedCoding},
	{"HTTP/1.1 505 HTTP Version Not Supported", unsupportedVersion},
	{"HTTP/1.1 417 Expectation Failed", unsupportedExpectation},
}

// longestUnread is more than any of them takes.
const longestUnread = 512

// unreadOf tells whether p is one of net/http's own answers, each of which is one
// write. The head of an answer that a handler gave has a Date, and our headers.
func unreadOf(p []byte) (u unread, ok bool) {
	if len(p) > longestUnread || !bytes.HasPrefix(p, []byte("HTTP/1.1 ")) {
		return u, false
	}
	line, rest, _ := strings.Cut(string(p), "\r\n")
	for _, known := range unreadLines {
		why, found := strings.CutPrefix(line, known.line)
		if !found {
			continue
		}
		u = unread{known.code, strings.TrimPrefix(why, ": ")}
		if known.code == unsupportedExpectation {
			return u, strings.HasPrefix(rest, "Connection: close\r\nDate: ") && strings.HasSuffix(rest, "\r\nContent-Length: 0\r\n\r\n") &&
				!strings.Contains(rest, headerID)
		}
		return u, strings.HasPrefix(rest, "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
	}
	return u, false
}

// message is what a client is told.
func (u unread) message(maxHead int64) string {
	switch u.code {
	case headTooLarge:
		return fmt.Sprintf("the request's head is longer than limits.max_header_bytes (%s)", byteSize(maxHead))
	case unsupportedCoding:
		return "the request's Transfer-Encoding is not supported: chunked is"
	case unsupportedVersion:
		return "the request's version of HTTP is not supported: HTTP/1.1 is"
	case unsupportedExpectation:
		return "the request's Expect is not supported: 100-continue is"
	}
	if u.why == "" {
		return "this is not a well-formed HTTP request"
	}
	return "this is not a well-formed HTTP request: " + u.why
}

// refuseUnread accounts for what net/http has refused, and returns the answer in
// place of its own. The dialect is unknown: the request was not read.
func (s *Server) refuseUnread(u unread) []byte {
	x := &exchange{s: s, rules: s.rules.Load(), r: &http.Request{URL: &url.URL{}}, report: report{start: time.Now()}}
	x.nameIt()
	x.route = dialect.RouteOf("", "")
	x.caching.age = -1
	status := statuses[u.code]
	x.report.code, x.report.status, x.report.ended, x.report.refused = u.code, status, byError, true
	own := s.errorAnswer(x.route.Dialect, status, &refusal{code: u.code, message: u.message(int64(s.cfg.Limits.MaxHeaderBytes))})
	h := http.Header{headerError: own.code, "Content-Type": jsonType, "Content-Length": own.length, "Connection": {"close"}}
	x.mark(h)
	h.Set("Date", x.report.start.UTC().Format(http.TimeFormat))
	answer := new(bytes.Buffer)
	fmt.Fprintf(answer, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = h.Write(answer) // into memory
	answer.WriteString("\r\n")
	answer.Write(own.body)
	x.report.bytesOut = int64(len(own.body))
	x.account()
	return answer.Bytes()
}
