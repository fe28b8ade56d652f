package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

const pgPassword = "planted-database-password"

// pgServer is a throwaway cluster of a real Postgres.
type pgServer struct {
	t        *testing.T
	bin, dir string
	port     int
	user     *syscall.Credential // Postgres refuses to run as root; nil is who we are

	process *exec.Cmd
	ended   chan struct{}
}

// newPostgres starts one that ends with the test.
func newPostgres(t *testing.T) *pgServer {
	t.Helper()
	s := &pgServer{t: t}
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // its only error is a bad pattern
	if path, err := exec.LookPath("initdb"); err == nil {
		programs = append(programs, path)
	}
	if len(programs) == 0 {
		t.Fatal("this test needs Postgres: scripts/test-deps.sh postgresql installs it")
	}
	slices.Sort(programs)
	s.bin = filepath.Dir(programs[len(programs)-1])
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.dir, err = os.MkdirTemp("", "vega-pg") // the test's own directory is closed to other users
	must(err)
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	if os.Getuid() == 0 {
		s.user, err = unprivileged()
		must(err)
		must(os.Chown(s.dir, int(s.user.Uid), int(s.user.Gid)))
	}
	password := filepath.Join(s.dir, "password")
	must(os.WriteFile(password, []byte(pgPassword), 0o644))
	out, err := s.command("initdb", "-D", "data", "-U", "vega", "-A", "scram-sha-256", "--pwfile", password, "--no-sync", "-E", "UTF8", "--locale=C").CombinedOutput()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	s.port = free.Addr().(*net.TCPAddr).Port
	must(free.Close())
	s.start()
	t.Cleanup(s.stop)
	return s
}

func unprivileged() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err, err2)
}

func (s *pgServer) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.user}
	return cmd
}

// start returns when the server takes connections.
func (s *pgServer) start() {
	s.t.Helper()
	cmd := s.command("postgres", "-D", "data", "-k", s.dir, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=20")
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.process, s.ended = cmd, make(chan struct{})
	ready := make(chan bool, 1)
	go func() {
		defer close(s.ended)
		defer close(ready)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				ready <- true
			}
		}
		_ = cmd.Wait() // it was stopped
	}()
	if !<-ready {
		s.t.Fatal("Postgres ended before it was ready")
	}
}

// stop ends the server as a crash does, if it runs.
func (s *pgServer) stop() {
	_ = s.process.Process.Signal(syscall.SIGQUIT) // it may have ended
	<-s.ended
}

// url is a database URL with the table in a schema of its own.
func (s *pgServer) url(schema string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("vega", pgPassword), Host: fmt.Sprintf("127.0.0.1:%d", s.port),
		Path: "/postgres", RawQuery: "sslmode=disable&search_path=" + schema,
	}
	return u.String()
}

func (s *pgServer) execute(schema, statement string) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.url(schema))
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = conn.Exec(s.t.Context(), statement)
	if err = errors.Join(err, conn.Close(s.t.Context())); err != nil {
		s.t.Fatal(err)
	}
}
