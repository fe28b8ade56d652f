package main

import (
	"context"
	"io"
	"log/slog"
	"runtime/pprof"
	"sync"
	"time"
)

// newLogger returns the program's log in the configured format.
func newLogger(w io.Writer, format string, level *slog.LevelVar) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(lineHandler{Handler: slog.NewJSONHandler(w, opts), w: w})
}

// gather collects the log's lines and writes them from a goroutine of its own:
// a busy proxy makes one system call for many, and a reader of the log that
// falls asleep holds up nobody. A line after a silence is written at once. It is
// safe for concurrent use.
type gather struct {
	w    io.Writer
	wake chan struct{}
	// lost is told how many lines found no room. It may write a line itself.
	// Set before start.
	lost func(lines int)

	mu      sync.Mutex
	lines   []byte
	dropped int // lines that found no room since the last write
}

const (
	gatherFor   = 50 * time.Millisecond // how long lines are gathered after some were written
	gatherBytes = 1 << 20               // beyond it lines are dropped, and counted

	// lastLines is how long the end of the process may wait for the log's reader.
	lastLines = time.Second
)

func newGather(w io.Writer) *gather { return &gather{w: w, wake: make(chan struct{}, 1)} }

// Write takes a line. It never fails and never waits for the log's reader.
func (g *gather) Write(line []byte) (int, error) {
	g.mu.Lock()
	if len(g.lines)+len(line) > gatherBytes {
		g.dropped++
	} else {
		g.lines = append(g.lines, line...)
	}
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// start begins to write what is gathered. The func it returns writes the rest and
// waits for that, but not for ever: a reader of the log that sleeps must not keep
// the process from ending.
func (g *gather) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		pprof.Do(ctx, pprof.Labels("task", "log lines"), g.run)
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(lastLines):
		}
	}
}

func (g *gather) run(ctx context.Context) {
	var spare []byte
	for ctx.Err() == nil {
		select {
		case <-g.wake:
		case <-ctx.Done():
		}
		spare = g.flush(spare)
		select {
		case <-time.After(gatherFor):
		case <-ctx.Done():
		}
	}
	for range 2 { // the second time for what lost may have had to say
		spare = g.flush(spare)
	}
}

// flush writes the lines; spare becomes the next buffer, and the written one is
// returned for the time after. Where the log cannot be written there is nobody
// left to tell.
func (g *gather) flush(spare []byte) []byte {
	g.mu.Lock()
	lines, dropped := g.lines, g.dropped
	g.lines, g.dropped = spare[:0], 0
	g.mu.Unlock()
	if len(lines) > 0 {
		_, _ = g.w.Write(lines)
	}
	if dropped > 0 {
		g.lost(dropped)
	}
	return lines
}
