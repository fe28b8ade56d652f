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

// BenchmarkPostgres compares batches with inserts one by one, each by a prepared
// statement in a transaction of its own, in rows a second.
func BenchmarkPostgres(b *testing.B) {
	cfg := testConfig()
	cfg.Database = database(b)
	s, err := openSink(cfg, b.TempDir(), "here")
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	if err := s.store(b.Context(), renewed(1)); err != nil { // makes the table
		b.Fatal(err)
	}
	conn := connect(b, cfg.Database)
	parameters := make([]string, len(columns))
	for i := range parameters {
		parameters[i] = fmt.Sprintf("$%d", i+1)
	}
	statement := "INSERT INTO conversations (" + columnNames() + ") VALUES (" + strings.Join(parameters, ", ") + ")"
	insert := func(row *Conversation) error {
		args := row.fields()
		for i, f := range args {
			if absent(f) {
				args[i] = nil
			}
		}
		_, err := conn.Exec(b.Context(), statement, args[:]...)
		return err
	}
	// measure returns rows a second.
	measure := func(b *testing.B, n int, store func([]*Conversation) error) float64 {
		var spent time.Duration
		for b.Loop() {
			b.StopTimer()
			rows := renewed(n)
			b.StartTimer()
			start := time.Now()
			if err := store(rows); err != nil {
				b.Fatal(err)
			}
			spent += time.Since(start)
		}
		rate := float64(n*b.N) / spent.Seconds()
		b.ReportMetric(rate, "rows/s")
		return rate
	}
	var single float64
	b.Run("single", func(b *testing.B) {
		single = measure(b, 1, func(rows []*Conversation) error { return insert(rows[0]) })
	})
	for _, n := range []int{1, 50, 200, 1000} {
		b.Run(fmt.Sprint("batch=", n), func(b *testing.B) {
			rate := measure(b, n, func(rows []*Conversation) error { return s.store(b.Context(), rows) })
			if single > 0 { // was run
				b.ReportMetric(rate/single, "x-single")
			}
		})
	}
}

// renewed are rows with ids of their own.
func renewed(n int) []*Conversation {
	rows := make([]*Conversation, n)
	for i := range rows {
		r := kibibyte()
		r.ID = uuid.Must(uuid.NewV7())
		rows[i] = readRecord(r, "here")
	}
	return rows
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
