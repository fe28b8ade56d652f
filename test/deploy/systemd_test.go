package deploy_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const systemd = root + "/deploy/systemd"

// unit returns the unit with this test's program in place of the installed one,
// at a place of its own.
func unit(t *testing.T) (file, text string) {
	t.Helper()
	text = string(read(t, systemd+"/vega-proxy.service"))
	file = filepath.Join(t.TempDir(), "vega-proxy.service")
	write(t, file, strings.ReplaceAll(text, "/usr/bin/vega-proxy", binary))
	return file, text
}

// TestUnit asks systemd what it thinks of the unit. It has nothing to say.
func TestUnit(t *testing.T) {
	t.Parallel()
	file, _ := unit(t)
	if out, err := exec.Command("systemd-analyze", "verify", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// In tenths: 2.0 of 10, of which listening on a network is half.
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", file).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// TestUnitStopsInTime: systemd must not kill what drains by the defaults.
func TestUnitStopsInTime(t *testing.T) {
	t.Parallel()
	_, text := unit(t)
	var defaults struct {
		Shutdown struct {
			DrainDelay   string `json:"drain_delay"`
			DrainTimeout string `json:"drain_timeout"`
		}
	}
	if err := yaml.Unmarshal(read(t, root+"/config/vega-proxy.yaml"), &defaults); err != nil {
		t.Fatal(err)
	}
	stop := setting(t, text, "TimeoutStopSec")
	needed := duration(t, defaults.Shutdown.DrainDelay) + duration(t, defaults.Shutdown.DrainTimeout) + logFlush
	if duration(t, stop) < needed+10*time.Second {
		t.Errorf("TimeoutStopSec=%s, a drain takes up to %v", stop, needed)
	}
	if n, err := strconv.Atoi(setting(t, text, "LimitNOFILE")); err != nil || n < 65536 {
		t.Errorf("LimitNOFILE is %d, %v", n, err)
	}
	if code := setting(t, text, "RestartPreventExitStatus"); code != "78" {
		t.Errorf("a wrong configuration ends with 78; it would be started again unless the code is %s", code)
	}
}

// TestUnitConfiguration runs what the packages bring.
func TestUnitConfiguration(t *testing.T) {
	t.Parallel()
	_, text := unit(t)
	want := "/usr/bin/vega-proxy serve --config /etc/vega-proxy/vega-proxy.yaml --data-dir /var/lib/vega-proxy"
	if got := setting(t, text, "ExecStart"); got != want {
		t.Errorf("ExecStart=%s", got)
	}
	if dir := setting(t, text, "StateDirectory"); dir != "vega-proxy" {
		t.Errorf("StateDirectory=%s", dir)
	}
	settings := []string{"VEGA_DATA_DIR=" + t.TempDir()}
	config, err := filepath.Abs(systemd + "/vega-proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	validate(t, settings, config)
	serve(t, settings, config, "/livez", "/readyz", "/metrics")
	for line := range strings.Lines(string(read(t, systemd+"/environment"))) {
		if !strings.HasPrefix(line, "#") {
			t.Errorf("environment sets something: %s", line)
		}
	}
	scripts, err := filepath.Glob(systemd + "/package/*.sh")
	if err != nil || len(scripts) != 3 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

func setting(t *testing.T, unit, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(unit, -1)
	if len(found) != 1 {
		t.Fatalf("%s is set %d times", name, len(found))
	}
	return found[0][1]
}
