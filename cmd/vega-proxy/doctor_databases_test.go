package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vega-proxy/vega-proxy/internal/doctor"
	"github.com/vega-proxy/vega-proxy/internal/testkit/postgres"
)

// inDatabase plants a database's URL, in a schema of the fault's own where SQL was
// run; {schema} in it is the schema's name.
func inDatabase(statements string, url func(string) string, more ...string) func(*testing.T, string, *setup) string {
	return func(t *testing.T, _ string, with *setup) string {
		schema := strings.ToLower(strings.NewReplacer("/", "_", ",", "_").Replace(t.Name()))
		if statements != "" {
			(&database{with.pg.Server, t}).execute("public", strings.ReplaceAll("CREATE SCHEMA {schema}; SET search_path TO {schema}; "+statements, "{schema}", schema))
		}
		with.args = []string{"--database", url(with.pg.URL(schema))}
		with.yaml += strings.Join(more, "\n")
		return ""
	}
}

func same(url string) string { return url }

// instead replaces a part of the URL.
func instead(old, new string) func(string) string {
	return func(url string) string { return strings.Replace(url, old, new, 1) }
}

// lockSQLite makes a database and keeps it for itself until the test ends.
func lockSQLite(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err == nil {
		db.SetMaxOpenConns(1)
		_, err = db.ExecContext(t.Context(), "BEGIN EXCLUSIVE; CREATE TABLE mine (a)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
}

// ourTable is the table as the program makes it.
func ourTable(t *testing.T) string { return run(t, "schema") }

var databaseFaults = []fault{
	{name: "no database server", check: "log.database", words: []string{"connect to Postgres", "start the database"},
		plant: func(_ *testing.T, _ string, with *setup) string {
			with.args = []string{"--database", "postgres://vega:x@127.0.0.1:1/vega?sslmode=disable"}
			return ""
		}},
	{name: "a database host that is none", check: "log.database", words: []string{"correct the host in batchlog.database"},
		plant: func(_ *testing.T, _ string, with *setup) string {
			with.args = []string{"--database", "postgres://vega:x@db.invalid/vega?sslmode=disable"}
			return ""
		}},
	{name: "wrong password", check: "log.database", words: []string{"password authentication failed", "correct the user and the password"},
		plant: inDatabase("", instead(postgres.Password, "wrong"))},
	{name: "no such database", check: "log.database", words: []string{"does not exist", "createdb"}, plant: inDatabase("", instead("/postgres?", "/none?"))},
	{name: "no TLS", check: "log.database", words: []string{"sslmode"}, plant: inDatabase("", instead("sslmode=disable", "sslmode=require"))},
	{name: "no table", check: "log.schema", words: []string{"vega-proxy schema", "batchlog.migrate"}, plant: inDatabase("SELECT 1", same, "batchlog: {migrate: false}")},
	{name: "old schema", check: "log.schema", words: []string{"lacks 36 columns: request_id", "vega-proxy schema"},
		plant: inDatabase("CREATE TABLE conversations (id uuid PRIMARY KEY, prompt text)", same)},
	{name: "read only", check: "log.rights", words: []string{"read-only transaction", "name the primary"},
		plant: inDatabase("SELECT 1", func(url string) string { return url + "&default_transaction_read_only=on" })},
	{name: "no rights", check: "log.rights", words: []string{"permission denied", "GRANT"},
		plant: func(t *testing.T, dir string, with *setup) string {
			statements := ourTable(t) + "CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT USAGE ON SCHEMA {schema} TO reader; GRANT SELECT ON conversations TO reader"
			return inDatabase(statements, instead("vega:"+postgres.Password, "reader:reader"))(t, dir, with)
		}},
	{name: "a rule of their own", check: "log.rights", words: []string{"violates", "loosen it"},
		plant: func(t *testing.T, dir string, with *setup) string {
			return inDatabase(ourTable(t)+"ALTER TABLE conversations ADD CHECK (session_id <> '' AND session_id IS NOT NULL)", same)(t, dir, with)
		}},
	{name: "a file that is no database", check: "log.database", words: []string{"not a database"},
		plant: func(t *testing.T, dir string, _ *setup) string {
			if err := os.WriteFile(filepath.Join(dir, "conversations.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
			return ""
		}},
	{name: "a directory that is not there", check: "log.rights", words: []string{"no such file or directory", "make the directory"},
		plant: setting(anyPorts + "batchlog: {database: 'sqlite:/nowhere/c.db'}")},
	{name: "retention without the right", check: "log.rights", words: []string{"may not delete", "GRANT DELETE"},
		plant: func(t *testing.T, dir string, with *setup) string {
			statements := ourTable(t) + "CREATE ROLE writer LOGIN PASSWORD 'writer'; GRANT USAGE ON SCHEMA {schema} TO writer; GRANT SELECT, INSERT, UPDATE ON conversations TO writer"
			return inDatabase(statements, instead("vega:"+postgres.Password, "writer:writer"), "batchlog: {retention: {max_age: 24h}}")(t, dir, with)
		}},
	{name: "a file that is locked", check: "log.database", as: doctor.Wrong, words: []string{"locked"},
		plant: func(t *testing.T, dir string, _ *setup) string {
			lockSQLite(t, filepath.Join(dir, "conversations.db"))
			return ""
		}},
}
