package batchlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/vega-proxy/vega-proxy/internal/batchlog/spool"
	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// memory is a spool without a disk.
type memory struct {
	mu      sync.Mutex
	entries []spool.Entry // not acknowledged
	read    int           // of those
	next    uint64
	arrived chan struct{} // closed and made anew with each
	stats   spool.Stats
}

func newMemory() *memory { return &memory{arrived: make(chan struct{})} }

func (m *memory) Append(id [16]byte, _ func(), payload ...[]byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	m.entries = append(m.entries, spool.Entry{Seq: m.next, ID: id, Payload: slices.Concat(payload...)})
	m.stats.Accepted++
	close(m.arrived)
	m.arrived = make(chan struct{})
	return m.next, nil
}

func (m *memory) Read(limit, _ int) ([]spool.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(limit, len(m.entries)-m.read)
	found := m.entries[m.read : m.read+n : m.read+n]
	m.read += n
	return found, nil
}

func (m *memory) Ack(seq uint64, o spool.Outcome) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := int(seq - m.entries[0].Seq + 1)
	m.entries = m.entries[n:]
	m.read -= n
	m.stats.Inserted += uint64(n) - o.SetAside - o.Amended
	m.stats.SetAside += o.SetAside
	m.stats.Amended += o.Amended
	return nil
}

func (m *memory) Settle(s spool.Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.SetAside -= s.Retried + s.Discarded
	m.stats.Inserted += s.Retried
	m.stats.Retired += s.Retired
	return nil
}

func (m *memory) Rewind() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read = 0
	return nil
}

func (m *memory) Wait(ctx context.Context, n int) error {
	for {
		m.mu.Lock()
		enough, arrived := len(m.entries)-m.read >= n, m.arrived
		m.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *memory) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (m *memory) Close() error                  { return nil }

func (m *memory) Stats() spool.Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Spooled = uint64(len(m.entries))
	return s
}

// script is a sink that does as it is told. What a test and fail share, and
// what a test reads, is for do.
type script struct {
	start time.Time

	mu      sync.Mutex // guards what follows
	batches []string   // when and how many
	rows    map[string]*Conversation
	fail    func(rows []*Conversation) error // nil: never
	steps   int

	commits  int
	noCommit bool
}

var errDown, errPoison = errors.New("down"), errors.New("poison")

func (s *script) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *script) store(ctx context.Context, rows []*Conversation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(rows); err != nil {
			return err
		}
	}
	s.batches = append(s.batches, fmt.Sprintf("%v:%d", time.Since(s.start), len(rows)))
	for _, r := range rows {
		s.rows[r.ID] = r
	}
	return ctx.Err()
}

func (s *script) commit(context.Context) (err error) {
	s.do(func() {
		s.commits++
		if s.noCommit {
			err = errDown
		}
	})
	return err
}

func (s *script) retire(context.Context, RetentionConfig, time.Time) (int, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps++
	return 2, s.steps%3 != 0, nil
}
func (s *script) conversations(context.Context, Query) ([]Conversation, error) { return nil, nil }
func (s *script) count(context.Context, string) (n, _ int64, err error) {
	s.do(func() { n = int64(len(s.rows)) })
	return n, 0, nil
}
func (s *script) name() string                          { return "script" }
func (s *script) examine(context.Context, *Examination) {}
func (s *script) close() error                          { return nil }
func (s *script) judge(err error) verdict {
	if errors.Is(err, errPoison) {
		return poison
	}
	return again
}

// scripted runs a log in a bubble of time.
func scripted(t *testing.T, cfg Config, test func(t *testing.T, l *running, s *script)) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{start: time.Now(), rows: map[string]*Conversation{}}
		r, err := newReducer(cfg, make([]byte, keySize))
		if err != nil {
			t.Fatal(err)
		}
		l := newLog(cfg, newMemory(), s, newAside(t.TempDir()), r, "here", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		run := start(t, l)
		test(t, run, s)
		if err := run.stop(); err != nil {
			t.Error(err)
		}
	})
}

func appendN(l *running, n int) {
	for range n {
		l.Append(chat("p", "a"), nil)
	}
}

