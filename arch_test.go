// Package vegaproxy_test holds the rules that span the whole repository: who
// may import whom, and what no file may contain.
package vegaproxy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/vega-proxy/vega-proxy/"

// arrows says which siblings the packages at or below each folder may import,
// beside those at or below the folder itself. Tests are free.
var arrows = map[string][]string{
	"cmd":    {"internal", "config"},
	"config": nil,

	"internal/config": {
		"internal/admin", "internal/batchlog", "internal/cache", "internal/monitor", "internal/proxy",
		"internal/resilience", "internal/stream", "internal/trace", "internal/upstream",
	},
	"internal/proxy": {
		"internal/batchlog", "internal/cache", "internal/dialect", "internal/lifetime", "internal/monitor/progress", "internal/poll",
		"internal/resilience", "internal/stream", "internal/trace", "internal/upstream",
	},
	"internal/upstream": {"internal/lifetime", "internal/poll", "internal/resilience"},
	"internal/cache":    {"internal/lifetime", "internal/resilience", "internal/stream"},
	"internal/batchlog": {"internal/dialect"},

	"internal/doctor":  {"internal/batchlog", "internal/config"},
	"internal/testkit": {"internal/poll"},

	"internal/admin":      nil,
	"internal/dialect":    nil,
	"internal/lifetime":   nil,
	"internal/monitor":    nil,
	"internal/poll":       nil,
	"internal/resilience": nil,
	"internal/simllm":     nil,
	"internal/stream":     nil,
	"internal/trace":      nil,
}

// engines are the packages that one part alone may know, so that it alone
// changes when the engine does.
var engines = map[string][]string{
	"github.com/spf13/viper":         {"internal/config"},
	"github.com/sony/gobreaker":      {"internal/resilience"},
	"github.com/dgraph-io/ristretto": {"internal/cache"},
	"github.com/redis/go-redis":      {"internal/cache/l2"},
	"github.com/jackc/pgx":           {"internal/batchlog"},
	"modernc.org/sqlite":             {"internal/batchlog"},
	"github.com/go-chi/chi":          {"internal/admin", "cmd"},
	"go.opentelemetry.io":            {"internal/trace"},
	// Importing it registers handlers with the default mux.
	"net/http/pprof": {"internal/admin"},
	// A simulated backend must not be reachable from serving code.
	module + "internal/simllm": {"cmd", "internal/simllm"},
	// Only tests may: they are free.
	module + "internal/testkit": {"internal/testkit"},
}

func TestImports(t *testing.T) {
	for pkg, imports := range listImports(t) {
		allowed, known := allowedFor(pkg)
		if !known {
			t.Errorf("%s stands in no folder that arrows names: say there what it may import", pkg)
		}
		for _, imp := range imports {
			if sibling, ok := strings.CutPrefix(imp, module); ok && !belowAny(sibling, allowed) {
				t.Errorf("%s imports %s: there is no such arrow", pkg, sibling)
			}
			for engine, owners := range engines {
				if below(imp, engine) && !belowAny(pkg, owners) {
					t.Errorf("%s imports %s: only %s may", pkg, imp, strings.Join(owners, " and "))
				}
			}
		}
	}
}

func TestBelow(t *testing.T) {
	tests := []struct {
		pkg, root string
		want      bool
	}{
		{"internal/batchlog", "internal/batchlog", true},
		{"internal/batchlog/spool", "internal/batchlog", true},
		{"internal/batchlogger", "internal/batchlog", false},
		{"internal", "internal/batchlog", false},
		{"github.com/jackc/pgx/v5/pgxpool", "github.com/jackc/pgx", true},
	}
	for _, tt := range tests {
		if got := below(tt.pkg, tt.root); got != tt.want {
			t.Errorf("below(%q, %q) = %v", tt.pkg, tt.root, got)
		}
	}
}

// listImports returns the imports of each package of the module that has more
// than tests, by its folder.
func listImports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	const format = "{{if .GoFiles}}{{.ImportPath}} {{join .Imports ` `}}{{end}}"
	for line := range strings.Lines(output(t, "go", "list", "-e", "-f", format, "./...")) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		found[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	if len(found) < 5 {
		t.Fatalf("go list names only %d packages", len(found))
	}
	return found
}

// allowedFor returns what the arrows allow to a package, its own folder included.
func allowedFor(pkg string) (folders []string, known bool) {
	for folder, siblings := range arrows {
		if below(pkg, folder) {
			return append([]string{folder}, siblings...), true
		}
	}
	return nil, false
}

func below(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}

func belowAny(pkg string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return below(pkg, root) })
}

// forbidden are what a file must not contain: paths of the machine on which it
// was written, and hosts of registries, which each builder chooses for itself.
// They are put together here, so that this file does not contain them.
var forbidden = []string{
	"/work" + "/",
	"proxy.golang" + ".org",
	"registry.npmjs" + ".org",
	"deb.debian" + ".org",
}

// binaries are the kinds of files that may hold NUL bytes.
var binaries = []string{".gz", ".ico", ".png", ".woff2"}

func TestFiles(t *testing.T) {
	for _, name := range files(t) {
		// Recorded bytes are as their servers sent them.
		if path.Base(name) == "go.sum" || slices.Contains(strings.Split(name, "/"), "testdata") {
			continue
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if bytes.IndexByte(content, 0) >= 0 && !slices.Contains(binaries, path.Ext(name)) {
			t.Errorf("%s is binary: what is built is not committed", name)
			continue
		}
		for _, f := range forbidden {
			if before, _, ok := bytes.Cut(content, []byte(f)); ok {
				t.Errorf("%s:%d contains %q", name, 1+bytes.Count(before, []byte("\n")), f)
			}
		}
	}
}

// files returns what is committed or would be by `git add`.
func files(t *testing.T) (names []string) {
	t.Helper()
	for name := range strings.SplitSeq(output(t, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		// A file that was removed is listed until that is committed too.
		if _, err := os.Lstat(name); err == nil {
			names = append(names, name)
		}
	}
	if !slices.Contains(names, "go.mod") {
		t.Fatal("git does not list this repository's files: run the tests in a clone")
	}
	return names
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return string(out)
}
