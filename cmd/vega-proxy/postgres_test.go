package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/vega-proxy/vega-proxy/internal/testkit/postgres"
)

// database is a Postgres of one test.
type database struct {
	*postgres.Server
	t *testing.T
}

// newPostgres starts one that ends with the test.
func newPostgres(t *testing.T) *database {
	t.Helper()
	s, err := postgres.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &database{s, t}
}

// restart brings the server back after Kill.
func (d *database) restart() {
	d.t.Helper()
	if err := d.Start(); err != nil {
		d.t.Fatal(err)
	}
}

// freeze stops all of the server's processes, until thaw.
func (d *database) freeze() (thaw func()) {
	d.t.Helper()
	pid := d.PID()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		d.t.Fatal(err)
	}
	pids := append(strings.Fields(string(children)), strconv.Itoa(pid))
	each := func(sig syscall.Signal) {
		d.t.Helper()
		for _, pid := range pids {
			n, err := strconv.Atoi(pid)
			if err == nil {
				err = syscall.Kill(n, sig)
			}
			if err != nil {
				d.t.Fatal(err)
			}
		}
	}
	each(syscall.SIGSTOP)
	return func() { each(syscall.SIGCONT) }
}

func (d *database) execute(schema, statement string) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.URL(schema))
	if err != nil {
		d.t.Fatal(err)
	}
	_, err = conn.Exec(d.t.Context(), statement)
	if err = errors.Join(err, conn.Close(d.t.Context())); err != nil {
		d.t.Fatal(err)
	}
}
