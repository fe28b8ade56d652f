package batchlog

import (
	"bufio"
	"context"
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
	"sync"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// pgServer is a throwaway cluster of a real Postgres. The tests share one; a
// test that stops it starts it again.
type pgServer struct {
	once  sync.Once
	err   error
	bin   string
	dir   string
	port  int
	creds *syscall.Credential // Postgres refuses to run as root

	process *exec.Cmd
	ended   chan struct{}
}

var shared pgServer

const pgPassword = "pa55-of-the-tests"

// database returns the URL of an empty schema of its own.
func database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.err = shared.init() })
	if shared.err != nil {
		t.Fatalf("these tests need Postgres (scripts/test-deps.sh postgresql installs it): %v", shared.err)
	}
	schema := "t_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	return shared.url(pgPassword) + "&search_path=" + schema
}

func (s *pgServer) url(password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("vega", password), Host: fmt.Sprintf("127.0.0.1:%d", s.port),
		Path: "/postgres", RawQuery: "sslmode=disable"}
	return u.String()
}

func (s *pgServer) init() error {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.Sort(found)
	switch path, err := exec.LookPath("initdb"); {
	case err == nil:
		s.bin = filepath.Dir(path)
	case len(found) > 0:
		s.bin = filepath.Dir(found[len(found)-1])
	default:
		return errors.New("there is no initdb")
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "vega-pg"); err != nil {
		return err
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(pgPassword), 0o644); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if s.creds, err = nobody(); err != nil {
			return err
		}
		if err := os.Chown(s.dir, int(s.creds.Uid), int(s.creds.Gid)); err != nil {
			return err
		}
	}
	initdb := s.command("initdb", "-D", s.dir+"/data", "-U", "vega", "-A", "scram-sha-256", "--pwfile", password,
		"--no-sync", "-E", "UTF8", "--locale=C")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = free.Addr().(*net.TCPAddr).Port
	if err := free.Close(); err != nil {
		return err
	}
	return s.start()
}

// nobody is the user that the server runs as.
func nobody() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (s *pgServer) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.creds}
	return cmd
}

// start returns when the server takes connections.
func (s *pgServer) start() error {
	cmd := s.command("postgres", "-D", s.dir+"/data", "-k", s.dir, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=20")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process, s.ended = cmd, make(chan struct{})
	ready := make(chan bool, 1)
	go func() {
		defer close(s.ended)
		defer close(ready)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				ready <- true
			}
		}
		_ = cmd.Wait() // it was killed
	}()
	if !<-ready {
		return errors.New("postgres ended before it was ready")
	}
	return nil
}

// kill ends the server at once, as a crash would.
func (s *pgServer) kill() error {
	if err := s.process.Process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	<-s.ended
	return nil
}

func (s *pgServer) stop() error {
	if s.process == nil {
		return nil
	}
	return errors.Join(s.kill(), os.RemoveAll(s.dir))
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
