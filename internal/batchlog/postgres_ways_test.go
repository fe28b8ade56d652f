package batchlog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestPostgresRefusesWrites: a server that is read-only for a while, or has no
// space left, is waited for; all goes in afterwards, in order.
func TestPostgresRefusesWrites(t *testing.T) {
	for _, tt := range []struct{ name, begin, end, said string }{
		{
			"read-only",
			"ALTER SYSTEM SET default_transaction_read_only = on",
			"ALTER SYSTEM RESET default_transaction_read_only",
			"25006",
		},
		{
			"disk full",
			`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$;
			CREATE TRIGGER full_disk BEFORE INSERT ON conversations EXECUTE FUNCTION full_disk()`,
			"DROP TRIGGER full_disk ON conversations",
			"53100",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Database = database(t)
			l := open(t, cfg, t.TempDir())
			appendN(l, 3)
			flushAll(t, l)
			conn := connect(t, cfg.Database)
			change := func(statement string) {
				t.Helper()
				for _, s := range []string{statement, "SELECT pg_reload_conf()"} {
					if _, err := conn.Exec(t.Context(), s); err != nil {
						t.Fatal(err)
					}
				}
			}
			change(tt.begin)
			defer execute(t, shared.URL(""), "ALTER SYSTEM RESET default_transaction_read_only") // others use the server
			appendN(l, 1)
			until := time.Now().Add(20 * time.Second)
			for l.Stats().SinkError == "" && time.Now().Before(until) { // a server takes its settings up in its own time
				if _, _, err := l.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				appendN(l, 1)
			}
			appendN(l, 200)
			accepted := l.Stats().Queued
			gone, remaining, err := l.Flush(t.Context())
			if st := l.Stats(); gone != 0 || remaining < 200 || err != nil || st.SetAside != 0 || st.Dropped != 0 || !strings.Contains(st.SinkError, tt.said) {
				t.Errorf("flushed %d, %d remain, %v: %+v", gone, remaining, err, st)
			}
			change(tt.end)
			for l.Stats().QueueSize > 0 && time.Now().Before(until) {
				if _, _, err := l.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if st := l.Stats(); st.Inserted != accepted || st.QueueSize != 0 || st.SetAside != 0 || st.Dropped != 0 {
				t.Errorf("of %d afterwards: %+v", accepted, st)
			}
			balanced(t, l.Log)
		})
	}
}

// TestPostgresBehindPooler: a PgBouncer that hands connections on after each
// transaction, as docs/log.md says to use it.
func TestPostgresBehindPooler(t *testing.T) {
	database(t) // starts the server
	pooler, err := shared.NewPooler()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pooler.Close(); err != nil {
			t.Error(err)
		}
		execute(t, shared.URL(""), "DROP TABLE IF EXISTS conversations")
	}()
	cfg := testConfig()
	cfg.Database = pooler.URL() + "&default_query_exec_mode=exec"
	var logs []*running
	for range 3 { // more than the pooler has connections
		logs = append(logs, open(t, cfg, t.TempDir()))
	}
	for range 20 {
		for _, l := range logs {
			appendN(l, 5)
			flushAll(t, l)
			if found := all(t, l.Log, Query{Limit: 1}); len(found) != 1 {
				t.Fatalf("%d found", len(found))
			}
		}
	}
	for _, l := range logs {
		if st := l.Stats(); st.Inserted != 100 || st.FailedBatches != 0 {
			t.Errorf("%+v", st)
		}
	}
	var rows int
	if err := connect(t, shared.URL("")).QueryRow(t.Context(), "SELECT count(*) FROM conversations").Scan(&rows); err != nil || rows != 300 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// TestPostgresCopies: rows go in by COPY, and by the slower statement where one of
