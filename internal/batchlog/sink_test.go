package batchlog

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/vega-proxy/vega-proxy/internal/dialect"
)

// eachSink runs a test with SQLite and with Postgres.
func eachSink(t *testing.T, test func(t *testing.T, cfg Config, dir string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, testConfig(), t.TempDir()) })
	t.Run("postgres", func(t *testing.T) {
		cfg := testConfig()
		cfg.Database = database(t)
		test(t, cfg, t.TempDir())
	})
}

func TestRecordBecomesRow(t *testing.T) {
	eachSink(t, func(t *testing.T, cfg Config, dir string) {
		l := open(t, cfg, dir)
		r := chat("What is \u00e9?", "It is \"an\" HALF.")
		r.Answer[0] = bytes.Replace(r.Answer[0], []byte("HALF"), []byte(`\ud83d`), 1)
		r.Error = "it broke: Bearer abcdefghijklmnop1234"
		l.Append(r, nil)
		flushAll(t, l)
		found := all(t, l.Log, Query{})
		if len(found) != 1 {
			t.Fatalf("%d rows, want 1", len(found))
		}
		three, five, ttft := int64(3), int64(5), 1.5
		compare(t, found[0], Conversation{
			ID: r.ID.String(), RequestID: "req-1", SessionID: "session-1",
			StartedAt: time.Date(2026, 5, 4, 3, 2, 1, 123456000, time.UTC), Dialect: "openai", Endpoint: "/v1/chat/completions",
			Upstream: "gpu", Model: "m", ModelReported: "m-2", Prompt: "What is é?",
			Messages: json.RawMessage(`[{"content":"What is é?","role":"user"}]`), Params: json.RawMessage(`{"stream":true,"temperature":0.5}`),
			Answer: "It is \"an\" \uFFFD.", FinishReason: "stop", PromptTokens: &three, CompletionTokens: &five,
			TimeToFirstToken: &ttft, Duration: 2000, CacheStatus: "MISS", HTTPStatus: 200, Attempts: 1, Outcome: "ok",
			EndedBy: "upstream", Error: "it broke: Bearer [redacted]", Streamed: true, Altered: true, Dropped: 2, Instance: "here",
			BytesIn: 300, BytesOut: 200, Tenant: l.reducer().tenant("key-1"),
		})
		if len(found[0].Tenant) != 16 || strings.Contains(found[0].Tenant, "key") {
			t.Errorf("tenant %q, want 16 digits of a hash", found[0].Tenant)
		}
		balanced(t, l.Log)
	})
}

func TestAmendingRecordWins(t *testing.T) {
	amendment := func(r *Record, revision int) *Record {
		thin := *r
		thin.Revision, thin.Outcome, thin.EndedBy, thin.BytesOut = revision, ClientGone, "client", 7
		thin.RequestBody, thin.Answer, thin.TTFT = nil, nil, 0
		thin.Truncated = true
		return &thin
	}
	check := func(t *testing.T, l *running) {
		t.Helper()
		found := all(t, l.Log, Query{})
		if len(found) != 1 {
			t.Fatalf("%d rows, want 1", len(found))
		}
		c := found[0]
		if c.Outcome != "client_gone" || c.BytesOut != 7 || !c.Truncated || c.Revision != 1 {
			t.Errorf("the facts were not amended: %+v", c)
		}
		if c.Prompt != "p" || c.Answer != "a" || c.TimeToFirstToken == nil || c.CompletionTokens == nil {
			t.Errorf("the content was lost: %+v", c)
		}
		balanced(t, l.Log)
	}
	eachSink(t, func(t *testing.T, cfg Config, dir string) {
		t.Run("in one batch", func(t *testing.T) {
			l := open(t, cfg, dir)
			r := chat("p", "a")
			l.Append(r, nil)
			l.Append(amendment(r, 1), nil)
			flushAll(t, l)
			check(t, l)
			t.Run("in another, with one that is older", func(t *testing.T) {
				// As after a crash: the first record comes again.
				if err := errors.Join(l.sink.store(t.Context(), []*Conversation{readRecord(r, "here")}), l.sink.commit(t.Context())); err != nil {
					t.Fatal(err)
				}
				check(t, l)
			})
		})
	})
}