func TestBatchesBySizeAndTime(t *testing.T) {
	cfg := testConfig()
	cfg.FlushInterval = 5 * time.Second
	scripted(t, cfg, func(t *testing.T, l *running, s *script) {
		want := func(batches string) {
			t.Helper()
			synctest.Wait()
			s.do(func() {
				if got := strings.Join(s.batches, " "); got != batches {
					t.Errorf("batches %q, want %q", got, batches)
				}
			})
		}
		appendN(l, 3)
		want("")
		time.Sleep(4999 * time.Millisecond)
		want("")
		time.Sleep(time.Millisecond)
		want("5s:3")
		time.Sleep(time.Second)
		appendN(l, 49)
		want("5s:3")
		appendN(l, 1)
		want("5s:3 6s:50")
		appendN(l, 70) // together with what comes right behind them
		time.Sleep(together - 1)
		appendN(l, 35)
		want("5s:3 6s:50")
		time.Sleep(time.Nanosecond)
		want("5s:3 6s:50 7s:105")
		appendN(l, 1)
		time.Sleep(time.Second)
		if gone, remaining, err := l.Flush(t.Context()); gone != 1 || remaining != 0 || err != nil {
			t.Errorf("flushed %d, %d remain, %v", gone, remaining, err)
		}
		want("5s:3 6s:50 7s:105 8s:1")
		if gone, remaining, err := l.Flush(t.Context()); gone != 0 || remaining != 0 || err != nil {
			t.Errorf("flushed %d, %d remain, %v; nothing was there", gone, remaining, err)
		}
		st := l.Stats()
		if st.Batches != 6 || st.FailedBatches != 0 || st.SuccessRate != 1 || st.AvgBatchSize != 26.5 || st.Queued != 159 || st.Inserted != 159 {
			t.Errorf("%+v", st)
		}
		appendN(l, 1)
		if err := l.stop(); err != nil { // flushes
			t.Error(err)
		}
		want("5s:3 6s:50 7s:105 8s:1 8s:1")
	})
}

// TestCommit: batches that wait go in with one commit; where it fails none of them
// leaves, and all come again.
func TestCommit(t *testing.T) {
	cfg := testConfig()
	cfg.FlushInterval = time.Hour
	scripted(t, cfg, func(t *testing.T, l *running, s *script) {
		s.do(func() { s.noCommit = true })
		for range 40 {
			l.Append(chat(strings.Repeat("x", 20<<10), "a"), nil)
		}
		l.Append(chat("p", "a"), nil)
		if gone, remaining, err := l.Flush(t.Context()); gone != 0 || remaining != 41 || err != nil {
			t.Errorf("flushed %d, %d remain, %v", gone, remaining, err)
		}
		if st := l.Stats(); st.Inserted != 0 || st.Batches != 1 || st.FailedBatches != 1 || st.SinkError == "" {
			t.Errorf("after a commit that failed: %+v", st)
		}
		s.do(func() { s.noCommit, s.commits, s.batches = false, 0, nil })
		for range 60 {
			l.Append(chat(strings.Repeat("x", 20<<10), "a"), nil)
		}
		if gone, remaining, err := l.Flush(t.Context()); gone != 101 || remaining != 0 || err != nil {
			t.Errorf("flushed %d, %d remain, %v", gone, remaining, err)
		}
		s.do(func() {
			if s.commits != 1 || len(s.batches) < 2 || len(s.rows) != 101 {
				t.Errorf("%d commits of %v", s.commits, s.batches)
			}
		})
		if st := l.Stats(); st.Inserted != 101 || st.SinkError != "" {
			t.Errorf("afterwards: %+v", st)
		}
	})
}

// TestLargeBatchesWhenBehind: what waits goes in together, up to a number and a size,
// and never less than a batch.
func TestLargeBatchesWhenBehind(t *testing.T) {
	for _, tt := range []struct {
		queue, size int // of a record's text
		want        string
	}{
		{300, 10, ":300:300:300:100"},
		{1000, 1000, ":184:184:184:184:184:80"},
		{1000, 100_000, strings.Repeat(":50", 20)},
	} {
		cfg := testConfig()
		cfg.FlushInterval, cfg.MaxQueueSize, cfg.Spool.MaxBytes = 5*time.Second, tt.queue, 1<<30
		scripted(t, cfg, func(t *testing.T, l *running, s *script) {
			s.do(func() { s.fail = func([]*Conversation) error { return errDown } })
			for range 1000 {
				l.Append(chat(strings.Repeat("x", tt.size), "a"), nil)
			}
			synctest.Wait()
			s.do(func() { s.fail = nil })
			if _, remaining, err := l.Flush(t.Context()); remaining != 0 || err != nil {
				t.Fatalf("%d remain, %v", remaining, err)
			}
			var sizes strings.Builder
			s.do(func() {
				for _, b := range s.batches {
					sizes.WriteString(b[strings.Index(b, ":"):])
				}
			})
			if sizes.String() != tt.want {
				t.Errorf("records of %d bytes: batches of %s, want %s", tt.size, sizes.String(), tt.want)
			}
		})
	}
}