// them is there already or amends another.
func TestPostgresCopies(t *testing.T) {
	url := database(t)
	s, err := newPostgres(url, "here", true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	conn := connect(t, url)
	var stored []*Conversation
	fresh := func() *Conversation {
		stored = append(stored, readRecord(chat("p", "a"), "here"))
		return stored[len(stored)-1]
	}
	thin := *chat("", "")
	thin.Revision, thin.RequestBody, thin.Answer = 1, nil, nil
	for _, tt := range []struct {
		name, by string
		rows     func() []*Conversation
	}{
		{"new rows", "COPY", func() []*Conversation { return []*Conversation{fresh(), fresh()} }},
		{"one is there", "INSERT", func() []*Conversation { return []*Conversation{fresh(), stored[0], fresh()} }},
		{"one amends", "INSERT", func() []*Conversation {
			thin.ID = uuid.MustParse(stored[0].ID)
			return []*Conversation{fresh(), readRecord(&thin, "here"), fresh()}
		}},
		{"the connection broke in a COPY", "INSERT", func() []*Conversation {
			if err := s.writer.conn.PgConn().Conn().Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.store(t.Context(), []*Conversation{readRecord(chat("p", "a"), "here")}); err == nil {
				t.Error("a COPY without a connection has stored")
			}
			return []*Conversation{fresh()}
		}},
		{"after that", "COPY", func() []*Conversation { return []*Conversation{fresh()} }},
	} {
		if err := s.store(t.Context(), tt.rows()); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var by string
		err := conn.QueryRow(t.Context(), "SELECT query FROM pg_stat_activity WHERE pid = $1", s.writer.conn.PgConn().PID()).Scan(&by)
		if !strings.HasPrefix(by, tt.by) || err != nil {
			t.Errorf("%s: by %.20q, %v; want %s", tt.name, by, err, tt.by)
		}
		if n, _, err := s.count(t.Context(), "here"); n != int64(len(stored)) || err != nil {
			t.Errorf("%s: %d rows, %v; want %d", tt.name, n, err, len(stored))
		}
	}
	execute(t, url, "ALTER TABLE conversations RENAME TO kept; CREATE VIEW conversations AS SELECT * FROM kept")
	for range 2 {
		if err := s.store(t.Context(), []*Conversation{fresh(), stored[1]}); err != nil || !s.uncopied {
			t.Errorf("into a view: %v, not to be copied %v", err, s.uncopied)
		}
	}
	if n, _, err := s.count(t.Context(), "here"); n != int64(len(stored)) || err != nil {
		t.Errorf("%d rows, %v; want %d", n, err, len(stored))
	}
	found, err := s.conversations(t.Context(), Query{ID: stored[0].ID})
	if len(found) != 1 || err != nil || found[0].Revision != 1 || found[0].Prompt != "p" {
		t.Errorf("of the amended row there is %+v, %v", found, err)
	}
}

// TestPostgresOverTLS: with a certificate that is good, and with one that is
// another's: nothing is sent to that server, and nothing lost.
func TestPostgresOverTLS(t *testing.T) {
	plain := database(t)
	cert, key := certificate(t)
	_, err := shared.WriteFile("server.crt", cert)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = shared.WriteFile("server.key", key); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, plain)
	for _, s := range []string{
		"ALTER SYSTEM SET ssl_cert_file = '" + filepath.Join(shared.Dir(), "server.crt") + "'",
		"ALTER SYSTEM SET ssl_key_file = '" + filepath.Join(shared.Dir(), "server.key") + "'",
		"ALTER SYSTEM SET ssl = on",
		"SELECT pg_reload_conf()",
	} {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	other, _ := certificate(t)
	trusting := func(cert []byte) string {
		path := filepath.Join(t.TempDir(), "root.crt")
		if err := os.WriteFile(path, cert, 0o600); err != nil {
			t.Fatal(err)
		}
		return strings.Replace(plain, "sslmode=disable", "sslmode=verify-full&sslrootcert="+url.QueryEscape(path), 1)
	}
	cfg := testConfig()
	cfg.Database = trusting(other)
	dir := t.TempDir()
	said, _ := failToStore(t, cfg, dir)
	cfg.Database = trusting(cert)
	again := open(t, cfg, dir)
	flushAll(t, again)
	if st := again.Stats(); st.Inserted != 3 {
		t.Errorf("%+v", st)
	}
	var secure bool
	err = conn.QueryRow(t.Context(), `SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
		WHERE application_name = 'vega-proxy' AND query LIKE '%conversations%'`).Scan(&secure)
	if err != nil || !secure {
		t.Errorf("its connections are over TLS: %v, %v", secure, err)
	}
	if !strings.Contains(said, "certificate") {
		t.Errorf("of the certificate of another it said: %s", said)
	}
}

// certificate is one that signs itself, for loopback.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
