package batchlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstance: the name stays with the directory, and no other has it.
func TestInstance(t *testing.T) {
	dir := t.TempDir()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	first, err := Instance(dir)
	if err != nil || !strings.HasPrefix(first, host+"-") {
		t.Errorf("at first %q, %v, want %s- and more", first, err, host)
	}
	if name, err := Instance(dir); err != nil || name != first {
		t.Errorf("again %q, %v, want %q", name, err, first)
	}
	if name, err := Instance(t.TempDir()); err != nil || name == first {
		t.Errorf("another directory has the same name %q, %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, instanceFile), []byte("made-elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if name, err := Instance(dir); err != nil || name != "made-elsewhere" {
		t.Errorf("then %q, %v", name, err)
	}
	if _, err := Instance(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a directory that is not there has a name")
	}
}

// TestReducedErrors: where no content is kept, an error stays if the words are
// our own.
func TestReducedErrors(t *testing.T) {
	const refusal, own = `{"error":{"message":"bad prompt: p"}}`, "the upstream is gone, said Bearer abcdefghijklmnop"
	for _, tt := range []struct {
		name      string
		answer    string
		error     string
		change    func(*Record)
		off, full string
	}{
		{"ours", "", own, nil, "the upstream is gone, said Bearer [redacted]", "the upstream is gone, said Bearer [redacted]"},
		{"the upstream's", refusal, "", nil, "", "bad prompt: p"},
		{"the upstream's, in both places", refusal, "bad prompt: p", nil, "", "bad prompt: p"},
		{"of an amendment", "", "bad prompt: p", func(r *Record) { r.Revision = 1 }, "", "bad prompt: p"},
		{"of what is incomplete", "", "bad prompt: p", func(r *Record) { r.Incomplete = true }, "", "bad prompt: p"},
		{"none", "", "", nil, "", ""},
	} {
		r := chat("p", "a")
		r.Answer, r.Error = nil, tt.error
		if tt.answer != "" {
			r.Answer = [][]byte{[]byte(tt.answer)}
		}
		r.Framing, r.HTTPStatus, r.Outcome = 0, 500, UpstreamError
		if tt.change != nil {
			tt.change(r)
		}
		for content, want := range map[string]string{"off": tt.off, "full": tt.full} {
			reducer, err := newReducer(Config{Content: content, Redact: []string{"never"}}, []byte("key"))
			if err != nil {
				t.Fatal(err)
			}
			if got := reducer.read(*r, "here").Error; got != want {
				t.Errorf("%s, %s: the error is %q, want %q", tt.name, content, got, want)
			}
		}
	}
}
