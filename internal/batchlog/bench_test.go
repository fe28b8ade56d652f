package batchlog

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// kibibyte is an exchange of 1 KiB + 1 KiB, not streamed.
func kibibyte() *Record {
	r := chat(strings.Repeat("word ", 190), "")
	r.Framing, r.Streamed = dialect.FramingJSON, false
	r.Answer = [][]byte{[]byte(`{"id":"chatcmpl-1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("word ", 170) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":180,"total_tokens":380}}`)}
	return r
}

// onCPU reports what the process spends on the processor for each operation:
// unlike the time on the clock, it does not count the disk and other programs.
func onCPU(b *testing.B) (report func()) {
	start := usage(b)
	return func() { b.ReportMetric(float64(usage(b)-start)/float64(b.N)/1000, "cpu-µs/op") }
}

func usage(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppend is what the log adds to a request.
func BenchmarkAppend(b *testing.B) {
	for _, bench := range []struct {
		name    string
		content string
		redact  []string
	}{{"full", "full", nil}, {"redact", "full", []string{"builtin"}}, {"hashed", "hashed", nil}} {
		b.Run(bench.name, func(b *testing.B) {
			cfg := testConfig()
			cfg.Content, cfg.Redact = bench.content, bench.redact
			cfg.Database = "sqlite:" + b.TempDir() + "/missing/x.db" // nothing leaves
			cfg.Spool.MaxBytes = 1 << 30
			l := open(b, cfg, b.TempDir())
			r := kibibyte()
			b.ReportAllocs()
			report := onCPU(b)
			for b.Loop() {
				l.Append(r)
			}
			report()
		})
	}
}

// BenchmarkEncode is the part of Append before the spool.
func BenchmarkEncode(b *testing.B) {
	cfg := testConfig()
	reducer, err := newReducer(cfg, make([]byte, keySize))
	if err != nil {
		b.Fatal(err)
	}
	l := new(Log)
	l.set.Store(&settings{cfg, reducer})
	r := kibibyte()
	var p payload
	b.ReportAllocs()
	for b.Loop() {
		if _, err = l.encode(&p, r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWholeWay is a record from the request's path into the SQLite file.
func BenchmarkWholeWay(b *testing.B) {
	for _, batch := range []int{50, 1000} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			cfg := testConfig()
			cfg.BatchSize = batch
			l := open(b, cfg, b.TempDir())
			r := kibibyte()
			b.ReportAllocs()
			report := onCPU(b)
			for b.Loop() {
				r.ID = uuid.Must(uuid.NewV7())
				l.Append(r)
				if l.queue.Stats().Spooled >= 2000 {
					flushAll(b, l)
				}
			}
			flushAll(b, l)
			report()
		})
	}
}

// BenchmarkRead is the reading of a record behind the spool.
func BenchmarkRead(b *testing.B) {
	r := kibibyte()
	payload := slices.Concat(new(payload).raw(r, "t")...)
	b.ReportAllocs()
	defer onCPU(b)()
	for b.Loop() {
		if _, err := parsePayload(r.ID, payload, "here"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPostgres compares batches with inserts one by one, in rows a second.
func BenchmarkPostgres(b *testing.B) {
	cfg := testConfig()
	cfg.Database = database(b)
	s, err := openSink(cfg, b.TempDir(), "here")
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	rows := make([]*Conversation, 1000)
	renew := func(n int) []*Conversation {
		for i := range n {
			r := kibibyte()
			r.ID = uuid.Must(uuid.NewV7())
			rows[i] = readRecord(r, "here")
		}
		return rows[:n]
	}
	for _, n := range []int{1, 50, 200, 1000} {
		b.Run(fmt.Sprint("batch=", n), func(b *testing.B) {
			done := 0
			var spent time.Duration
			for b.Loop() {
				b.StopTimer()
				batch := renew(n)
				b.StartTimer()
				start := time.Now()
				if err := s.store(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				spent += time.Since(start)
				done += n
			}
			b.ReportMetric(float64(done)/spent.Seconds(), "rows/s")
		})
	}
	b.Run("plain", func(b *testing.B) {
		conn := connect(b, cfg.Database)
		statement := "INSERT INTO conversations (" + columnNames() + ") VALUES ($1" + func() (rest string) {
			for i := 2; i <= len(columns); i++ {
				rest += fmt.Sprintf(", $%d", i)
			}
			return rest
		}() + ")"
		var spent time.Duration
		done := 0
		for b.Loop() {
			b.StopTimer()
			row := renew(1)[0]
			b.StartTimer()
			args := make([]any, 0, len(columns))
			for _, f := range row.fields() {
				if absent(f) {
					f = nil
				}
				args = append(args, f)
			}
			start := time.Now()
			if _, err := conn.Exec(b.Context(), statement, args...); err != nil {
				b.Fatal(err)
			}
			spent += time.Since(start)
			done++
		}
		b.ReportMetric(float64(done)/spent.Seconds(), "rows/s")
	})
}

// BenchmarkDrain is a backlog that is stored after an outage.
func BenchmarkDrain(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l, err := New(testConfig(), b.TempDir(), "here", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			b.Fatal(err)
		}
		for range 5000 {
			r := kibibyte()
			r.ID = uuid.Must(uuid.NewV7())
			l.Append(r)
		}
		b.StartTimer()
		run := start(b, l)
		flushAll(b, run)
		b.StopTimer()
		if err := run.stop(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(5000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
