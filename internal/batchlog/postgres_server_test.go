package batchlog

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/vega-proxy/vega-proxy/internal/testkit/postgres"
)

// shared is the Postgres of these tests; one that kills it starts it again.
var shared struct {
	once sync.Once
	*postgres.Server
	err error
}

// database returns the URL of an empty schema of its own.
func database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.Server, shared.err = postgres.New() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.URL("t_" + strings.ReplaceAll(uuid.NewString(), "-", ""))
}

func connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func execute(t testing.TB, database, statement string) {
	t.Helper()
	if _, err := connect(t, database).Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
