package main

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"testing"
	"time"
)

// TestLineHandlerWritesWhatSlogWrites compares every kind of value with the
// handler that is stood in for.
func TestLineHandlerWritesWhatSlogWrites(t *testing.T) {
	when := time.Date(2026, 1, 31, 10, 0, 0, 123456000, time.UTC)
	for name, attrs := range map[string][]slog.Attr{
		"none":      nil,
		"plain":     {slog.String("s", "text"), slog.Int("i", -7), slog.Bool("b", true), slog.Float64("f", 363.022)},
		"escapes":   {slog.String("s", "a\"b\\c\n\t\x01<&>\u2028é日😀")},
		"not UTF-8": {slog.String("s", "a\xffb")},
		"floats":    {slog.Float64("zero", 0), slog.Float64("whole", 12), slog.Float64("tiny", 1e-9), slog.Float64("huge", 1e22), slog.Float64("third", 1.0/3)},
		"infinite":  {slog.Float64("f", math.Inf(1))},
		"nameless":  {{Value: slog.GroupValue(slog.String("a", "1"), slog.Int("b", 2))}},
		"group":     {slog.Group("g", slog.String("a", "1"))},
		"others":    {slog.Any("list", []string{"x"}), slog.Duration("d", time.Second), slog.Time("t", when), slog.Any("err", context.Canceled)},
	} {
		var want, got bytes.Buffer
		record := slog.NewRecord(when, slog.LevelInfo, "exchange", 0)
		record.AddAttrs(attrs...)
		std := slog.NewJSONHandler(&want, nil)
		fast := lineHandler{Handler: slog.NewJSONHandler(&got, nil), w: &got}
		if err := std.Handle(context.Background(), record); err != nil {
			t.Fatal(err)
		}
		if err := fast.Handle(context.Background(), record); err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Errorf("%s:\n got %s\nwant %s", name, got.String(), want.String())
		}
	}
}

func BenchmarkLine(b *testing.B) {
	record := slog.NewRecord(time.Now(), slog.LevelInfo, "exchange", 0)
	record.AddAttrs(slog.Attr{Value: slog.GroupValue(
		slog.String("request_id", "01a2149f-ec93-7d5e-b3a4-2557506dc20c"), slog.String("method", "POST"), slog.String("path", "/v1/chat/completions"),
		slog.Int("status", 200), slog.String("ended_by", "upstream"), slog.Float64("duration_ms", 363.022), slog.Int("bytes_in", 1100),
		slog.Int("bytes_out", 1338), slog.String("upstream", "default"), slog.String("model", "m"), slog.Int("attempts", 1))})
	var out bytes.Buffer
	std := slog.NewJSONHandler(&out, nil)
	for name, h := range map[string]slog.Handler{"slog": std, "ours": lineHandler{Handler: std, w: &out}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if err := h.Handle(context.Background(), record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
