package admin

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadKeyMakesOneAndKeepsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	key, generated, path, err := LoadKey(allOn(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "admin-key"); !generated || path != want {
		t.Errorf("generated %v at %q, want true at %q", generated, path, want)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(key); err != nil || len(raw) != 32 {
		t.Errorf("key %q: %d bytes, %v; want 32 in base64url", key, len(raw), err)
	}
	for path, want := range map[string]os.FileMode{path: 0o600, dir: 0o700} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, want the key alone (%v)", entries, err)
	}

	again, generated, samePath, err := LoadKey(allOn(), dir)
	if again != key || generated || samePath != path || err != nil {
		t.Errorf("second time: %q, %v, %q, %v", again, generated, samePath, err)
	}
	other, _, _, err := LoadKey(allOn(), t.TempDir())
	if err != nil || other == key {
		t.Errorf("another directory: %q, %v; want another key", other, err)
	}
}

func TestLoadKeyConfigured(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for _, listen := range []string{"127.0.0.1:8081", "0.0.0.0:8081"} {
		key, generated, path, err := LoadKey(Config{Listen: listen, APIKey: "mine"}, dir)
		if key != "mine" || generated || path != "" || err != nil {
			t.Errorf("%s: %q, %v, %q, %v", listen, key, generated, path, err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory was touched: %v", err)
	}
	for _, bad := range []string{"two words", "line\n", "schl\u00fcssel", "\x7f"} {
		if key, _, _, err := LoadKey(Config{Listen: "127.0.0.1:8081", APIKey: bad}, dir); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %q, %v; want an error without the key", bad, key, err)
		}
	}
}

func TestLoadKeyMakesNoneBeyondLoopback(t *testing.T) {
	for listen, ok := range map[string]bool{
		"127.0.0.1:8081": true, "127.0.0.2:0": true, "[::1]:8081": true, "localhost:8081": true, "LOCALHOST:1": true,
		":8081": false, "0.0.0.0:8081": false, "[::]:8081": false, "192.0.2.1:8081": false, "box.example:8081": false, "": false,
	} {
		dir := t.TempDir()
		_, _, _, err := LoadKey(Config{Listen: listen}, dir)
		if (err == nil) != ok {
			t.Errorf("%q: got %v, want ok %v", listen, err, ok)
		}
		if err != nil && !strings.Contains(err.Error(), "admin.api_key") {
			t.Errorf("%q: %v does not name the setting", listen, err)
		}
		if entries, _ := os.ReadDir(dir); (len(entries) == 1) != ok {
			t.Errorf("%q: the directory has %v", listen, entries)
		}
	}
}

func TestLoadKeyFile(t *testing.T) {
	tests := []struct {
		name    string
		content string
		mode    os.FileMode
		key     string // "" is refused
		says    string
	}{
		{"one line", "abc\n", 0o600, "abc", ""},
		{"no end of line", "abc", 0o400, "abc", ""},
		{"Windows line", "abc\r\n", 0o600, "abc", ""},
		{"readable by all", "abc\n", 0o644, "", "chmod 600"},
		{"readable by the group", "abc\n", 0o640, "", "chmod 600"},
		{"writable by others", "abc\n", 0o602, "", "chmod 600"},
		{"empty", "", 0o600, "", "remove it"},
		{"blank", " \n\n", 0o600, "", "remove it"},
		{"two lines", "abc\ndef\n", 0o600, "", "remove it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "admin-key")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			key, generated, _, err := LoadKey(allOn(), dir)
			if key != tt.key || generated || (err == nil) != (tt.key != "") {
				t.Errorf("got %q, %v, %v", key, generated, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "abc")) {
				t.Errorf("%v: want the path and %q, and not the key", err, tt.says)
			}
			if content, _ := os.ReadFile(path); string(content) != tt.content {
				t.Errorf("the file was changed to %q", content)
			}
		})
	}
}

func TestLoadKeyWithoutPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := LoadKey(allOn(), filepath.Join(file, "data")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("below a file: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "admin-key"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := LoadKey(allOn(), dir); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a directory in its place: %v", err)
	}
}
