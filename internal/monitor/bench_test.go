package monitor

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vega-proxy/vega-proxy/internal/monitor/progress"
)

func BenchmarkStep(b *testing.B) {
	m := newMonitor(b, nil)
	defer run(b, m)()
	x := begin(m, "r")
	defer x.End()
	b.ReportAllocs()
	for b.Loop() {
		x.Enter(parse)
		x.Leave()
	}
}

func BenchmarkStepInARow(b *testing.B) {
	m := newMonitor(b, nil)
	x := begin(m, "r")
	defer x.End()
	b.ReportAllocs()
	for b.Loop() {
		x.Enter(parse)
	}
}

// BenchmarkExchange is all that an exchange costs which is passed on at full load: seven
// steps with four waits between them, and two objects.
func BenchmarkExchange(b *testing.B) {
	m := newMonitor(b, nil)
	defer run(b, m)()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		x := new(exchange)
		for pb.Next() {
			passOn(m, x)
		}
	})
}

func passOn(m *Monitor, x *exchange) {
	x.place = m.Begin(&x.Exchange, "r", x.place)
	x.Enter(parse)
	exchange := track(x, progress.KindExchange)
	x.Leave()
	x.Enter(parse)
	x.Enter(dispatch)
	x.Leave()
	x.Enter(parse)
	body := track(x, progress.KindUpstreamBody)
	x.Leave()
	x.Enter(parse)
	x.Leave()
	x.Enter(parse)
	x.Enter(dispatch)
	exchange()
	body()
	x.End()
}

func track(x *exchange, k progress.Kind) (done func()) {
	if !x.Follows(k) {
		return nothing
	}
	return Track(x.place, k, kept, 1, "r")
}

var kept = new(served)

// BenchmarkTrack is at a rate far beyond what is followed, as at full load.
func BenchmarkTrack(b *testing.B) {
	m := newMonitor(b, nil)
	defer run(b, m)()
	x := begin(m, "r")
	defer x.End()
	b.ReportAllocs()
	for b.Loop() {
		track(x, progress.KindExchange)()
	}
}

// BenchmarkTrackFollowed follows each object, a fresh one; BenchmarkNew is what
// the object itself costs.
func BenchmarkTrackFollowed(b *testing.B) {
	m := newMonitor(b, nil)
	x := begin(m, "r")
	defer x.End()
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
		Track(x.place, progress.KindExchange, sink, 1, "r")()
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
		x := begin(m, "r")
		defer x.End()
	}
	kept := map[int]*served{}
	for len(kept) < 10000 {
		for k := range progress.Kinds {
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
