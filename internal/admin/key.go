package admin

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

const (
	keyFile     = "admin-key"
	keyBytes    = 32
	maxKeyBytes = 4096
)

// LoadKey returns the admin key: the configured one (path is then empty), else
// the one in the file admin-key in dataDir, else a new one that it writes
// there (generated). cfg.APIKey is the key itself, references resolved.
//
// It refuses a key that no header can carry, a key file that others may read,
// and to make a key for a listener beyond loopback.
func LoadKey(cfg Config, dataDir string) (key string, generated bool, path string, err error) {
	if cfg.APIKey != "" {
		if !sendable(cfg.APIKey) {
			return "", false, "", errors.New("admin.api_key: the key has characters that no header can carry; use printable ASCII without spaces")
		}
		return cfg.APIKey, false, "", nil
	}
	if !loopback(cfg.Listen) {
		return "", false, "", fmt.Errorf("admin.api_key: admin.listen %q is reachable from other machines, which needs a configured key; set one, or listen on 127.0.0.1", cfg.Listen)
	}
	path = filepath.Join(dataDir, keyFile)
	key, err = readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		generated = true
		key, err = writeKey(dataDir, path)
	}
	if err != nil {
		return "", false, path, fmt.Errorf("admin key: %w", err)
	}
	return key, generated, path, nil
}

func readKey(path string) (string, error) {
	// Before opening: to open a pipe would wait for its writer.
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file; remove it to have a key made", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %04o); run `chmod 600 %s`, or remove it to have a new key made if somebody may have seen this one", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyBytes))
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(text))
	if key == "" || !sendable(key) {
		return "", fmt.Errorf("%s holds no key (one line of printable ASCII without spaces); remove it to have one made", path)
	}
	return key, nil
}

// writeKey makes a key and puts it at path in one step, so that no reader and
// no crash ever sees half of it.
func writeKey(dir, path string) (key string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	secret := make([]byte, keyBytes)
	rand.Read(secret) // never fails
	key = base64.RawURLEncoding.EncodeToString(secret)

	f, err := os.CreateTemp(dir, keyFile+".*") // mode 0600
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.WriteString(key + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	// A power cut in the next seconds may take the name back, so that another key is
	// made; to wait for the disk once more would hold up the start.
	return key, os.Rename(f.Name(), path)
}

func sendable(key string) bool {
	return !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
}

// loopback reports whether only this machine can reach a listener at listen.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
