// Package deploy_test reads what is in the folder deploy as Kubernetes, Helm,
// Compose and systemd would, and runs the built program with what is in there.
// It is a module of its own, so that their libraries stay out of the program's.
package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	root     = "../.."
	patience = 20 * time.Second
)

// binary is the built program.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vega-proxy-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "vega-proxy")
	build := exec.Command("go", "build", "-C", root, "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/vega-proxy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// program is the built program with its arguments, in a directory of its own and
// with no settings but those given as NAME=VALUE.
func program(t *testing.T, settings []string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append([]string{"PATH=" + os.Getenv("PATH")}, settings...)
	said := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	return cmd, said
}

// validate checks a configuration with the settings of its surroundings.
func validate(t *testing.T, settings []string, file string) {
	t.Helper()
	cmd, said := program(t, settings, "validate", "--config", file)
	if err := cmd.Run(); err != nil || strings.Contains(said.String(), "warning: VEGA_") {
		t.Errorf("validate with %q: %v\n%s", settings, err, said)
	}
}

// serve starts the program on free ports and asks for each path on metrics.listen,
// then ends it.
func serve(t *testing.T, settings []string, file string, paths ...string) {
	t.Helper()
	cmd, _ := program(t, append(settings, // a later one wins
		"VEGA_LISTEN=127.0.0.1:0", "VEGA_ADMIN_LISTEN=127.0.0.1:0", "VEGA_METRICS_LISTEN=127.0.0.1:0", "VEGA_SHUTDOWN_DRAIN_DELAY=0s",
	), "serve", "--config", file)
	cmd.Stderr = nil
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var metrics string
	for lines := json.NewDecoder(log); ; {
		var line struct{ Msg, Address string }
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("it did not start: %v", errors.Join(err, cmd.Wait()))
		}
		if line.Msg == "metrics listening" {
			metrics = line.Address
		}
		if line.Msg == "proxy listening" {
			break
		}
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range paths {
		res, err := client.Get("http://" + metrics + path)
		if err != nil {
			t.Error(err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
