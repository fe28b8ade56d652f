package front

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const sample = "POST /a?b HTTP/1.1\r\nhost: c\r\nX-d: e\r\nConnection: close\r\nContent-Length: 12\r\nx-D: f\r\n\r\n"

// TestSplit reads a head in two pieces, and byte by byte.
func TestSplit(t *testing.T) {
	whole := []byte(sample)
	bytewise := &head{}
	for i := range whole {
		h := &head{}
		if v := h.scan(whole[:i]); v != more {
			t.Errorf("%q: verdict %d", whole[:i], v)
		}
		if v := h.scan(whole); v != plain || h.line != len(whole) || h.n != 5 || h.length != 12 || !h.close {
			t.Errorf("in two pieces, the first of %d bytes: verdict %d, %+v", i, v, h)
		}
		if v := bytewise.scan(whole[:i]); v != more {
			t.Errorf("byte by byte, %d: verdict %d", i, v)
		}
	}
	if v := bytewise.scan(whole); v != plain {
		t.Errorf("byte by byte: verdict %d", v)
	}
}

// TestOddAtOnce: what is odd is known with its line, not only with the head.
func TestOddAtOnce(t *testing.T) {
	for _, raw := range []string{
		"\r\n", "\n", "GET /\n", "GET /\r\n", "GET / HTTP/1.0\r\n", "BREW / HTTP/1.1\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
		"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
		"GET / HTTP/1.1\r\n folded\r\n",
		"GET / HTTP/1.1\r\nX: y\n",
	} {
		h := &head{}
		if v := h.scan([]byte(raw)); v != odd {
			t.Errorf("%q: verdict %d", raw, v)
		}
	}
}

// TestOwnValues: no handler's append reaches a neighbour's value.
func TestOwnValues(t *testing.T) {
	r := requestOf(t, []byte(sample))
	r.Header.Add("Connection", "more")
	if got := r.Header["Content-Length"]; len(got) != 1 || got[0] != "12" {
		t.Errorf("Content-Length: %q", got)
	}
}

func requestOf(t *testing.T, raw []byte) http.Request {
	t.Helper()
	h := &head{}
	if v := h.scan(raw); v != plain {
		t.Fatalf("verdict %d", v)
	}
	r, err := h.request(raw)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// FuzzHead: what is plain is the same to net/http, and needs no more bytes, nor
// less.
func FuzzHead(f *testing.F) {
	for _, raw := range []string{
		sample,
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest",
		"GET //a/%2f?%20 HTTP/1.1\r\nHost: [::1]:80\r\nA:\r\nB:\t c\xff \r\n\r\n",
		"OPTIONS /:#? HTTP/1.1\r\nHost: _\r\nConnection: Keep-Alive\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\n\r\n",
	} {
		f.Add([]byte(raw), 7)
	}
	f.Fuzz(func(t *testing.T, raw []byte, split int) {
		raw = raw[:min(len(raw), inputSize)]
		h := &head{}
		verdict := h.scan(raw[:max(0, min(split, len(raw)))])
		if verdict == more {
			verdict = h.scan(raw)
		}
		whole := &head{}
		if v := whole.scan(raw); v != verdict {
			t.Fatalf("verdict %d in one piece, %d in two", v, verdict)
		}
		if verdict != plain {
			return
		}
		if *h != *whole {
			t.Errorf("in one piece %+v, in two %+v", whole, h)
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw[:h.line])))
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		got, err := h.request(bytes.Clone(raw))
		if err != nil {
			t.Fatalf("a plain target does not parse: %v", err)
		}
		if want.ContentLength > 0 {
			want.Body = http.NoBody // read apart
		}
		for field, value := range reflect.ValueOf(got).Fields() {
			if !field.IsExported() {
				continue
			}
			other := reflect.ValueOf(want).Elem().FieldByIndex(field.Index)
			if !reflect.DeepEqual(value.Interface(), other.Interface()) {
				t.Errorf("%s: %#v, to net/http %#v", field.Name, value, other)
			}
		}
		if before, _ := bytes.CutSuffix(raw[:h.line], []byte("\r\n\r\n")); strings.Contains(string(before), "\r\n\r\n") {
			t.Error("the head goes on behind its end")
		}
	})
}
