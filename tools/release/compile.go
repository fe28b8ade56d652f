package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// target is a system and a processor that is built for.
type target struct{ os, arch string }

// targets: the program runs on Unix only.
var targets = []target{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"freebsd", "amd64"},
}

func (t target) String() string { return t.os + "/" + t.arch }

// compile builds the program. Without paths, stamps of the version control and
// debugging tables nothing in it depends on where it was built.
func (r release) compile(t target, to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version="+r.version, "-o", to, "./cmd/vega-proxy")
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+t.os, "GOARCH="+t.arch, "GOAMD64=v1", "GOARM64=v8.0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
