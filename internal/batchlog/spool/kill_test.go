package spool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// helperDir names the directory of a helper process: this binary again.
const helperDir = "SPOOL_TEST_HELPER_DIR"

// helperPayload is what a helper appends under an id.
func helperPayload(id [16]byte) []byte {
	n := binary.LittleEndian.Uint64(id[:])
	return bytes.Repeat(id[:], int(1+n*7919%200))
}

// appendUntilKilled appends from several goroutines and says of each record
// that it was appended, until the process is killed.
func appendUntilKilled(dir string) {
	// A late record is not in the kernel when Append returns: here none is late.
	s, _, err := Open(Config{Dir: dir, MaxBytes: 64 << 20, SegmentBytes: 64 << 10, Fsync: 5 * time.Millisecond, Late: time.Hour})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	go func() { _ = s.Run(context.Background()) }()
	next := s.Counters().Accepted
	var mu sync.Mutex
	var wg sync.WaitGroup
	for worker := range uint64(4) {
		wg.Go(func() {
			for n := next; ; n++ {
				var id [16]byte
				binary.LittleEndian.PutUint64(id[:], n*4+worker)
				binary.LittleEndian.PutUint64(id[8:], worker+1)
				if _, err := s.Append(id, nothing, helperPayload(id)); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Printf("%x\n", id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKill kills a process that appends, at a random record, twenty times over
// on the same spool: each record that it reported is read back exactly once.
func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	dir := t.TempDir()
	reported := map[string]bool{}
	lines := rand.New(rand.NewPCG(3, 4))
	for range rounds {
		killAfter(t, dir, 1+lines.IntN(400), reported)
		if t.Failed() {
			return
		}
	}
	s, found, err := Open(Config{Dir: dir, MaxBytes: 64 << 20, SegmentBytes: 64 << 10, Fsync: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for {
		entries, err := s.Read(100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			id := fmt.Sprintf("%x", e.ID)
			if seen[id] {
				t.Errorf("%s comes twice", id)
			}
			seen[id] = true
			if !bytes.Equal(e.Payload, helperPayload(e.ID)) {
				t.Errorf("%s: not what was appended", id)
			}
		}
	}
	for id := range reported {
		if !seen[id] {
			t.Errorf("%s was appended and is lost", id)
		}
	}
	if c := s.Counters(); c.Dropped.Total() != 0 || c.Accepted != uint64(len(seen)) {
		t.Errorf("read %d: %+v", len(seen), c)
	}
	t.Logf("%d reported, %d found in %d segments, torn %d bytes", len(reported), len(seen), found.Segments, found.TornBytes)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// killAfter kills a helper once it has reported some records.
func killAfter(t *testing.T, dir string, records int, reported map[string]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	for n := 0; scan.Scan(); n++ {
		line := scan.Text()
		if strings.HasPrefix(line, "error") {
			t.Error(line)
		}
		if n == records {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		// What is still in the pipe was reported before, but for a torn last line.
		if len(line) == 32 {
			reported[line] = true
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the helper ended by itself")
	}
}
