package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"testing"

	ollama "github.com/ollama/ollama/api"
)

// modelNames are the installed models.
func modelNames(t *testing.T, client *ollama.Client) []string {
	t.Helper()
	list, err := client.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range list.Models {
		names = append(names, m.Name)
	}
	return names
}

func TestOllamaServer(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOllama(t, proxyURL)
		if err := client.Heartbeat(t.Context()); err != nil {
			t.Error(err)
		}
		version, err := client.Version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if version == "" {
			t.Error("the version is empty")
		}
	})
}

func TestOllamaList(t *testing.T) {
	twice(t, func(t *testing.T) {
		got := modelNames(t, newOllama(t, proxyURL))
		for _, name := range []string{"demo:latest", "demo-embed:latest", "demo-think:latest"} {
			if !slices.Contains(got, name) {
				t.Errorf("models are %q, %s is missing", got, name)
			}
		}
	})
}

func TestOllamaShow(t *testing.T) {
	twice(t, func(t *testing.T) {
		got, err := newOllama(t, proxyURL).Show(t.Context(), &ollama.ShowRequest{Model: "demo-think"})
		if err != nil {
			t.Fatal(err)
		}
		expectText(t, "system", got.System, "You are a simulated model.")
		expectText(t, "format", got.Details.Format, "gguf")
		if !slices.Contains(got.Capabilities, "thinking") {
			t.Errorf("capabilities are %q, want thinking among them", got.Capabilities)
		}
	})
}

// TestOllamaRunning loads a model, finds it running, and unloads it.
func TestOllamaRunning(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOllama(t, proxyURL)
		keep := func(d *ollama.Duration, reason string) {
			t.Helper()
			req := &ollama.GenerateRequest{Model: "demo-think", KeepAlive: d}
			err := client.Generate(t.Context(), req, func(r ollama.GenerateResponse) error {
				expectText(t, "done_reason", r.DoneReason, reason)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		running := func() bool {
			t.Helper()
			list, err := client.ListRunning(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(list.Models, func(m ollama.ProcessModelResponse) bool { return m.Name == "demo-think:latest" })
		}
		keep(nil, "load")
		if !running() {
			t.Error("the model was loaded, but is not running")
		}
		keep(&ollama.Duration{}, "unload")
		if running() {
			t.Error("the model was unloaded, but is running")
		}
	})
}

// TestOllamaManage takes a model through its life.
func TestOllamaManage(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOllama(t, proxyURL)
		var lines []ollama.ProgressResponse
		progress := func(p ollama.ProgressResponse) error {
			lines = append(lines, p)
			return nil
		}
		if err := client.Pull(t.Context(), &ollama.PullRequest{Model: "clients/go?tokens=5&" + atOnce}, progress); err != nil {
			t.Fatal(err)
		}
		expectProgress(t, lines, 5)

		lines = nil
		if err := client.Push(t.Context(), &ollama.PushRequest{Model: "clients/go?tokens=4&" + atOnce}, progress); err != nil {
			t.Fatal(err)
		}
		expectProgress(t, lines, 4)

		lines = nil
		if err := client.Create(t.Context(), &ollama.CreateRequest{Model: "clients/made", From: "demo"}, progress); err != nil {
			t.Fatal(err)
		}
		expectProgress(t, lines, 0)

		if err := client.Copy(t.Context(), &ollama.CopyRequest{Source: "clients/go", Destination: "clients/copied"}); err != nil {
			t.Fatal(err)
		}
		made := []string{"clients/copied:latest", "clients/go:latest", "clients/made:latest"}
		for _, name := range made {
			if names := modelNames(t, client); !slices.Contains(names, name) {
				t.Errorf("models are %q, %s is missing", names, name)
			}
			if err := client.Delete(t.Context(), &ollama.DeleteRequest{Model: name}); err != nil {
				t.Fatal(err)
			}
			if names := modelNames(t, client); slices.Contains(names, name) {
				t.Errorf("models are %q, %s should be gone", names, name)
			}
		}
	})
}

// expectProgress checks that so many lines count bytes, up to their total, and
// that the last line says success.
func expectProgress(t *testing.T, lines []ollama.ProgressResponse, counting int64) {
	t.Helper()
	if len(lines) == 0 {
		t.Fatal("no progress at all")
	}
	var n, completed int64
	for _, line := range lines {
		if line.Total == 0 {
			continue
		}
		n++
		if line.Completed <= completed {
			t.Errorf("line %d counts %d bytes after %d", n, line.Completed, completed)
		}
		completed = line.Completed
		if n == counting {
			expectCount(t, "bytes in the end", completed, line.Total)
		}
	}
	expectCount(t, "lines that count bytes", n, counting)
	expectText(t, "last line", lines[len(lines)-1].Status, "success")
}

// TestOllamaBlob uploads more than fits into any buffer on the way.
func TestOllamaBlob(t *testing.T) {
	twice(t, func(t *testing.T) {
		client := newOllama(t, proxyURL)
		blob := bytes.Repeat([]byte(t.Name()+"\n"), 1<<18)
		sum := sha256.Sum256(blob)
		digest := "sha256:" + hex.EncodeToString(sum[:])
		if err := client.CreateBlob(t.Context(), digest, bytes.NewReader(blob)); err != nil {
			t.Fatal(err)
		}
		wrong := "sha256:" + hex.EncodeToString(make([]byte, sha256.Size))
		err := client.CreateBlob(t.Context(), wrong, bytes.NewReader(blob))
		expectStatusError(t, err, http.StatusBadRequest, "digest mismatch")
	})
}
