package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestRefusedAnswers(t *testing.T) {
	heads := map[string]string{
		"not HTTP":                    "SSH-2.0-OpenSSH_9.6\r\n\r\n",
		"empty line first":            "\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/2 in HTTP/1":            "HTTP/2.0 200 OK\r\n\r\n",
		"two digits":                  "HTTP/1.1 20 OK\r\n\r\n",
		"four digits":                 "HTTP/1.1 2000 OK\r\n\r\n",
		"signed status":               "HTTP/1.1 +20 OK\r\n\r\n",
		"status below 100":            "HTTP/1.1 099 OK\r\n\r\n",
		"bare LF":                     "HTTP/1.1 200 OK\nContent-Length: 1\n\na",
		"bare LF in a field":          "HTTP/1.1 200 OK\r\nX: 1\nContent-Length: 1\r\n\r\na",
		"field without colon":         "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
		"control in a field":          "HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n",
		"length and chunked":          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"negative length":             "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
		"signed length":               "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
		"list of lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
		"two lengths":                 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"huge length":                 "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"empty length":                "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
		"gzip transfer":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"two transfers":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunked in 1.0":              "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"length announced as trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X, content-length\r\n\r\n0\r\n\r\n",
		"unasked upgrade":             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
		"malformed interim":           "HTTP/1.1 103 Early Hints\r\nnonsense\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"cut in the head":             "HTTP/1.1 200 OK\r\nContent-Le",
		"cut before final head":       "HTTP/1.1 100 Continue\r\n\r\n",
	}
	for name, answer := range heads {
		t.Run(name, func(t *testing.T) {
			tr := h1Only.start(t, func(_ int, p *peer) {
				p.request()
				p.say(answer)
				if !strings.HasPrefix(name, "cut") {
					p.untilGone()
				}
			})
			_, err := tr.RoundTrip(t.Context(), get)
			if e, ok := errors.AsType[*Error](err); !ok || e.Phase != Head || !e.Sent || e.Timeout != "" {
				t.Errorf("got %v", err)
			}
			if strings.HasPrefix(name, "cut") != errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v", err)
			}
			until(t, "the connection is closed", func() bool { return tr.Stats().Open == 0 })
		})
	}
}

func TestRefusedBodies(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	each(t, func(t *testing.T, im implementation) {
		for name, answer := range map[string]string{
			"cut length":            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
			"cut chunk":             chunked + "9\r\nhello",
			"cut between chunks":    chunked + "5\r\nhello\r\n",
			"cut in a size":         chunked + "5\r\nhello\r\n5",
			"cut before last CRLF":  chunked + "5\r\nhello\r\n0\r\n",
			"cut in the trailers":   chunked + "5\r\nhello\r\n0\r\nX: 1\r\n",
			"bad size":              chunked + "5\r\nhello\r\nfive\r\n",
			"no size":               chunked + "5\r\nhello\r\n\r\nhello",
			"huge size":             chunked + "5\r\nhello\r\n11111111111111111\r\n",
			"negative size":         chunked + "5\r\nhello\r\n-5\r\n",
			"bare LF after a size":  chunked + "5\r\nhello\r\n5\nworld\r\n0\r\n\r\n",
			"CR in a size line":     chunked + "5\r\nhello\r\n5;\r;\r\nworld\r\n0\r\n\r\n",
			"chunk over its size":   chunked + "5\r\nhello world\r\n0\r\n\r\n",
			"endless size line":     chunked + "5\r\nhello\r\n1;" + strings.Repeat("x", 10_000),
			"malformed trailer":     chunked + "5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
			"endless trailers":      chunked + "5\r\nhello\r\n0\r\n" + strings.Repeat("X: 1\r\n", 750),
			"bare LF for a trailer": chunked + "5\r\nhello\r\n0\r\nX: 1\n\r\n",
		} {
			if im.tls && name == "bare LF for a trailer" {
				continue // net/http takes it
			}
			t.Run(name, func(t *testing.T) {
				resp := fetch(t, im.start(t, saysAndCloses(answer)), get)
				got, err := io.ReadAll(resp.Body)
				e, ok := errors.AsType[*Error](err)
				if string(got) != "hello" || !ok || e.Phase != Body || !e.Sent {
					t.Errorf("got %q, %v", got, err)
				}
				// net/http has errors of its own for what is cut after the last chunk.
				ownError := im.tls && (name == "cut before last CRLF" || name == "cut in the trailers")
				if strings.HasPrefix(name, "cut") && !ownError && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("got %v", err)
				}
				if _, again := resp.Body.Read(make([]byte, 1)); again != err {
					t.Errorf("then %v", again)
				}
			})
		}
	})
}
