package stream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		budget := NewBudget(1 << 20)
		events := NewEvents(reg, budget)
		cfg := settings()
		cfg.BufferSize = 2
		var buffers []*Buffer
		var clients []*slowClient
		for range 3 {
			c := newClient(100, 0)
			buffers, clients = append(buffers, NewBuffer(cfg, c, c, budget, events)), append(clients, c)
		}
		fillUp(t, buffers[0], clients[0])
		for range 2 {
			put(buffers[0], ev("1"))
		}
		go func() {
			time.Sleep(time.Second)
			clients[0].setRate(1e6)
		}()
		for name, want := range map[string]float64{
			"vega_streams blocked": 1, "vega_streams normal": 2, "vega_streams throttled": 0, "vega_streams warning": 0,
			"vega_stream_buffered_bytes": 18, "vega_stream_buffer_limit_bytes": 1 << 20,
		} {
			if got, ok := gather(t, reg)[name]; !ok || got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		put(buffers[0], ev("2"))
		put(buffers[1], ev("2"))
		for _, b := range buffers {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
		got := gather(t, reg)
		for name, want := range map[string]float64{
			"vega_stream_received_events_total": 5, "vega_stream_sent_events_total": 5,
			"vega_stream_received_bytes_total": 137, "vega_stream_sent_bytes_total": 137,
			"vega_stream_dropped_events_total": 0, "vega_stream_throttled_seconds_total": 0, "vega_stream_buffered_bytes": 0,
			"vega_streams blocked": 0, "vega_streams normal": 0, "vega_streams throttled": 0, "vega_streams warning": 0,
		} {
			if n, ok := got[name]; !ok || n != want {
				t.Errorf("%s is %v, want %v", name, n, want)
			}
		}
		if got := got["vega_stream_blocked_seconds_total"]; got < 1 || got > 1.05 { // the client looks at its rate every few milliseconds
			t.Errorf("blocked for %v s, want 1", got)
		}
	})
}

// gather gives each series by its name and its one label's value.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			if labels := m.GetLabel(); len(labels) > 0 {
				name += " " + labels[0].GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}
