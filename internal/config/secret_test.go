package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSecretsAreResolved(t *testing.T) {
	file := writeFile(t, "key", "from-file\r\n")
	c := mustLoad(t, `
client_keys: ["${A}", "file:`+file+`", plain]
admin: {api_key: "${A}"}
batchlog: {database: "postgres://u:${B}@h/db"}
cache: {l2: {url: "${L2}"}}
upstreams:
  - headers: {Authorization: "Bearer ${A}", X-Two: "${A}${B}", X-File: "file:`+file+`", X-Team: blue, x-api-key: plain, X-Dollar: "$A $ {A}"}
`, "A=alpha", "B=beta", "L2=redis://h")
	if !slices.Equal(c.ClientKeys, []string{"alpha", "from-file", "plain"}) || c.Admin.APIKey != "alpha" ||
		c.Batchlog.Database != "postgres://u:beta@h/db" || c.Cache.L2.URL != "redis://h" {
		t.Errorf("keys %q, %q; URLs %q, %q", c.ClientKeys, c.Admin.APIKey, c.Batchlog.Database, c.Cache.L2.URL)
	}
	want := map[string]string{"Authorization": "Bearer alpha", "X-Two": "alphabeta", "X-File": "from-file", "X-Team": "blue", "X-Api-Key": "plain", "X-Dollar": "$A $ {A}"}
	if got := c.Upstreams[0].Headers; !reflect.DeepEqual(got, want) {
		t.Errorf("headers %q, want %q", got, want)
	}
	if got, want := c.Upstreams[0].SecretHeaders, []string{"Authorization", "X-Api-Key", "X-File", "X-Two"}; !slices.Equal(got, want) {
		t.Errorf("secret headers %q, want %q", got, want)
	}
	// Elsewhere the spelling means nothing.
	if c := mustLoad(t, "data_dir: '${A}'", "A=x"); c.DataDir != "${A}" {
		t.Errorf("data_dir %q", c.DataDir)
	}
	// The environment is a place for references too.
	if c := mustLoad(t, "", "VEGA_CLIENT_KEYS_0=file:"+file); c.ClientKeys[0] != "from-file" {
		t.Errorf("client_keys %q", c.ClientKeys)
	}
}

func TestSecretsThatCannotBeResolved(t *testing.T) {
	empty := writeFile(t, "empty", "\n")
	long := writeFile(t, "long", strings.Repeat("x", maxSecretBytes+1))
	for _, tc := range []struct{ written, says string }{
		{"${UNSET}", "the environment variable UNSET is not set or empty"},
		{"Bearer ${EMPTY}", "the environment variable EMPTY is not set or empty"},
		{"file:/nowhere", "its file /nowhere cannot be read"},
		{"file:" + empty, "is empty; write the secret into it"},
		{"file:" + long, "is longer than 64KiB"},
		{"${}", "does not hold the name"},
		{"${A B}", "does not hold the name"},
		{"Bearer ${SET", "is not closed"},
	} {
		ps := refusals(t, fmt.Sprintf("client_keys: [ok, %q]\nadmin: {api_key: %q}\nbatchlog: {database: %q}\ncache: {l2: {url: %q}}\nupstreams: [{headers: {X-Key: %q}}]\n",
			tc.written, tc.written, tc.written, tc.written, tc.written), "EMPTY=", "SET=x")
		wantProblems(t, ps, "client_keys[1]", "admin.api_key", "batchlog.database", "cache.l2.url", "upstreams[0].headers.X-Key")
		for _, p := range ps {
			wantText(t, p.Message, tc.says)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	const file = `
client_keys: [hush-1]
admin: {api_key: hush-2}
batchlog: {database: "postgres://u:hush-3@h/db?sslpassword=hush-4&sslmode=require"}
cache: {l2: {url: "rediss://:hush-5@h:6379/0"}}
upstreams: [{name: a, headers: {Authorization: hush-6, X-Env: "${K}", X-Team: blue}}]
`
	c := mustLoad(t, file, "K=hush-7")
	shown, err := json.Marshal(c.Masked())
	if err != nil {
		t.Fatal(err)
	}
	changed := mustLoad(t, strings.ReplaceAll(file, "hush", "hush-hush"), "K=hush-8")
	changes := Diff(c, changed)
	for _, text := range []string{string(shown), fmt.Sprint(changes)} {
		if strings.Contains(text, "hush") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
	wantText(t, string(shown), `"client_keys":["***"]`, `"api_key":"***"`, "postgres://u:xxxxx@h/db?sslmode=require", "rediss://:xxxxx@h:6379/0",
		`"Authorization":"***"`, `"X-Env":"***"`, `"X-Team":"blue"`)
	var paths []string
	for _, ch := range changes {
		paths = append(paths, ch.Path)
	}
	if want := []string{"client_keys", "cache.l2.url", "batchlog.database", "admin.api_key", "upstreams[0].headers"}; !slices.Equal(paths, want) {
		t.Errorf("changes at %q, want %q", paths, want)
	}
	if c.Upstreams[0].Headers["Authorization"] != "hush-6" || c.ClientKeys[0] != "hush-1" {
		t.Error("masking changed the configuration itself")
	}
	if got := Default(); got.Masked()["admin"].(map[string]any)["api_key"] != "" {
		t.Error("a secret that is not set is shown as set")
	}
}

func TestProblemsShowNoSecret(t *testing.T) {
	ps := refusals(t, `
client_keys: [" hush"]
admin: {api_key: "hush\n"}
batchlog: {database: "postgres://u:hush hush@h:x/db"}
cache: {l2: {url: "http://u:hush@h"}}
telemetry: {otlp_endpoint: "http://u:hush@h"}
upstreams: [{url: "http://u:hush@h:x"}, {name: b, headers: {X-Key: "hush\n"}}]
`)
	if len(ps) != 7 {
		t.Errorf("%d problems, want 7:\n%v", len(ps), ps)
	}
	if strings.Contains(ps.Error(), "hush") {
		t.Errorf("a secret is shown:\n%v", ps)
	}
}

func TestMaskURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                           "",
		"sqlite:/var/x.db":           "sqlite:/var/x.db",
		"postgres://h/db":            "postgres://h/db",
		"postgres://u@h/db":          "postgres://u@h/db",
		"postgres://u:p@h1,h2/db":    "postgres://u:xxxxx@h1,h2/db",
		"postgres://h/db?password=p": "postgres://h/db?password=xxxxx",
		"postgres://u:p w@h/db":      "postgres://***",
		"redis://:p@h":               "redis://:xxxxx@h",
	} {
		if got := maskURL(url); got != want {
			t.Errorf("maskURL(%q) = %q, want %q", url, got, want)
		}
	}
}
