package proxy_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
	"github.com/vega-proxy/vega-proxy/internal/proxy/front"
)

// BenchmarkRefusal shows what a request costs while the breaker is open, beside
// a handler that reads and routes the same body, and then refuses it: both over a
// kept connection, the client's part included.
func BenchmarkRefusal(b *testing.B) {
	request := post("/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"`+strings.Repeat("x", 1000)+`"}]}`)
	b.Run("open", func(b *testing.B) {
		dead, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		dead.Close()
		log := slog.New(slog.NewJSONHandler(io.Discard, nil))
		r := startLogged(b, nil, log, nil, "http://"+dead.Addr().String())
		c := dial(b, r.addr)
		for range 5 {
			if got := ask(b, c, request); got != http.StatusBadGateway {
				b.Fatalf("a dead upstream gives %d", got)
			}
		}
		measure(b, c, request)
	})
	b.Run("trivial", func(b *testing.B) {
		measure(b, dial(b, trivial(b)), request)
	})
}

func measure(b *testing.B, c *client, request string) {
	b.ReportAllocs()
	for b.Loop() {
		if got := ask(b, c, request); got != http.StatusServiceUnavailable {
			b.Fatalf("the answer is a %d", got)
		}
	}
}

func ask(b *testing.B, c *client, request string) int {
	c.send(request)
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		b.Fatal(err)
	}
	return res.StatusCode
}

// trivial serves a handler that does the least.
func trivial(b *testing.B) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	body := dialect.ErrorBody(dialect.OpenAI, http.StatusServiceUnavailable, "breaker_open", "the circuit breaker is open")
	length := strconv.Itoa(len(body))
	srv := front.New(front.Config{
		MaxBody:     64 << 10,
		BaseContext: context.Background(),
		Log:         slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			read, err := io.ReadAll(r.Body)
			route := dialect.RouteOf(r.Method, r.URL.Path)
			if err != nil || dialect.ParseRequest(route, read).Model != "m" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			h := w.Header()
			h.Set("Content-Type", "application/json")
			h.Set("Content-Length", length)
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write(body)
		}),
	})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	b.Cleanup(func() {
		if err := srv.Close(); err != nil {
			b.Error(err)
		}
		<-done
	})
	return ln.Addr().String()
}
