package wire

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// oneKiB answers each request, without looking at more than its end.
func oneKiB(_ int, p *peer) {
	answer := []byte("HTTP/1.1 200 OK\r\nDate: Mon, 24 Nov 2025 10:00:00 GMT\r\nServer: uvicorn\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("a", 1024))
	buf := make([]byte, 64<<10)
	for have := 0; ; {
		n, err := p.Conn.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		if bytes.HasSuffix(buf[:have], []byte("END.")) {
			p.Conn.Write(answer)
			have = 0
		}
	}
}

func promptHeader() http.Header {
	return http.Header{
		"Content-Type":  {"application/json"},
		"Authorization": {"Bearer sk-0123456789abcdef"},
		"User-Agent":    {"OpenAI/Python 1.99.0"},
		"Accept":        {"application/json"},
		"Via":           {"1.1 vega-proxy"},
	}
}

// BenchmarkRoundTrip sends 1 KiB and reads 1 KiB over loopback; the backend's
// share of the time is the same in all.
func BenchmarkRoundTrip(b *testing.B) {
	body := append(filled(1020), "END."...)
	run := func(b *testing.B, tr Transport) {
		r := &Request{Method: "POST", Target: "/v1/chat/completions", Header: promptHeader(), Body: body}
		buf := make([]byte, 4<<10)
		b.ReportAllocs()
		for b.Loop() {
			resp, err := tr.RoundTrip(b.Context(), r)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.ReadFull(resp.Body, buf[:1024]); n != 1024 {
				b.Fatal(err)
			}
			if _, err := resp.Body.Read(buf); err != io.EOF {
				b.Fatal(err)
			}
		}
	}
	b.Run("h1", func(b *testing.B) { run(b, h1Only.start(b, oneKiB)) })
	b.Run("std", func(b *testing.B) {
		tr := newStd(h1Only.serve(b, oneKiB))
		defer tr.Close()
		run(b, tr)
	})
	b.Run("http.Transport", func(b *testing.B) {
		cfg := h1Only.serve(b, oneKiB)
		tr := &http.Transport{DisableCompression: true}
		defer tr.CloseIdleConnections()
		buf := make([]byte, 4<<10)
		b.ReportAllocs()
		for b.Loop() {
			req, err := http.NewRequestWithContext(b.Context(), "POST", cfg.URL.String()+"/v1/chat/completions", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			req.Header = promptHeader()
			resp, err := tr.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.ReadFull(resp.Body, buf[:1024]); n != 1024 {
				b.Fatal(err)
			}
			if _, err := resp.Body.Read(buf); err != io.EOF {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
	})
}

// BenchmarkChunks reads 200 events of 120 bytes, each a chunk.
func BenchmarkChunks(b *testing.B) {
	event := "data: " + strings.Repeat("t", 112) + "\n\n"
	chunk := strconv.FormatInt(int64(len(event)), 16) + "\r\n" + event + "\r\n"
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 200) + "0\r\n\r\n"
	run := func(b *testing.B, tr Transport) {
		buf := make([]byte, 4<<10)
		b.ReportAllocs()
		for b.Loop() {
			resp, err := tr.RoundTrip(b.Context(), get)
			if err != nil {
				b.Fatal(err)
			}
			total := 0
			for err == nil {
				var n int
				n, err = resp.Body.Read(buf)
				total += n
			}
			if err != io.EOF || total != 200*len(event) {
				b.Fatal(total, err)
			}
		}
	}
	b.Run("h1", func(b *testing.B) { run(b, h1Only.start(b, says(answer))) })
	b.Run("std", func(b *testing.B) {
		tr := newStd(h1Only.serve(b, says(answer)))
		defer tr.Close()
		run(b, tr)
	})
}