func TestBacksOff(t *testing.T) {
	cfg := testConfig()
	cfg.FlushInterval = 5 * time.Second
	scripted(t, cfg, func(t *testing.T, l *running, s *script) {
		var tries []time.Duration
		s.do(func() {
			s.fail = func([]*Conversation) error {
				tries = append(tries, time.Since(s.start))
				return errDown
			}
		})
		appendN(l, 50)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.do(func() { s.fail = nil })
		for i := 1; i < len(tries); i++ {
			pause := tries[i] - tries[i-1]
			most := min(longestDelay, firstDelay<<(i-1))
			if pause < most/2 || pause > most {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, most/2, most)
			}
		}
		if len(tries) < 25 || len(tries) > 50 {
			t.Errorf("%d attempts in 10 minutes", len(tries))
		}
		st := l.Stats()
		if st.QueueSize != 50 || st.SinkError != "down" || st.FailedBatches != uint64(len(tries)) || st.SuccessRate != 0 {
			t.Errorf("%+v", st)
		}
		if gone, _, err := l.Flush(t.Context()); gone != 50 || err != nil { // does not wait for the pause
			t.Errorf("flushed %d, %v", gone, err)
		}
		if st := l.Stats(); st.SinkError != "" || st.Inserted != 50 {
			t.Errorf("%+v", st)
		}
	})
}

// TestFlushReportsFailure: a flush answers after the batch was tried.
func TestFlushReportsFailure(t *testing.T) {
	scripted(t, testConfig(), func(t *testing.T, l *running, s *script) {
		s.do(func() { s.fail = func([]*Conversation) error { return errDown } })
		appendN(l, 7)
		if gone, remaining, err := l.Flush(t.Context()); gone != 0 || remaining != 7 || err != nil {
			t.Errorf("flushed %d, %d remain, %v", gone, remaining, err)
		}
	})
}

