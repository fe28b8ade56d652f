package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Pooler is a PgBouncer before a cluster. It hands a connection on after each
// transaction.
type Pooler struct {
	port    int
	process *exec.Cmd
}

// NewPooler starts a PgBouncer and returns when it takes connections. Close ends it.
func (s *Server) NewPooler() (*Pooler, error) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // Debian's place, which is off most paths
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	users, err := s.WriteFile("users", fmt.Appendf(nil, "%q %q\n", User, Password))
	if err != nil {
		return nil, err
	}
	config, err := s.WriteFile("pgbouncer.ini", fmt.Appendf(nil, `[databases]
postgres = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = 2
`, s.port, port, users))
	if err != nil {
		return nil, err
	}
	p := &Pooler{port: port, process: exec.Command(program, config)}
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.runAs}
	if err := p.process.Start(); err != nil {
		return nil, fmt.Errorf("scripts/test-deps.sh pgbouncer installs it: %w", err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return p, conn.Close()
		}
	}
	return nil, errors.Join(errors.New("pgbouncer takes no connections"), p.Close())
}

// URL is that of the database behind the pooler.
func (p *Pooler) URL() string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(User, Password), Host: "127.0.0.1:" + strconv.Itoa(p.port),
		Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Close ends it at once.
func (p *Pooler) Close() error {
	err := p.process.Process.Kill()
	_ = p.process.Wait() // it was killed
	return err
}

// WriteFile makes a file that only the server's user can read, in the cluster's
// directory, and returns its path.
func (s *Server) WriteFile(name string, content []byte) (string, error) {
	path := filepath.Join(s.dir, name)
	err := os.WriteFile(path, content, 0o600)
	if err == nil && s.runAs != nil {
		err = os.Chown(path, int(s.runAs.Uid), int(s.runAs.Gid))
	}
	return path, err
}
