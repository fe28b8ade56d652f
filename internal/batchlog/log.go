package batchlog

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vega-proxy/vega-proxy/internal/batchlog/spool"
	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// queue is what the log needs of the spool. See there.
type queue interface {
	Append(id [16]byte, meanwhile func(), payload ...[]byte) (seq uint64, err error)
	Read(max, maxBytes int) ([]spool.Entry, error)
	Ack(seq uint64, o spool.Outcome) error
	Settle(t spool.Settlement) error
	Rewind() error
	Wait(ctx context.Context, n int) error
	Run(ctx context.Context) error
	Close() error
	Stats() spool.Stats
}

// Log is the conversation log. It is safe for concurrent use.
type Log struct {
	key      []byte
	set      atomic.Pointer[settings]
	instance string
	log      *slog.Logger
	queue    queue
	sink     sink
	aside    *aside
	metrics  *metrics
	refusals limit

	mu        sync.Mutex // guards what follows
	running   bool
	waiting   []chan flushed     // for the batch that is tried next
	interrupt context.CancelFunc // ends the wait of Run; nil while it does not wait
	tally     tally

	// Owned by Run.
	worked      time.Time     // when the last batch was begun
	failures    int           // batches in a row that did not go in
	delay       time.Duration // before the next attempt
	retireAt    time.Time
	recordBytes int    // of the last batch's payloads, on average
	spoolFails  uint64 // write errors that were reported
}

// New opens the spool in the data directory, which the caller has locked, and
// counts with reg. It needs no database: that is opened by Run. Run must be
// called for the spool to be closed.
func New(cfg Config, dataDir, instance string, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	key, err := openKey(dataDir)
	if err != nil {
		return nil, err
	}
	reducer, err := newReducer(cfg, key)
	if err != nil {
		return nil, fmt.Errorf("batchlog.redact: %w", err)
	}
	sink, err := openSink(cfg, dataDir, instance)
	if err != nil {
		return nil, err
	}
	if s, ok := sink.(*sqliteSink); ok {
		s.log = log
	}
	setAside := newAside(dataDir)
	setAside.log = log
	var fsync time.Duration
	if cfg.Spool.Fsync != "always" {
		if fsync, err = time.ParseDuration(cfg.Spool.Fsync); err != nil {
			return nil, fmt.Errorf("batchlog.spool.fsync: %w", err)
		}
	}
	queue, found, err := spool.Open(spool.Config{Dir: filepath.Join(dataDir, "spool"), MaxBytes: cfg.Spool.MaxBytes, Fsync: fsync})
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	if found.Records > 0 || found.Damaged > 0 || found.StateLost {
		log.Info("conversations were left in the spool; they will be stored", "records", found.Records, "bytes", found.Bytes,
			"damaged", found.Damaged, "state_lost", found.StateLost)
	}
	l := newLog(cfg, queue, sink, setAside, reducer, instance, log, reg)
	l.key = key
	return l, nil
}

func newLog(cfg Config, q queue, s sink, a *aside, r *reducer, instance string, log *slog.Logger, reg prometheus.Registerer) *Log {
	l := &Log{instance: instance, log: log, queue: q, sink: s, aside: a}
	l.set.Store(&settings{cfg, r})
	l.metrics = newMetrics(l, reg)
	return l
}

// Append takes one exchange of a model that writes, and with `embeddings` of one
// that embeds; others it ignores. When it returns, the record is in the kernel, or is
// counted as late or dropped; see package spool, also for meanwhile, which may be nil.
// It does not keep r or what r holds.
func (l *Log) Append(r *Record, meanwhile func()) {
	if k := r.Route.Kind; k != dialect.KindGenerate && (k != dialect.KindEmbed || !l.cfg().Embeddings) {
		return
	}
	if r.Outcome == Rejected {
		plain := *r
		plain.RequestBody, plain.Answer = nil, nil
		r = &plain
	}
	if over := l.excess(r); over > 0 {
		r = clipped(r, over)
	}
	p := payloads.Get().(*payload)
	defer func() {
		clear(p.parts) // they are the exchange's
		payloads.Put(p)
	}()
	parts, err := l.encode(p, r)
	if err != nil {
		l.metrics.unwritable.Inc()
		l.log.Error("a conversation could not be written for the spool and is lost", "id", r.ID, "error", err)
		return
	}
	// What fails is counted by the spool, and reported by Run: nobody here could
	// do anything about it.
	_, _ = l.queue.Append(r.ID, meanwhile, parts...)
}

var payloads = sync.Pool{New: func() any { return new(payload) }}

// TakesRefusal tells whether one more refusal is to be recorded: 100 are, each
// second. The rest is counted by this call, and need not be brought.
func (l *Log) TakesRefusal() bool {
	if l.refusals.allow(time.Now()) {
		return true
	}
	l.metrics.refusals.Inc()
	return false
}

func (l *Log) encode(p *payload, r *Record) ([][]byte, error) {
	reduce := l.reducer()
	tenant := reduce.tenant(r.Tenant)
	if reduce.raw() {
		return p.raw(r, tenant), nil
	}
	hashed := *r
	hashed.Tenant = tenant
	return p.row(reduce.read(hashed, l.instance))
}

// excess is by how much the bodies are larger than what is kept.
func (l *Log) excess(r *Record) int64 {
	size := int64(len(r.RequestBody))
	for _, piece := range r.Answer {
		size += int64(len(piece))
	}
	return size - l.cfg().MaxRecordBytes
}

// clipped leaves out the end of the answer, and if that is not enough that of
// the request.
func clipped(r *Record, over int64) *Record {
	c := *r
	c.Incomplete = true
	c.Answer = append([][]byte(nil), r.Answer...)
	for over > 0 && len(c.Answer) > 0 {
		last := &c.Answer[len(c.Answer)-1]
		n := min(over, int64(len(*last)))
		*last = (*last)[:int64(len(*last))-n]
		over -= n
		if len(*last) == 0 {
			c.Answer = c.Answer[:len(c.Answer)-1]
		}
	}
	c.RequestBody = c.RequestBody[:int64(len(c.RequestBody))-max(over, 0)]
	return &c
}

// limit lets through so many a second.
type limit struct {
	mu     sync.Mutex
	second int64
	n      int
}

const maxRefusals = 100 // a second

func (l *limit) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.n = s, 0
	}
	l.n++
	return l.n <= maxRefusals
}

// Conversations searches the sink, newest first unless the query says otherwise.
// It sees what was flushed. next is the cursor behind the last one, "" if there
// are no more. It fails with ErrQuery if the query can have no answer.
func (l *Log) Conversations(ctx context.Context, q Query) (found []Conversation, next string, err error) {
	return search(ctx, l.sink, q)
}

func search(ctx context.Context, s sink, q Query) (found []Conversation, next string, err error) {
	found, err = s.conversations(ctx, q)
	if err == nil && len(found) == q.limit() {
		next = found[len(found)-1].ID
	}
	return found, next, err
}

// Reader searches a sink that another process fills. It is safe for concurrent
// use.
type Reader struct{ sink sink }

// OpenReader reads the sink that the settings name. It connects with the first
// search, and changes nothing.
func OpenReader(cfg Config, dataDir string) (*Reader, error) {
	s, err := openSink(cfg, dataDir, "")
	if err != nil {
		return nil, err
	}
	return &Reader{sink: s}, nil
}

// Conversations is as Log's.
func (r *Reader) Conversations(ctx context.Context, q Query) (found []Conversation, next string, err error) {
	return search(ctx, r.sink, q)
}

// Close ends the connections.
func (r *Reader) Close() error { return r.sink.close() }
