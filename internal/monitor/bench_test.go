package monitor

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func BenchmarkStep(b *testing.B) {
	m := newMonitor(b, nil)
	defer run(b, m)()
	x := m.Begin("r")
	defer x.End()
	b.ReportAllocs()
	for b.Loop() {
		x.Enter(parse)
		x.Leave()
	}
}

func BenchmarkStepInARow(b *testing.B) {
	m := newMonitor(b, nil)
	x := m.Begin("r")
	defer x.End()
	b.ReportAllocs()
	for b.Loop() {
		x.Enter(parse)
	}
}

func BenchmarkExchange(b *testing.B) {
	m := newMonitor(b, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			x := m.Begin("r")
			x.Enter(parse)
			x.End()
		}
	})
}

// BenchmarkTrack is at a rate far beyond what is followed, as at full load.
func BenchmarkTrack(b *testing.B) {
	m := newMonitor(b, nil)
	defer run(b, m)()
	v := new(served)
	b.ReportAllocs()
	for b.Loop() {
		Track(m, KindExchange, &v.mark, 1, "r")()
	}
}

// BenchmarkTrackFollowed follows each object, a fresh one; BenchmarkNew is what
// the object itself costs.
func BenchmarkTrackFollowed(b *testing.B) {
	m := newMonitor(b, nil)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%refill == 0 {
			b.StopTimer()
			m.objects.refill()
			if n%(20*refill) == 0 {
				runtime.GC()
				m.objects.collected()
			}
			b.StartTimer()
		}
		sink = new(served)
		Track(m, KindExchange, sink, 1, "r")()
	}
}

var sink *served

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sink = new(served)
	}
}

func BenchmarkSeen(b *testing.B) {
	m := newMonitor(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		m.Seen("session", 100, 10)
	}
}

// BenchmarkRunSecond reports what a second of watching costs with 1000 exchanges
// in flight and 10000 objects followed, in milliseconds of processor time.
func BenchmarkRunSecond(b *testing.B) {
	m := newMonitor(b, nil)
	for range 1000 {
		x := m.Begin("r")
		defer x.End()
	}
	kept := map[int]*served{}
	for len(kept) < 10000 {
		for k := range kinds {
			serveOne(m, k, kept)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	before := processorTime(b)
	n := 0
	for b.Loop() {
		time.Sleep(time.Second)
		n++
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/1000/float64(n), "cpu-ms/s")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	runtime.KeepAlive(kept)
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
