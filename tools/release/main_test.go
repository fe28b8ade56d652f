package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const (
	root      = "../.." // of the repository
	version   = "v1.2.3-4-gabcdef"
	arch      = runtime.GOARCH
	timestamp = "1767225600"
)

// made is a folder with a release for this machine's processor.
var made string

func TestMain(m *testing.M) {
	if dir := os.Getenv(imageRoot); dir != "" { // TestImageServes starts this program
		enter(dir)
	}
	os.Exit(func() int {
		os.Setenv("SOURCE_DATE_EPOCH", timestamp)
		dir, err := os.MkdirTemp("", "vega-proxy-release-test-")
		if err == nil {
			defer os.RemoveAll(dir)
			made = filepath.Join(dir, "made")
			err = build(root, made, version, "linux/"+arch)
		}
		if err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
		return m.Run()
	}())
}

// file is one of the release, by the end of its name.
func file(suffix string) string {
	return filepath.Join(made, "vega-proxy_"+version+"_linux_"+arch+suffix)
}

// TestReproducible builds again from a copy of the sources at another place.
func TestReproducible(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(t.TempDir(), "quite", "another", "place")
	listed, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and listed until that is committed
		}
		to := filepath.Join(elsewhere, name)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	again := t.TempDir()
	if err := build(elsewhere, again, version, "linux/"+arch); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, dir := range []string{made, again} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) != 6 {
		t.Errorf("a release for one target has %q", names)
	}
	for _, name := range names {
		if a, b := content(t, filepath.Join(made, name)), content(t, filepath.Join(again, name)); !bytes.Equal(a, b) {
			t.Errorf("%s differs: %d and %d bytes", name, len(a), len(b))
		}
	}
}

func TestSums(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = made
	out, err := cmd.CombinedOutput()
	if n := strings.Count(string(out), ": OK"); err != nil || n != 5 {
		t.Errorf("%d files, %v\n%s", n, err, out)
	}
}

// TestVersions: what dpkg and rpm sort by.
func TestVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "v1.2.3-4-gabcdef": "1.2.3+4+gabcdef", "abcdef-dirty": "0~abcdef+dirty", "v1.2.3-rc.1": "1.2.3~rc.1",
		"v1.2.3-rc.1-4-gabcdef": "1.2.3~rc.1+4+gabcdef",
	} {
		if got := packageVersion(version); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	if len(targets) != 5 {
		t.Errorf("%d targets", len(targets))
	}
	if err := build(root, t.TempDir(), version, "plan9/amd64"); err == nil || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("a target that is not there: %v", err)
	}
}

func content(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
