// Command release builds what is handed out: archives, packages, images, lists of
// what is in them, checksums. Equal sources and an equal Go make equal bytes,
// wherever and whenever it runs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// release is what all parts of one are made with.
type release struct {
	root    string    // of the repository
	out     string    // where the files go
	version string    // as the program prints it
	time    time.Time // of every file within
}

func main() {
	root := flag.String("root", ".", "`folder` of the repository")
	out := flag.String("o", "bin/release", "`folder` that the files go to; what was in it is removed")
	version := flag.String("version", "", "`version` (default: what git describe says)")
	only := flag.String("only", "", "one `target`, such as linux/amd64 (default: all)")
	flag.Parse()
	if err := build(*root, *out, *version, *only); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func build(root, out, version, only string) error {
	if version == "" {
		described, err := git(root, "describe", "--always", "--dirty")
		if err != nil {
			return err
		}
		version = described
	}
	at, err := sourceTime(root)
	if err != nil {
		return err
	}
	r := release{root, out, version, at}
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o755)); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "vega-proxy-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	found := false
	for _, t := range targets {
		if only != "" && only != t.String() {
			continue
		}
		found = true
		if err := r.make(t, filepath.Join(work, t.os+"-"+t.arch, "vega-proxy")); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	if !found {
		return fmt.Errorf("there is no target %q; there are %v", only, targets)
	}
	return r.sum()
}

// make builds all there is for one target.
func (r release) make(t target, binary string) error {
	if err := r.compile(t, binary); err != nil {
		return err
	}
	parts := []func(target, string) error{r.archive, r.bom}
	if t.os == "linux" {
		parts = append(parts, r.packages, r.image)
	}
	for _, part := range parts {
		if err := part(t, binary); err != nil {
			return err
		}
	}
	return nil
}

// name is a file of this release for a target.
func (r release) name(t target, suffix string) string {
	return filepath.Join(r.out, fmt.Sprintf("vega-proxy_%s_%s_%s%s", r.version, t.os, t.arch, suffix))
}

// sourceTime is SOURCE_DATE_EPOCH, or the time of the last commit.
func sourceTime(root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		if text, err = git(root, "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func git(root string, args ...string) (string, error) {
	out, err := exec.Command("git", append([]string{"-C", root}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w; give -version and SOURCE_DATE_EPOCH outside a clone", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
