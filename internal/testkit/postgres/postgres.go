// Package postgres starts throwaway clusters of a real Postgres for tests, on
// loopback and with a password, and poolers before them. It never waits for a server longer than that
// takes to start, and knows no client: tests bring their own.
package postgres

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
)

// User and Password are those of the one user that a cluster has.
const (
	User     = "vega"
	Password = "planted-database-password"
)

// Server is a cluster. Its methods are for one goroutine at a time.
type Server struct {
	bin, dir string
	port     int
	runAs    *syscall.Credential // Postgres refuses to run as root; nil is who we are

	process *exec.Cmd
	ended   chan struct{}
}

// New makes a cluster and starts its server. Close ends it.
func New() (s *Server, err error) {
	s = &Server{}
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	// Not a test's own directory, which is closed to other users.
	if s.dir, err = os.MkdirTemp("", "vega-pg"); err != nil {
		return nil, err
	}
	if err = s.init(); err == nil {
		s.port, err = freePort()
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// programs is where the newest of the machine's versions is.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // its only error is a bad pattern
	if len(found) == 0 {
		return "", errors.New("there is no Postgres: scripts/test-deps.sh postgresql installs it")
	}
	return filepath.Dir(slices.Max(found)), nil
}

func (s *Server) init() error {
	if os.Getuid() == 0 {
		var err error
		if s.runAs, err = unprivileged(); err != nil {
			return err
		}
		if err := os.Chown(s.dir, int(s.runAs.Uid), int(s.runAs.Gid)); err != nil {
			return err
		}
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(Password), 0o644); err != nil {
		return err
	}
	out, err := s.command("initdb", "-D", "data", "-U", User, "-A", "scram-sha-256", "--pwfile", password,
		"--no-sync", "-E", "UTF8", "--locale=C").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// unprivileged is the user that the server runs as where we are root.
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

func freePort() (int, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return free.Addr().(*net.TCPAddr).Port, free.Close()
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.runAs}
	return cmd
}

// Start returns when the server takes connections.
func (s *Server) Start() error {
	cmd := s.command("postgres", "-D", "data", "-k", s.dir, "-p", strconv.Itoa(s.port),
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
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
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

// Kill ends the server at once, as a crash would, if it runs. Start brings the
// cluster back.
func (s *Server) Kill() {
	_ = s.process.Process.Signal(syscall.SIGQUIT) // it may have ended
	<-s.ended
}

// PID is the server's process.
func (s *Server) PID() int { return s.process.Process.Pid }

// Dir is where the cluster's files are.
func (s *Server) Dir() string { return s.dir }

// Close ends the server and removes the cluster.
func (s *Server) Close() error {
	s.Kill()
	return os.RemoveAll(s.dir)
}

// URL is that of the database, with tables in a schema of their own, or in the
// database's own where schema is "".
func (s *Server) URL(schema string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(User, Password), Host: fmt.Sprintf("127.0.0.1:%d", s.port),
		Path: "/postgres", RawQuery: "sslmode=disable",
	}
	if schema != "" {
		u.RawQuery += "&search_path=" + schema
	}
	return u.String()
}
