package config

import (
	"os"
	"reflect"
	"slices"
	"testing"
)

func TestNext(t *testing.T) {
	running := mustLoad(t, "listen: :1\nclient_keys: [k]\nupstreams: [{name: a}, {name: b, url: 'http://b:1'}]\nbatchlog: {batch_size: 1, enabled: true}")
	loaded := mustLoad(t, "listen: :2\nclient_keys: [k]\nhttp2: true\nupstreams: [{name: b, url: 'http://b:2'}]\nbatchlog: {batch_size: 2, enabled: false}")
	next, changes, err := running.Next(loaded)
	if err != nil {
		t.Fatal(err)
	}
	if next.Listen != ":1" || next.HTTP2 || !next.Batchlog.Enabled {
		t.Errorf("what needs a restart changed: %+v", next)
	}
	if next.Batchlog.BatchSize != 2 || len(next.Upstreams) != 1 || next.Upstreams[0].URL != "http://b:2" {
		t.Errorf("what needs none did not change: %+v", next)
	}
	if running.Listen != ":1" || loaded.Listen != ":2" || running.Batchlog.BatchSize != 1 {
		t.Error("an argument was changed")
	}
	var restart []string
	for _, c := range changes {
		if c.Restart {
			restart = append(restart, c.Path)
		}
	}
	if want := []string{"listen", "http2", "batchlog.enabled"}; !slices.Equal(restart, want) {
		t.Errorf("a restart is needed for %q, want %q", restart, want)
	}
	// The next reload names them again, and a way back none.
	if _, changes, _ = next.Next(loaded); len(changes) != 3 {
		t.Errorf("again: %+v", changes)
	}
	if _, changes, _ = next.Next(next); len(changes) != 0 {
		t.Errorf("the same: %+v", changes)
	}
}

// TestNextIsValid: the listener stays beyond loopback until the restart, so the
// keys before it must stay too.
func TestNextIsValid(t *testing.T) {
	const secret = "upstreams: [{headers: {Authorization: x}}]\n"
	running := mustLoad(t, secret+"listen: 0.0.0.0:1\nclient_keys: [k]")
	_, _, err := running.Next(mustLoad(t, secret))
	ps, ok := err.(Problems)
	if !ok {
		t.Fatalf("accepted: %v", err)
	}
	wantProblems(t, ps, "client_keys")
	wantText(t, ps.Error(), "listen is what it was until a restart")

	running = mustLoad(t, "admin: {listen: '0.0.0.0:1', api_key: k}")
	if _, _, err := running.Next(mustLoad(t, "")); err == nil {
		t.Error("the admin API is offered to a network without a key")
	}
}

func TestDiffOfRenewedFiles(t *testing.T) {
	cert, key := certificate(t)
	ca, _ := certificate(t)
	yaml := "tls: {cert_file: " + cert + ", key_file: " + key + "}\nupstreams: [{name: a, url: 'https://a'}, {name: b, url: 'https://b', tls: {ca_file: " + ca + "}}]"
	old := mustLoad(t, yaml)
	if files, want := old.Files(), []string{cert, key, ca}; !slices.Equal(files, want) {
		t.Errorf("files %q, want %q", files, want)
	}
	other, otherKey := certificate(t)
	for from, to := range map[string]string{other: cert, otherKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	ca2, _ := certificate(t)
	if err := os.Rename(ca2, ca); err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{"tls.cert_file", cert, cert + " (its content)", false}, {"tls.key_file", key, key + " (its content)", false},
		{"upstreams[1].tls.ca_file", ca, ca + " (its content)", false},
	}
	if got := Diff(old, mustLoad(t, yaml)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := Diff(old, mustLoad(t, "upstreams: [{name: a, url: 'https://a'}]")); !got[0].Restart || got[0].Path != "tls.cert_file" {
		t.Errorf("to turn TLS off: %+v", got)
	}
}

func TestFilesOfSecrets(t *testing.T) {
	key := writeFile(t, "key", "secret")
	c := mustLoad(t, "client_keys: ['file:"+key+"']")
	if files := c.Files(); !slices.Equal(files, []string{key}) {
		t.Errorf("files %q", files)
	}
}