// TestAltered: whatever took the place of what is no character is told, in whatever
// text it was; what the model itself wrote is not.
func TestAltered(t *testing.T) {
	for name, tt := range map[string]struct {
		request, answer string
		altered         bool
	}{
		"nothing":                    {`"a"`, `"b"`, false},
		"its own U+FFFD":             {`"\ufffd"`, "\"\uFFFD\"", false},
		"a NUL in the answer":        {`"a"`, `"\u0000"`, true},
		"a surrogate in the answer":  {`"a"`, `"x\ud800y"`, true},
		"bad UTF-8 in the answer":    {`"a"`, "\"x\xffy\"", true},
		"a surrogate in the request": {`"x\udc00"`, `"b"`, true},
	} {
		r := chat("", "")
		r.Route = dialect.RouteOf("POST", "/v1/completions")
		r.RequestBody = []byte(`{"model":"m","prompt":` + tt.request + `}`)
		r.Answer = [][]byte{[]byte("data: {\"choices\":[{\"index\":0,\"text\":" + tt.answer + "}]}\n\n")}
		if c := readRecord(r, "here"); c.Altered != tt.altered || c.Answer == "" || c.Prompt == "" {
			t.Errorf("%s: altered is %v for the prompt %q and the answer %q", name, c.Altered, c.Prompt, c.Answer)
		}
	}
}

// TestErrorsOfNoKnownShape: an upstream's error that is not told as any dialect tells
// it is kept as it came.
func TestErrorsOfNoKnownShape(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":{"message":"no"}}`:             "no",
		"proxy error: no connection\n":           "proxy error: no connection",
		`{"detail":"Not Found"}`:                 `{"detail":"Not Found"}`,
		"key Bearer abcdefghijklmnop1234":        "key Bearer [redacted]",
		strings.Repeat("x", 499) + "\u00e9 more": strings.Repeat("x", 499),
		"":                                       "",
	} {
		r := chat("q", "")
		r.Framing, r.HTTPStatus, r.Outcome, r.Answer = dialect.FramingJSON, 502, UpstreamError, [][]byte{[]byte(body)}
		if c := readRecord(r, "here"); c.Error != want || c.Answer != "" || c.Altered {
			t.Errorf("%q: the error is %q, want %q; altered %v", body, c.Error, want, c.Altered)
		}
	}
}

// TestHostileContent: everything is stored, or set aside with its reason, and
// what comes behind goes in.
func TestHostileContent(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	requests := map[string]string{
		"NUL":               `{"messages":[{"role":"user","content":"a\u0000b"}]}`,
		"raw NUL":           "{\"messages\":[{\"role\":\"user\",\"content\":\"a\x00b\"}]}",
		"lone surrogate":    `{"messages":[{"role":"user","content":"a\ud83db\udc00"}]}`,
		"pair":              `{"messages":[{"role":"user","content":"\ud83d\ude00"}]}`,
		"invalid UTF-8":     "{\"messages\":[{\"role\":\"user\",\"content\":\"a\xff\xfeb\"}]}",
		"deep":              `{"messages":[{"role":"user","content":"x","more":` + deep(100_000) + `}]}`,
		"rather deep":       `{"messages":[{"role":"user","content":"x","more":` + deep(9000) + `}]}`,
		"huge number":       `{"messages":[{"role":"user","content":"x"}],"seed":1e999999}`,
		"no JSON":           "\x00\xff{",
		"names given twice": `{"messages":[],"messages":[{"role":"user","role":"user","content":"x"}]}`,
		"long line":         `{"messages":[{"role":"user","content":"` + strings.Repeat("long ", 400_000) + `"}]}`,
		"nothing":           ``,
	}
	eachSink(t, func(t *testing.T, cfg Config, dir string) {
		l := open(t, cfg, dir)
		for _, body := range requests {
			r := chat("", "")
			r.RequestBody = []byte(body)
			r.Answer = [][]byte{[]byte("data: {\"choices\":[{\"delta\":{\"content\":\"\\u0000\xff\\ud800\"}}]}\n\n")}
			r.SessionID, r.Model, r.Error, r.Upstream = "s\x00", "m\xff", "e\x00\xff", "u"
			l.Append(r, nil)
		}
		l.Append(chat("the last one", "yes"), nil)
		flushAll(t, l)
		st := l.Stats()
		if want := uint64(len(requests) + 1); st.QueueSize != 0 || st.Inserted+st.SetAside != want || st.Dropped != 0 {
			t.Errorf("of %d: %+v", want, st)
		}
		if st.SetAside > 1 {
			t.Errorf("%d were set aside; only the deepest may be", st.SetAside)
		}
		aside, err := ListSetAside(t.Context(), dir, 10)
		if err != nil || uint64(len(aside)) != st.SetAside {
			t.Errorf("%d are listed as set aside (%v), want %d", len(aside), err, st.SetAside)
		}
		for _, a := range aside {
			if a.Error == "" {
				t.Error("set aside without a reason")
			}
		}
		found := all(t, l.Log, Query{Limit: 100})
		if found[0].Prompt != "the last one" {
			t.Errorf("the last one is not there: %q", found[0].Prompt)
		}
		for _, c := range found[1:] {
			if !c.Altered || strings.ContainsRune(c.Answer+c.Prompt+string(c.Messages), 0) || strings.Contains(string(c.Messages), `\u0000`) {
				t.Errorf("altered = %v, prompt %.40q", c.Altered, c.Prompt)
			}
		}
		balanced(t, l.Log)
	})
}

