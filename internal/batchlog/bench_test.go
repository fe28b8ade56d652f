package batchlog

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
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
func onCPU(b *testing.B) (report func() (each float64)) {
	start := usage(b)
	return func() float64 {
		each := float64(usage(b)-start) / float64(b.N) / 1000
		b.ReportMetric(each, "cpu-µs/op")
		return each
	}
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
				l.Append(r, nothing)
			}
			report()
		})
	}
}

// BenchmarkAppendAt200 has 200 records a second come at their own times, as streams
// end, and be stored behind that, and reports how long Append keeps the last byte
// back.
func BenchmarkAppendAt200(b *testing.B) {
	for _, fsync := range []string{"1s", "always"} {
		b.Run("fsync="+fsync, func(b *testing.B) {
			cfg := testConfig()
			cfg.Spool.Fsync = fsync
			l := open(b, cfg, b.TempDir())
			var wg sync.WaitGroup
			var mu sync.Mutex
			var took []time.Duration
			for b.Loop() {
				time.Sleep(time.Duration(rand.ExpFloat64() * float64(5*time.Millisecond)))
				r := kibibyte()
				r.ID = uuid.Must(uuid.NewV7())
				wg.Go(func() {
					start := time.Now()
					l.Append(r, nothing)
					d := time.Since(start)
					mu.Lock()
					defer mu.Unlock()
					took = append(took, d)
				})
			}
			wg.Wait()
			if st := l.Stats(); st.Dropped != 0 {
				b.Errorf("%+v", st)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
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
				l.Append(r, nothing)
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

// BenchmarkAway is a record's whole cost, while Postgres takes it, and while it is
// dead or hangs: then what is appended stays in the spool, and is tried again and
// again. It reports by how much the process has grown since the server went.
func BenchmarkAway(b *testing.B) {
	var works float64
	for _, state := range []string{"works", "dead", "hangs"} {
		b.Run(state, func(b *testing.B) {
			cfg := testConfig()
			cfg.Database = database(b)
			cfg.Spool.MaxBytes, cfg.FlushInterval = 1<<30, 5*time.Second
			l := open(b, cfg, b.TempDir())
			r := kibibyte()
			add := func() {
				r.ID = uuid.Must(uuid.NewV7())
				l.Append(r, nothing)
			}
			for range 5000 {
				add()
			}
			flushAll(b, l)
			switch state {
			case "dead":
				shared.Kill()
				defer func() {
					if err := shared.Start(); err != nil {
						b.Error(err)
					}
				}()
			case "hangs":
				pids := backends(b)
				signalAll(b, pids, syscall.SIGSTOP)
				defer signalAll(b, pids, syscall.SIGCONT)
			}
			before := resident(b)
			report := onCPU(b)
			for b.Loop() {
				add()
			}
			if state == "works" {
				flushAll(b, l)
			}
			cpu := report()
			if state == "works" {
				works = cpu
			} else if works > 0 {
				b.ReportMetric(cpu/works, "x-works")
			}
			b.ReportMetric(resident(b)-before, "MiB-grown")
		})
	}
}

// resident is the process's own memory, in MiB.
func resident(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
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

// BenchmarkDrain is a backlog that is stored after an outage, while 200 records a
// second go on coming.
func BenchmarkDrain(b *testing.B) {
	const backlog = 100_000
	var spent time.Duration
	for b.Loop() {
		cfg := testConfig()
		cfg.Spool.MaxBytes = 1 << 30
		l, err := New(cfg, b.TempDir(), "here", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			b.Fatal(err)
		}
		add := func() {
			r := kibibyte()
			r.ID = uuid.Must(uuid.NewV7())
			l.Append(r, nothing)
		}
		for range backlog {
			add()
		}
		begin := time.Now()
		run := start(b, l)
		came := time.NewTicker(time.Second / 200)
		for l.Stats().QueueSize > backlog/1000 { // some are always on their way
			<-came.C
			add()
		}
		spent += time.Since(begin)
		came.Stop()
		if err := run.stop(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(backlog*b.N)/spent.Seconds(), "rows/s")
}
