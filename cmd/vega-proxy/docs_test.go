package main

import (
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readDoc returns a page of the documentation by its path in the repository.
func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks returns a page's code blocks of one language.
func blocks(page, language string) (found []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		found = append(found, m[1])
	}
	return found
}

// TestReadmeConfiguration: the README's file is one that the program takes.
func TestReadmeConfiguration(t *testing.T) {
	t.Parallel()
	for _, block := range blocks(readDoc(t, "README.md"), "yaml") {
		if out, stderr, code := execute(t, nil, "validate", "--config", writeFile(t, "c.yaml", block)); code != 0 {
			t.Errorf("%s\n%s%s", block, out, stderr)
		}
	}
}

// families returns the metrics of an exposition with their label names.
func families(exposition string) map[string][]string {
	found := map[string][]string{}
	label := regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
	family := ""
	for line := range strings.Lines(exposition) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			family, _, _ = strings.Cut(rest, " ")
			found[family] = nil
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		var names []string
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			if m[1] != "le" {
				names = append(names, m[1])
			}
		}
		slices.Sort(names)
		found[family] = names
	}
	return found
}

// TestMetricsPage holds that docs/metrics.md lists what /metrics shows, once
// everything has happened that can.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	backend, release := holding(t)
	p := serve(t, `
breaker: {fail_threshold: 1}
telemetry: {otlp_endpoint: "http://127.0.0.1:1"}
cache: {l2: {url: "redis://127.0.0.1:1"}}
upstreams:
  - {name: dead, url: "http://127.0.0.1:1"}
  - {name: live, url: "`+backend+`", max_in_flight: 1}
`)
	c := newClient(t)
	metrics := func() string { return do(t, c, http.MethodGet, p.admin+"/metrics", "").body }
	_, stream := openStream(t, c, p.proxy)
	queued := make(chan reply, 1)
	go func() {
		r, err := try(t.Context(), c, http.MethodPost, p.proxy+chatPath, chat)
		if err != nil {
			t.Error(err)
		}
		queued <- r
	}()
	until(t, "a request waits", func() bool { return strings.Contains(metrics(), `vega_upstream_queue_waiting{upstream="live"} 1`) })
	release()
	if _, err := readAll(stream); err != nil {
		t.Error(err)
	}
	(<-queued).want(t, http.StatusOK, "")
	// An exchange is counted just after its answer has ended.
	until(t, "both are counted", func() bool {
		now := metrics()
		return strings.Contains(now, "vega_requests_in_flight 0") && strings.Contains(now, "vega_queue_duration_seconds_count")
	})

	exposition := metrics()
	lint(t, exposition)
	shown := families(exposition)
	maps.DeleteFunc(shown, func(name string, _ []string) bool {
		return strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
	})
	documented := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)(?:\\{([a-z_,]+)\\})?` \\| (counter|gauge|histogram) \\|").FindAllStringSubmatch(readDoc(t, "docs/metrics.md"), -1) {
		var names []string
		if m[2] != "" {
			names = strings.Split(m[2], ",")
		}
		slices.Sort(names)
		documented[m[1]] = names
	}
	for name, labels := range shown {
		if got, ok := documented[name]; !ok || !slices.Equal(got, labels) {
			t.Errorf("/metrics has %s with labels %q, docs/metrics.md (%v) with %q", name, labels, ok, got)
		}
	}
	for name := range documented {
		if _, ok := shown[name]; !ok {
			t.Errorf("docs/metrics.md has %s, /metrics has not", name)
		}
	}

	// The page on errors has each code that can be counted, and no other.
	var codes, explained []string
	for _, m := range regexp.MustCompile(`vega_errors_total\{code="([a-z_]+)"\}`).FindAllStringSubmatch(exposition, -1) {
		codes = append(codes, m[1])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [0-9]{3} \\|").FindAllStringSubmatch(readDoc(t, "docs/proxy.md"), -1) {
		explained = append(explained, m[1])
	}
	slices.Sort(codes)
	slices.Sort(explained)
	if !slices.Equal(codes, explained) {
		t.Errorf("the proxy counts the codes\n%q, docs/proxy.md explains\n%q", codes, explained)
	}
}

// TestDependenciesPage holds that each module which some package imports has its
// reason.
func TestDependenciesPage(t *testing.T) {
	page := readDoc(t, "docs/dependencies.md")
	const format = `{{range .Imports}}{{.}}{{"\n"}}{{end}}{{range .TestImports}}{{.}}{{"\n"}}{{end}}{{range .XTestImports}}{{.}}{{"\n"}}{{end}}`
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-f", format, "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(page, -1)
	for line := range strings.Lines(string(out)) {
		imported := strings.TrimSpace(line)
		if !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") || strings.HasPrefix(imported, "github.com/vega-proxy/") {
			continue
		}
		if !slices.ContainsFunc(modules, func(m []string) bool {
			return imported == m[1] || strings.HasPrefix(imported, m[1]+"/")
		}) {
			t.Errorf("docs/dependencies.md does not say why there is %s", imported)
		}
	}
	gomod := readDoc(t, "go.mod")
	for _, m := range modules {
		if !strings.Contains(gomod, "\t"+m[1]+" ") {
			t.Errorf("docs/dependencies.md has %s, go.mod has not", m[1])
		}
	}
}

// TestLinks holds that the pages' links to files of the repository, and to
// headings in them, lead somewhere.
func TestLinks(t *testing.T) {
	pages := []string{"README.md", "CHANGELOG.md"}
	err := filepath.WalkDir("../../docs", func(name string, d fs.DirEntry, err error) error {
		if err == nil && path.Ext(name) == ".md" {
			pages = append(pages, strings.TrimPrefix(filepath.ToSlash(name), "../../"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(readDoc(t, page), -1) {
			u, err := url.Parse(m[1])
			if err != nil || u.IsAbs() {
				continue
			}
			target := page
			if u.Path != "" {
				target = path.Join(path.Dir(page), u.Path)
			}
			if _, err := os.Stat(filepath.Join("../..", target)); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			if u.Fragment != "" && !slices.Contains(anchors(readDoc(t, target)), u.Fragment) {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
}

// anchors returns the names by which a page's headings are linked to.
func anchors(page string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}