func TestQueries(t *testing.T) {
	eachSink(t, func(t *testing.T, cfg Config, dir string) {
		l := open(t, cfg, dir)
		for i := range 7 {
			r := chat(fmt.Sprintf("prompt %d, 100%% of_it", i), "answer")
			r.StartedAt = time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)
			r.SessionID = fmt.Sprint("s", i%2)
			if i == 3 {
				r.Model, r.Outcome = "other", UpstreamError
			}
			l.Append(r, nil)
		}
		flushAll(t, l)
		day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
		tests := []struct {
			name string
			q    Query
			want string // the prompts' numbers
		}{
			{"all, newest first", Query{}, "6543210"},
			{"oldest first", Query{OldestFirst: true, Limit: 2}, "01"},
			{"session", Query{Session: "s1"}, "531"},
			{"model", Query{Model: "other"}, "3"},
			{"outcome", Query{Outcome: "upstream_error", Upstream: "gpu"}, "3"},
			{"time", Query{Since: day(2), Until: day(4)}, "21"},
			{"text, in any case", Query{Text: "PROMPT 4"}, "4"},
			{"text with wildcards that are none", Query{Text: "100% of_it", Limit: 1}, "6"},
			{"text that only a wildcard finds", Query{Text: "10_% of"}, ""},
			{"an apostrophe", Query{Text: "it's", Session: "'; DROP TABLE conversations"}, ""},
		}
		for _, tt := range tests {
			var got strings.Builder
			for _, c := range all(t, l.Log, tt.q) {
				got.WriteString(c.Prompt[7:8])
			}
			if got.String() != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got.String(), tt.want)
			}
		}
		var got strings.Builder
		q := Query{Limit: 3}
		for range 10 {
			found, next, err := l.Conversations(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range found {
				got.WriteString(c.Prompt[7:8])
			}
			if q.Cursor = next; next == "" {
				break
			}
		}
		if got.String() != "6543210" {
			t.Errorf("by pages: %q", got.String())
		}
		for _, q := range []Query{{Cursor: "x"}, {ID: "1 OR 1=1"}} {
			if _, _, err := l.Conversations(t.Context(), q); !errors.Is(err, ErrQuery) {
				t.Errorf("%+v: %v, want ErrQuery", q, err)
			}
		}
		reader, err := OpenReader(cfg, dir)
		if err != nil {
			t.Fatal(err)
		}
		if found, _, err := reader.Conversations(t.Context(), Query{}); len(found) != 7 || err != nil {
			t.Errorf("another process finds %d, %v", len(found), err)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNothingStoredYet: a search before the first row is no error.
func TestNothingStoredYet(t *testing.T) {
	eachSink(t, func(t *testing.T, cfg Config, dir string) {
		l := open(t, cfg, dir)
		if found := all(t, l.Log, Query{}); found != nil {
			t.Errorf("found %v", found)
		}
		balanced(t, l.Log)
	})
}

func TestRetention(t *testing.T) {
	eachSink(t, func(t *testing.T, cfg Config, dir string) {
		cfg.FlushInterval = time.Millisecond
		cfg.Retention = RetentionConfig{MaxAge: 24 * time.Hour}
		l, err := openSink(cfg, dir, "here")
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		store := func(n int, age time.Duration, text string, instance string) {
			var rows []*Conversation
			for range n {
				r := chat(text, text)
				r.StartedAt = time.Now().Add(-age)
				r.ID = uuid.Must(uuid.NewV7())
				then := uuid.MustParse(firstID(r.StartedAt))
				copy(r.ID[:6], then[:6])
				rows = append(rows, readRecord(r, instance))
			}
			if err := errors.Join(l.store(t.Context(), rows), l.commit(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		retire := func(keep RetentionConfig) (own int) {
			for range 1000 {
				n, more, err := l.retire(t.Context(), keep, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if n > retireStep {
					t.Errorf("one step deleted %d", n)
				}
				own += n
				if !more {
					return own
				}
			}
			t.Fatal("it never ends")
			return 0
		}
		store(retireStep+20, 48*time.Hour, "old", "here")
		store(5, 48*time.Hour, "old", "elsewhere")
		store(10, time.Hour, "new", "here")
		if own := retire(RetentionConfig{MaxAge: 24 * time.Hour}); own != retireStep+20 {
			t.Errorf("%d of ours were deleted by age, want %d", own, retireStep+20)
		}
		if n, _, err := l.count(t.Context(), "here"); n != 10 || err != nil {
			t.Errorf("%d are left, %v", n, err)
		}
		noise := make([]byte, 2000)
		rand.Read(noise)
		text := hex.EncodeToString(noise)
		store(300, time.Hour, text, "here") // prompt, messages and answer: about 3.6 MB
		retire(RetentionConfig{MaxBytes: 1 << 20})
		n, _, err := l.count(t.Context(), "here")
		if err != nil || n < 30 || n > 200 {
			t.Errorf("%d are left of 310 by size, %v", n, err)
		}
		if s, ok := l.(*sqliteSink); ok {
			var size int64
			err := s.writer.QueryRowContext(t.Context(), "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").Scan(&size)
			if err != nil || size > 3<<19 {
				t.Errorf("the file has %d bytes, %v: the space was not given back", size, err)
			}
		}
		found, err := l.conversations(t.Context(), Query{})
		if err != nil || found[0].Prompt != text {
			t.Errorf("the newest is gone, %v", err)
		}
	})
}

// TestRetentionAmongReplicas: who deletes another's rows says so, and it counts them.
func TestRetentionAmongReplicas(t *testing.T) {
	cfg := testConfig()
	cfg.Database = database(t)
	one, other := openInstance(t, cfg, t.TempDir(), "one"), openInstance(t, cfg, t.TempDir(), "other")
	appendN(one, 40)
	appendN(other, 30)
	flushAll(t, one)
	flushAll(t, other)
	balanced(t, one.Log)
	keep := RetentionConfig{MaxBytes: 1} // all but the last
	for more := true; more; {
		var err error
		if _, more, err = one.sink.retire(t.Context(), keep, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if n, retired, err := other.sink.count(t.Context(), "other"); n+retired != 30 || retired < 29 || err != nil {
		t.Errorf("%d rows of the other, %d deleted for it, %v", n, retired, err)
	}
	balanced(t, other.Log)
	own, _, err := other.sink.retire(t.Context(), RetentionConfig{}, time.Now())
	if own < 29 || err != nil {
		t.Errorf("the other is told of %d, %v", own, err)
	}
	if _, retired, err := other.sink.count(t.Context(), "other"); retired != 0 || err != nil {
		t.Errorf("%d are to be told again, %v", retired, err)
	}
}

// TestSQLiteFile: what a file is made with cannot be changed later, and SQLite
// says nothing of a setting that comes too late.
func TestSQLiteFile(t *testing.T) {
	s := newSQLite(t.TempDir()+"/x.db", "here")
	defer s.close()
	writer, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for pragma, want := range map[string]string{"page_size": "16384", "auto_vacuum": "2", "journal_mode": "wal", "synchronous": "2"} {
		var got string
		if err := writer.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
}

// TestSchemaIsPrinted: whoever runs it by hand needs no migration.
func TestSchemaIsPrinted(t *testing.T) {
	cfg := testConfig()
	cfg.Database = database(t)
	cfg.Migrate = false
	l := open(t, cfg, t.TempDir())
	l.Append(chat("p", "a"), nil)
	if _, remaining, err := l.Flush(t.Context()); remaining != 1 || err != nil {
		t.Fatalf("%d remain, %v; want 1: there is no table", remaining, err)
	}
	schema, err := Schema("postgres")
	if err != nil {
		t.Fatal(err)
	}
	name := cfg.Database[strings.LastIndex(cfg.Database, "=")+1:]
	execute(t, cfg.Database, "CREATE SCHEMA "+name+"; "+schema)
	execute(t, cfg.Database, schema) // twice does no harm
	flushAll(t, l)
	if found := all(t, l.Log, Query{}); len(found) != 1 {
		t.Errorf("%d rows, want 1", len(found))
	}
	if _, err := Schema("mysql"); err == nil {
		t.Error("there is a schema for mysql")
	}
}

// TestMigrationTogether: replicas that start at the same time.
func TestMigrationTogether(t *testing.T) {
	url := database(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := newPostgres(url, "x", true)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.store(t.Context(), []*Conversation{readRecord(chat("p", "a"), "x")}); err != nil {
				t.Error(err)
			}
			if err := s.close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestExecModes: the one statement works however a pooler makes us run it.
func TestExecModes(t *testing.T) {
	url := database(t)
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		s, err := newPostgres(url+"&default_query_exec_mode="+mode, mode, true)
		if err != nil {
			t.Fatal(err)
		}
		rows := []*Conversation{readRecord(chat("p", "a"), mode), readRecord(&Record{ID: uuid.Must(uuid.NewV7()), Route: chatRoute, Framing: dialect.FramingSSE}, mode)}
		for range 2 {
			if err := s.store(t.Context(), rows); err != nil {
				t.Errorf("%s: %v", mode, err)
			}
		}
		if n, _, err := s.count(t.Context(), mode); n != 2 || err != nil {
			t.Errorf("%s: %d rows, %v", mode, n, err)
		}
		if found, err := s.conversations(t.Context(), Query{ID: rows[0].ID, Since: rows[0].StartedAt}); len(found) != 1 || err != nil {
			t.Errorf("%s: found %d, %v", mode, len(found), err)
		}
		if _, _, err := s.retire(t.Context(), RetentionConfig{MaxAge: time.Hour, MaxBytes: 1}, time.Date(2026, 5, 4, 4, 0, 0, 0, time.UTC)); err != nil {
			t.Errorf("%s: retire: %v", mode, err)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLetGoBeforeTheCommit: what was stored in a file that was given up before the
// commit counts as not stored, once.
func TestLetGoBeforeTheCommit(t *testing.T) {
	s := newSQLite(t.TempDir()+"/x.db", "here")
	row := func() []*Conversation { return []*Conversation{readRecord(chat("p", "a"), "here")} }
	if err := s.store(t.Context(), row()); err != nil {
		t.Fatal(err)
	}
	if err := s.letGo(); err != nil {
		t.Fatal(err)
	}
	if err := s.store(t.Context(), row()); !errors.Is(err, errLetGo) {
		t.Errorf("more is stored behind what is lost: %v", err)
	}
	if err := s.commit(t.Context()); !errors.Is(err, errLetGo) {
		t.Errorf("commit: %v", err)
	}
	if err := errors.Join(s.store(t.Context(), row()), s.commit(t.Context())); err != nil {
		t.Errorf("the next one: %v", err)
	}
	if n, _, err := s.count(t.Context(), "here"); n != 1 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := errors.Join(s.store(t.Context(), row()), s.close()); err != nil {
		t.Errorf("closed in the middle: %v", err)
	}
}
