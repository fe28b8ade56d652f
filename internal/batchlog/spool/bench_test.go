package spool

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// running is a spool on the real disk with its writer running.
func running(tb testing.TB, cfg Config) *Spool {
	tb.Helper()
	cfg.Dir = tb.TempDir()
	s, _, err := Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// reportCPU adds what the process used, in the kernel too, to what passed.
func reportCPU(b *testing.B, begin syscall.Rusage) {
	var end syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &end); err != nil {
		b.Fatal(err)
	}
	used := end.Utime.Nano() + end.Stime.Nano() - begin.Utime.Nano() - begin.Stime.Nano()
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}

func usage(b *testing.B) (u syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u
}

var twoKiB = bytes.Repeat([]byte("0123456789abcdef"), 128)

func BenchmarkAppend(b *testing.B) {
	// A loop that did not wait for a busy disk would only fill the queue.
	s := running(b, Config{MaxBytes: 64 << 20, Fsync: time.Second, Late: time.Minute})
	b.ReportAllocs()
	b.SetBytes(int64(len(twoKiB)))
	begin := usage(b)
	for b.Loop() {
		if _, err := s.Append([16]byte{1}, nothing, twoKiB); err != nil {
			b.Fatal(err)
		}
	}
	reportCPU(b, begin)
}

func BenchmarkAppendParallel(b *testing.B) {
	s := running(b, Config{MaxBytes: 64 << 20, Fsync: time.Second, Late: time.Minute})
	b.ReportAllocs()
	b.SetBytes(int64(len(twoKiB)))
	b.SetParallelism(32)
	begin := usage(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Append([16]byte{1}, nothing, twoKiB); err != nil {
				b.Error(err)
			}
		}
	})
	reportCPU(b, begin)
}

// BenchmarkAppendInline is Append without Run.
func BenchmarkAppendInline(b *testing.B) {
	s, _, err := Open(Config{Dir: b.TempDir(), MaxBytes: 64 << 20, Fsync: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	begin := usage(b)
	for b.Loop() {
		if _, err := s.Append([16]byte{1}, nil, twoKiB); err != nil {
			b.Fatal(err)
		}
	}
	reportCPU(b, begin)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAppendAlways64 has 64 callers share the syncs.
func BenchmarkAppendAlways64(b *testing.B) {
	s := running(b, Config{MaxBytes: 64 << 20})
	b.SetParallelism(32) // times GOMAXPROCS
	b.ReportAllocs()
	begin := usage(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Append([16]byte{1}, nothing, twoKiB); err != nil {
				b.Error(err)
			}
		}
	})
	reportCPU(b, begin)
	b.ReportMetric(float64(b.N)/float64(s.Stats().Fsyncs), "records/fsync")
}

// BenchmarkAppendAt200 has 200 records a second come at their own times, as
// streams end, and reports how long Append keeps the last byte back.
func BenchmarkAppendAt200(b *testing.B) {
	for name, fsync := range map[string]time.Duration{"interval": time.Second, "always": 0} {
		b.Run(name, func(b *testing.B) {
			s := running(b, Config{MaxBytes: 64 << 20, Fsync: fsync})
			var wg sync.WaitGroup
			var mu sync.Mutex
			var took []time.Duration
			for b.Loop() {
				time.Sleep(time.Duration(rand.ExpFloat64() * float64(5*time.Millisecond)))
				wg.Go(func() {
					start := time.Now()
					_, err := s.Append([16]byte{1}, nothing, twoKiB)
					d := time.Since(start)
					mu.Lock()
					defer mu.Unlock()
					took = append(took, d)
					if err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			slices.Sort(took)
			for name, i := range map[string]int{"p50-µs": len(took) / 2, "p99-µs": len(took) * 99 / 100} {
				b.ReportMetric(float64(took[i].Microseconds()), name)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	s := running(b, Config{MaxBytes: 256 << 20, Fsync: time.Second})
	for range 50_000 {
		if _, err := s.Append([16]byte{1}, nothing, twoKiB); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(twoKiB)))
	b.ReportAllocs()
	for b.Loop() {
		entries, err := s.Read(1, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if len(entries) == 0 {
			if err := s.Rewind(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkOpen100MB(b *testing.B) {
	cfg := Config{Dir: b.TempDir(), MaxBytes: 1 << 30, Fsync: time.Second}
	s, _, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	for range 100_000_000 / (len(twoKiB) + frameSize) {
		if _, err := s.Append([16]byte{1}, nothing, twoKiB); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, found, err := Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(found.BytesRead), "read-B/op")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
