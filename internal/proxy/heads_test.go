package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
)

// flags feeds the bytes in pieces of the given size.
func flags(stream string, size int) bool {
	var s headScanner
	for p := []byte(stream); len(p) > 0; {
		n := min(size, len(p))
		if s.scan(p[:n]) {
			return true
		}
		p = p[n:]
	}
	return false
}

func TestHeadScanner(t *testing.T) {
	const (
		cl    = "Content-Length: 5\r\n"
		te    = "Transfer-Encoding: chunked\r\n"
		line  = "POST / HTTP/1.1\r\nHost: a\r\n"
		good  = line + cl + "\r\nhello"
		coded = line + te + "\r\n5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n"
		long  = "GET /" + "0123456789012345678901234567890123456789012345678901234567890123456789"
	)
	spaces := strings.Repeat(" ", 70)
	for _, tt := range []struct {
		name, stream string
		want         bool
	}{
		{"a length", good, false},
		{"chunks", coded, false},
		{"no body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"one after the other", good + coded + "\r\n" + good + good, false},
		{"length and coding", line + cl + te + "\r\n", true},
		{"coding and length", line + te + cl + "\r\n", true},
		{"in other letters", line + "content-LENGTH:5\r\ntransfer-ENCODING:chunked\r\n\r\n", true},
		{"LF alone", "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", true},
		{"length zero and coding", line + "Content-Length: 0\r\n" + te + "\r\n", true},
		{"coding in HTTP/1.0", "POST / HTTP/1.0\r\n" + te + "\r\n", true},
		{"coding in HTTP/1.0, long target", long + " HTTP/1.0\r\n" + te + "\r\n", true},
		{"length in HTTP/1.0", "POST / HTTP/1.0\r\n" + cl + "\r\nhello", false},
		{"long target", long + " HTTP/1.1\r\n" + te + "\r\n0\r\n\r\n", false},
		{"a target that looks like a version", long + "HTTP/1.0 HTTP/1.1\r\n" + te + "\r\n0\r\n\r\n", false},
		{"behind a good one", good + line + cl + te + "\r\n", true},
		{"behind chunks", coded + line + cl + te + "\r\n", true},
		{"behind a stray line end", "\r\n" + good + "\r\n\r\n" + line + cl + te + "\r\n", true},
		{"inside a body", line + "Content-Length: 49\r\n\r\n\r\n\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n" + good, false},
		{"inside a chunk", line + te + "\r\n30\r\nContent-Length: 5\r\nTransfer-Encoding: chunke\r\n\r\n0\r\n\r\n", false},
		{"inside trailers", line + te + "\r\n0\r\nContent-Length: 5\r\n\r\n" + good, false},
		{"names that begin alike", line + "Content-Length-X: 5\r\nTransfer-Encodings: chunked\r\n" + cl + "\r\nhello", false},
		{"a length no number", line + "Content-Length: x\r\n" + te + "\r\n", true},
		{"a length below nothing", line + "Content-Length: -5\r\n" + te + "\r\n", true},
		{"a length that is empty", line + "Content-Length:\r\n" + te + "\r\n", true},
		{"a length folded", line + "Content-Length:\r\n 5\r\n" + te + "\r\n", true},
		{"a length far to the right", line + "Content-Length:" + spaces + "5\r\n" + te + "\r\n", true},
		{"a coding far to the right", line + cl + "Transfer-Encoding:" + spaces + "chunked\r\n\r\n", true},
		{"a coding folded", line + cl + "Transfer-Encoding:\r\n chunked\r\n\r\n", true},
		{"a field folded", line + "X: a\r\n Content-Length: 5\r\n" + te + "\r\n0\r\n\r\n", false},
		{"a chunk size below nothing", line + te + "\r\n-5\r\nhello\r\n0\r\n\r\n", false},
		{"a chunk size no number", line + te + "\r\nxyz\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for size := 1; size <= len(tt.stream); size++ {
				if got := flags(tt.stream, size); got != tt.want {
					t.Fatalf("in pieces of %d: ambiguous is %v, want %v", size, got, tt.want)
				}
			}
		})
	}
}

// verdict is what net/http's own parser makes of a stream of requests: how many
// bytes it takes without an error, and whether a request among them was
// ambiguous. unclear heads are those that the scanner may refuse although they
// could be understood.
func verdict(stream []byte) (taken int, ambiguous, unclear bool) {
	src := bytes.NewReader(stream)
	br := bufio.NewReader(src)
	for {
		taken = len(stream) - src.Len() - br.Buffered()
		for { // net/http skips no stray line end; the scanner may
			r, err := http.ReadRequest(br)
			if err != nil {
				return taken, ambiguous, unclear
			}
			head := stream[taken:]
			fields, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(head[bytes.IndexByte(head, '\n')+1:]))).ReadMIMEHeader()
			if err != nil {
				return taken, ambiguous, unclear
			}
			coded := len(fields["Transfer-Encoding"]) > 0
			lengths := fields["Content-Length"]
			ambiguous = ambiguous || coded && (len(lengths) > 0 || r.ProtoMajor == 1 && r.ProtoMinor == 0)
			unclear = unclear || len(lengths) > 0 && (oddLength(head) || r.ProtoMajor != 1)
			if _, err := io.Copy(io.Discard, r.Body); err != nil || ambiguous {
				if ambiguous {
					taken = len(stream) - src.Len() - br.Buffered()
				}
				return taken, ambiguous, unclear
			}
			break
		}
	}
}

// oddLength tells of a Content-Length that is folded or very long.
func oddLength(head []byte) bool {
	lower := strings.ToLower(string(head))
	for line := range strings.SplitSeq(lower, "\n") {
		if after, ok := strings.CutPrefix(line, "content-length:"); ok {
			value := strings.TrimSpace(after)
			if len(line) > 60 || value == "" || strings.Trim(value, "0123456789") != "" {
				return true
			}
		}
	}
	return false
}

func FuzzHeadScanner(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.0\nTransfer-Encoding: chunked\nContent-Length:\n 5\n\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		taken, ambiguous, unclear := verdict(stream)
		whole := flags(string(stream), len(stream)+1)
		if split := flags(string(stream), int(size)+1); split != whole {
			t.Errorf("in pieces of %d: %v, at once %v", int(size)+1, split, whole)
		}
		switch {
		case ambiguous && !whole:
			t.Errorf("net/http takes an ambiguous request that is not seen")
		case !ambiguous && !unclear && flags(string(stream[:taken]), taken+1):
			t.Errorf("net/http takes %q as it is meant, and it is refused", stream[:taken])
		}
	})
}
