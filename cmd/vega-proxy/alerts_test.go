package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rulesFile     = "deploy/prometheus/rules.yaml"
	ruleTestsFile = "deploy/prometheus/rules_test.yaml"
	runbookURL    = "https://github.com/vega-proxy/vega-proxy/blob/main/docs/runbook.md#"
)

// rule is an entry of the rules' file, an alert or a recording.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func readRules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(readDoc(t, rulesFile)), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Fatal("this test needs Prometheus: scripts/test-deps.sh prometheus installs it")
	}
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestAlerts runs the alerts' own tests, and holds that each has one in which it
// fires and one in which it does not.
func TestAlerts(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"check", "config", "../../deploy/prometheus/prometheus.yaml"},
		{"test", "rules", "../../" + ruleTestsFile},
	} {
		if out, err := promtool(t, "", args...); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
	var tests struct {
		Tests []struct {
			Name  string
			Cases []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(readDoc(t, ruleTestsFile)), &tests); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, one := range tests.Tests {
		for _, c := range one.Cases {
			said := c.Name + " fires: "
			if len(c.Expected) == 0 {
				said = c.Name + " is silent: "
				silent[c.Name] = true
			} else {
				fires[c.Name] = true
			}
			if !strings.HasPrefix(one.Name, said) {
				t.Errorf("the test %q is one of %q", one.Name, said)
			}
		}
	}
	for _, r := range readRules(t) {
		if r.Alert != "" && (!fires[r.Alert] || !silent[r.Alert]) {
			t.Errorf("%s is tested firing (%v) and silent (%v)", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}

// TestAlertsPage holds that each alert says what a person needs, and that it and
// each error code has its entry in the runbook, which has no other.
func TestAlertsPage(t *testing.T) {
	runbook := readDoc(t, "docs/runbook.md")
	entries := func(section string) (names []string) {
		for _, part := range strings.Split(runbook, "\n## ")[1:] {
			if !strings.HasPrefix(part, section) {
				continue
			}
			for _, m := range regexp.MustCompile("(?m)^### (.+)$").FindAllStringSubmatch(part, -1) {
				names = append(names, m[1])
			}
		}
		slices.Sort(names)
		return names
	}
	var alerts []string
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		alerts = append(alerts, r.Alert)
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s has the severity %q", r.Alert, r.Labels["severity"])
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a summary or a description", r.Alert)
		}
		if want := runbookURL + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s leads to %s, want %s", r.Alert, r.Annotations["runbook_url"], want)
		}
	}
	slices.Sort(alerts)
	if got := entries("Alerts: "); !slices.Equal(got, alerts) {
		t.Errorf("the runbook has entries for the alerts\n%q, there are\n%q", got, alerts)
	}
	var codes []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [0-9]{3} \\|").FindAllStringSubmatch(readDoc(t, "docs/proxy.md"), -1) {
		codes = append(codes, m[1]) // held against the program by TestMetricsPage
	}
	slices.Sort(codes)
	if got := entries("Error codes"); !slices.Equal(got, codes) {
		t.Errorf("the runbook has entries for the codes\n%q, there are\n%q", got, codes)
	}
}