func TestPoisonIsSetAsideAlone(t *testing.T) {
	cfg := testConfig()
	cfg.FlushInterval = 5 * time.Second
	scripted(t, cfg, func(t *testing.T, l *running, s *script) {
		s.do(func() {
			s.fail = func(rows []*Conversation) error {
				for _, r := range rows {
					if r.Prompt == "poison" {
						return fmt.Errorf("row refused: %w", errPoison)
					}
				}
				return nil
			}
		})
		var bad []string
		for i := range 40 {
			r := chat("p", "a")
			if i == 0 || i == 17 || i == 18 || i == 39 {
				r = chat("poison", "a")
				bad = append(bad, r.ID.String())
			}
			l.Append(r, nil)
		}
		if _, err := l.queue.Append(uuid.New(), nil, []byte{99, 1}); err != nil { // from a later version
			t.Fatal(err)
		}
		if gone, remaining, err := l.Flush(t.Context()); gone != 41 || remaining != 0 || err != nil {
			t.Errorf("flushed %d, %d remain, %v", gone, remaining, err)
		}
		if st := l.Stats(); st.Inserted != 36 || st.SetAside != 5 || st.SuccessRate != 1 {
			t.Errorf("%+v", st)
		}
		s.do(func() {
			for _, id := range bad {
				if s.rows[id] != nil {
					t.Errorf("%s went in", id)
				}
			}
		})
		balanced(t, l.Log)

		dir := strings.TrimSuffix(l.aside.path, "/set-aside.db")
		listed, err := ListSetAside(t.Context(), dir, 100)
		if err != nil || len(listed) != 5 || listed[4].ID != bad[0] || listed[4].Error != "row refused: poison" || listed[4].Retry {
			t.Errorf("listed %+v, %v", listed, err)
		}
		if n, err := RetrySetAside(t.Context(), dir, bad[0], "unknown"); n != 1 || err != nil {
			t.Errorf("marked %d, %v", n, err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st := l.Stats(); st.SetAside != 5 {
			t.Errorf("it is poison still: %+v", st)
		}
		s.do(func() { s.fail = nil })
		if n, err := RetrySetAside(t.Context(), dir); n != 5 || err != nil {
			t.Errorf("marked %d, %v", n, err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st := l.Stats(); st.SetAside != 1 || st.Inserted != 40 {
			t.Errorf("only the unknown form is left: %+v", st)
		}
		balanced(t, l.Log)
	})
}

// TestDownAmidBisection: what was stored before the sink went away is not
// stored, counted or set aside twice.
func TestDownAmidBisection(t *testing.T) {
	for calls := range 12 {
		scripted(t, testConfig(), func(t *testing.T, l *running, s *script) {
			n := 0
			s.do(func() {
				s.fail = func(rows []*Conversation) error {
					if n++; n == calls+1 {
						return errDown
					}
					for _, r := range rows {
						if r.Prompt == "poison" {
							return errPoison
						}
					}
					return nil
				}
			})
			for i := range 8 {
				l.Append(chat([]string{"p", "poison"}[i&1&(i>>1)], "a"), nil)
			}
			flushAll(t, l)
			if st := l.Stats(); st.Inserted != 6 || st.SetAside != 2 || len(s.rows) != 6 {
				t.Errorf("down at call %d: %d rows, %+v", calls, len(s.rows), st)
			}
			balanced(t, l.Log)
		})
	}
}

func TestSetAsideIsBounded(t *testing.T) {
	a := newAside(t.TempDir())
	defer a.close()
	a.maxBytes = 300
	big := make([]byte, 100)
	discarded := 0
	for seq := range uint64(5) {
		n, err := a.put(t.Context(), seq, "id", big, errPoison)
		if err != nil {
			t.Fatal(err)
		}
		discarded += n
	}
	if count, bytes, err := a.size(t.Context()); count != 3 || bytes != 300 || discarded != 2 || err != nil {
		t.Errorf("%d records, %d bytes, %d discarded, %v", count, bytes, discarded, err)
	}
}

func TestRetentionIsBounded(t *testing.T) {
	cfg := testConfig()
	cfg.FlushInterval = time.Second
	cfg.Retention.MaxAge = time.Hour
	scripted(t, cfg, func(t *testing.T, l *running, s *script) {
		time.Sleep(59 * time.Second)
		synctest.Wait()
		s.do(func() {
			if st := l.Stats(); s.steps != 3 || st.Retired != 6 {
				t.Errorf("%d steps in the first minute, %+v", s.steps, st)
			}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		s.do(func() {
			if s.steps != 6 {
				t.Errorf("%d steps in two minutes", s.steps)
			}
		})
	})
}

func TestRefusalsAreFew(t *testing.T) {
	scripted(t, testConfig(), func(t *testing.T, l *running, s *script) {
		refuse := func(n int) {
			for range n {
				r := chat("secret", "secret")
				r.Outcome = Rejected
				if l.TakesRefusal() {
					l.Append(r, nil)
				}
			}
		}
		refuse(150)
		time.Sleep(time.Second)
		refuse(20)
		flushAll(t, l)
		if len(s.rows) != 120 {
			t.Errorf("%d refusals are recorded, want 120", len(s.rows))
		}
		for _, r := range s.rows {
			if r.Prompt+r.Answer+string(r.Messages) != "" {
				t.Errorf("with content: %+v", r)
			}
		}
		var m dto.Metric
		if err := l.metrics.refusals.Write(&m); err != nil || m.Counter.GetValue() != 50 {
			t.Errorf("%v are only counted, %v; want 50", m.Counter.GetValue(), err)
		}
	})
}

// TestWhichKinds: only what models write, and vectors if that is set.
func TestWhichKinds(t *testing.T) {
	for _, embeddings := range []bool{false, true} {
		cfg := testConfig()
		cfg.Embeddings = embeddings
		scripted(t, cfg, func(t *testing.T, l *running, s *script) {
			for _, path := range []string{"/v1/embeddings", "/api/embed", "/api/show", "/v1/files", "/api/chat", "/v1/messages"} {
				r := chat("p", "a")
				r.Route = dialect.RouteOf("POST", path)
				l.Append(r, nil)
			}
			want := uint64(2)
			if embeddings {
				want = 4
			}
			if n := l.Stats().Queued; n != want {
				t.Errorf("embeddings %v: %d, want %d", embeddings, n, want)
			}
		})
	}
}

func TestRecordsAreClipped(t *testing.T) {
	tests := []struct {
		limit            int64
		request, answers int
		incomplete       bool
	}{
		{30, 10, 20, false}, {29, 10, 19, true}, {20, 10, 10, true}, {15, 10, 5, true}, {10, 10, 0, true}, {4, 4, 0, true}, {1, 1, 0, true},
	}
	for _, tt := range tests {
		l := new(Log)
		l.set.Store(&settings{Config: Config{MaxRecordBytes: tt.limit}})
		r := &Record{RequestBody: make([]byte, 10), Answer: [][]byte{make([]byte, 10), make([]byte, 10)}}
		got := r
		if over := l.excess(r); over > 0 {
			got = clipped(r, over)
		}
		if n := len(joined(got.Answer)); len(got.RequestBody) != tt.request || n != tt.answers || got.Incomplete != tt.incomplete {
			t.Errorf("%d bytes: %d + %d, incomplete %v", tt.limit, len(got.RequestBody), n, got.Incomplete)
		}
		if len(r.RequestBody) != 10 || len(joined(r.Answer)) != 20 {
			t.Error("the record itself was changed")
		}
	}
}

func TestMetricsLint(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	cfg := testConfig()
	r, err := newReducer(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	newLog(cfg, newMemory(), &script{}, newAside(t.TempDir()), r, "here", slog.New(slog.DiscardHandler), reg)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Error(err, problems)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	for _, name := range []string{"vega_log_queue_size", "vega_log_queue_limit", "vega_log_batches_total", "vega_log_records_total",
		"vega_log_spool_bytes", "vega_log_set_aside", "vega_log_dropped_total", "vega_log_flush_duration_seconds"} {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s", name)
		}
	}
}
