package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

const dashboardFile = "deploy/grafana/vega-proxy.json"

// board is what these tests read of the Grafana dashboard.
type board struct {
	UID, Title    string
	SchemaVersion int `json:"schemaVersion"`
	Panels        []struct {
		ID      int
		Type    string
		Title   string
		Grid    struct{ X, Y, W, H int } `json:"gridPos"`
		Targets []struct {
			RefID      string `json:"refId"`
			Expr       string
			Datasource struct{ Type, UID string }
		}
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Annotations struct {
		List []struct{ Expr string }
	}
}

func readBoard(t *testing.T) (b board) {
	t.Helper()
	if err := json.Unmarshal([]byte(readDoc(t, dashboardFile)), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// expressions returns what the dashboard asks Prometheus for, with its variables
// as Grafana fills them in for "all".
func (b board) expressions() (all []string) {
	fill := strings.NewReplacer("$instance", ".*", "$upstream", ".*", "$model", ".*", "$__rate_interval", "4s", "$__range", "10s")
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			all = append(all, fill.Replace(target.Expr))
		}
	}
	for _, a := range b.Annotations.List {
		if a.Expr != "" {
			all = append(all, fill.Replace(a.Expr))
		}
	}
	for _, v := range b.Templating.List {
		if m := regexp.MustCompile(`^label_values\((.+), \w+\)$`).FindStringSubmatch(v.Definition); m != nil {
			all = append(all, fill.Replace(m[1]))
		}
	}
	return all
}

// TestGrafanaDashboard holds what Grafana itself does not complain about.
func TestGrafanaDashboard(t *testing.T) {
	b := readBoard(t)
	if b.UID != "vega-proxy" || b.Title == "" || b.SchemaVersion < 41 {
		t.Errorf("the dashboard is %q, %q, of schema %d", b.UID, b.Title, b.SchemaVersion)
	}
	variables := map[string]string{}
	for _, v := range b.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["instance"] != "query" || variables["upstream"] != "query" {
		t.Errorf("the variables are %v", variables)
	}
	ids, taken, titles := map[int]bool{}, map[[2]int]string{}, map[string]string{}
	for _, p := range b.Panels {
		if ids[p.ID] {
			t.Errorf("%s has the id of another panel, %d", p.Title, p.ID)
		}
		ids[p.ID], titles[p.Title] = true, p.Type
		if p.Grid.W < 1 || p.Grid.H < 1 || p.Grid.X < 0 || p.Grid.X+p.Grid.W > 24 {
			t.Errorf("%s stands at %+v", p.Title, p.Grid)
		}
		for x := range p.Grid.W {
			for y := range p.Grid.H {
				at := [2]int{p.Grid.X + x, p.Grid.Y + y}
				if other := taken[at]; other != "" {
					t.Fatalf("%s and %s overlap", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.Datasource.UID != "${datasource}" || !strings.Contains(target.Expr, `instance=~"$instance"`) {
				t.Errorf("%s: the query %s has its own datasource, name or instances: %s", p.Title, target.RefID, target.Expr)
			}
			refs[target.RefID] = true
		}
	}
	for title, kind := range map[string]string{
		"Circuit breaker states": "timeseries", "Cache hit rate": "stat", "Event loop health": "stat",
		"Memory usage": "timeseries", "Batch throughput": "timeseries",
	} {
		if titles[title] != kind {
			t.Errorf("%s is a panel of type %q, want %q", title, titles[title], kind)
		}
	}
}

var (
	selector  = regexp.MustCompile(`\b([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?`)
	notSeries = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\boffset\s+\w+`)
)

// selectors returns the series that an expression asks for, as it selects them.
func selectors(expr string) (all []string) {
	// Braces are kept with what is quoted in them; what else is no series goes.
	var matchers []string
	bare := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllStringFunc(expr, func(m string) string {
		matchers = append(matchers, m)
		return "{}"
	})
	bare = notSeries.ReplaceAllString(bare, " ")
	for _, at := range selector.FindAllStringSubmatchIndex(bare, -1) {
		name := bare[at[2]:at[3]]
		if at[4] >= 0 {
			all = append(all, name+matchers[0])
			matchers = matchers[1:]
			continue
		}
		if strings.HasPrefix(strings.TrimLeft(bare[at[1]:], " \n"), "(") || name == "and" || name == "or" || name == "unless" {
			continue // a function or an operator
		}
		all = append(all, name)
	}
	return all
}

func TestSelectors(t *testing.T) {
	for expr, want := range map[string]string{
		`up{job="a"} == 0`: `up{job="a"}`,
		`sum by (x, y) (rate(a_total{b=~"c|d"}[5m])) / (sum without (z) (e) > 0)`:                                 `a_total{b=~"c|d"} e`,
		`label_replace(max_over_time(s[2m]) == 2 and s > 0, "u", "$1", "i", "(.+)") and ignoring (i) r{o="{"}`:    `s s r{o="{"}`,
		"histogram_quantile(0.95, sum by (le) (rate(h_bucket[10m])))\n  or vector(0) unless a:b:rate5m offset 2h": `h_bucket a:b:rate5m`,
	} {
		if got := strings.Join(selectors(expr), " "); got != want {
			t.Errorf("%s selects %s, want %s", expr, got, want)
		}
	}
}
