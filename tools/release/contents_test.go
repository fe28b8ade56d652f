package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/blakesmith/ar"
	"github.com/sassoftware/go-rpmutils"
)

// unpack returns an archive's files, by name, and their modes.
func unpack(t *testing.T, r io.Reader) (files map[string][]byte, modes map[string]int64) {
	t.Helper()
	files, modes = map[string][]byte{}, map[string]int64{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, modes
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Clean("/" + h.Name)
		files[name], modes[name] = readAll(t, tr), h.Mode
		if h.ModTime.Unix() != 1767225600 {
			t.Errorf("%s is of %v", name, h.ModTime)
		}
	}
}

func unzip(t *testing.T, packed []byte) io.Reader {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestArchive unpacks one and runs what is in it. Not beside other tests: while
// they start programs, those hold what is written here open for a moment, and it
// could not be run.
func TestArchive(t *testing.T) {
	folder := "/vega-proxy_" + version + "_linux_" + arch + "/"
	files, modes := unpack(t, unzip(t, content(t, file(".tar.gz"))))
	for _, name := range []string{"README.md", "CHANGELOG.md", "vega-proxy.yaml"} {
		if len(files[folder+name]) == 0 {
			t.Errorf("there is no %s", name)
		}
	}
	if len(files) != 4 || modes[folder+"vega-proxy"] != 0o755 {
		t.Errorf("%d files, the program's mode is %o", len(files), modes[folder+"vega-proxy"])
	}
	program := filepath.Join(t.TempDir(), "vega-proxy")
	if err := os.WriteFile(program, files[folder+"vega-proxy"], 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "version").CombinedOutput(); err != nil || !strings.Contains(string(out), version) {
		t.Errorf("%v: %s", err, out)
	}
}

// packaged is what both packages hold, with modes.
var packaged = map[string]int64{
	"/usr/bin/vega-proxy":                        0o755,
	"/usr/lib/systemd/system/vega-proxy.service": 0o644,
	"/etc/vega-proxy/vega-proxy.yaml":            0o644,
	"/etc/vega-proxy/environment":                0o600,
	"/usr/share/doc/vega-proxy/README.md":        0o644,
	"/usr/share/doc/vega-proxy/CHANGELOG.md":     0o644,
	"/usr/share/doc/vega-proxy/vega-proxy.yaml":  0o644,
}

func TestDeb(t *testing.T) {
	t.Parallel()
	members := map[string][]byte{}
	for r := ar.NewReader(bytes.NewReader(content(t, file(".deb")))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		members[strings.TrimSuffix(h.Name, "/")] = readAll(t, r)
	}
	files, modes := unpack(t, unzip(t, members["data.tar.gz"]))
	for name, mode := range packaged {
		if len(files[name]) == 0 || modes[name] != mode {
			t.Errorf("%s has %d bytes and mode %o", name, len(files[name]), modes[name])
		}
	}
	control, _ := unpack(t, unzip(t, members["control.tar.gz"]))
	for name, want := range map[string]string{
		"/control": "Version: 1.2.3+4+gabcdef\n", "/conffiles": "/etc/vega-proxy/environment\n", "/postinst": "daemon-reload", "/prerm": "disable --now",
	} {
		if !strings.Contains(string(control[name]), want) {
			t.Errorf("%s says nothing of %q:\n%s", name, want, control[name])
		}
	}
}

func TestRPM(t *testing.T) {
	t.Parallel()
	r, err := rpmutils.ReadRpm(bytes.NewReader(content(t, file(".rpm"))))
	if err != nil {
		t.Fatal(err)
	}
	infos, err := r.Header.GetFiles()
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for _, f := range infos {
		modes[f.Name()] = int64(f.Mode() & 0o777)
	}
	for name, mode := range packaged {
		if modes[name] != mode {
			t.Errorf("%s has mode %o", name, modes[name])
		}
	}
	nevra, err := r.Header.GetNEVRA()
	if err != nil || nevra.Version != "1.2.3+4+gabcdef" {
		t.Errorf("%v, %v", nevra, err)
	}
}

// TestBOM: the list has each module of the program, and nothing else.
func TestBOM(t *testing.T) {
	t.Parallel()
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(content(t, file(".cdx.json"))), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, c := range *bom.Components {
		listed[c.PackageURL] = true
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}", "./cmd/vega-proxy")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]bool{}
	for module := range strings.FieldsSeq(string(out)) {
		modules[module] = true
		if !listed["pkg:golang/"+module] {
			t.Errorf("%s is not listed", module)
		}
	}
	if len(modules) < 10 || len(listed) != len(modules)+1 { // and Go's own library
		t.Errorf("%d modules, %d are listed", len(modules), len(listed))
	}
	if c := bom.Metadata.Component; c.Version != version || fmt.Sprint(bom.Metadata.Timestamp) != "2026-01-01T00:00:00Z" {
		t.Errorf("of %+v at %s", c, bom.Metadata.Timestamp)
	}
}
