package deploy_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// compose reads the file as docker compose does: strictly, by its own schema.
func compose(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root + "/deploy")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestCompose(t *testing.T) {
	t.Parallel()
	project := compose(t)
	if names := project.ServiceNames(); !slices.Equal(names, []string{"grafana", "ollama", "postgres", "prometheus", "vega-proxy"}) {
		t.Errorf("the services are %q", names)
	}
	for name, service := range project.Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q", name, port.Published, port.HostIP)
			}
		}
		if service.HealthCheck == nil || len(service.HealthCheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
		}
		if _, tag, _ := strings.Cut(service.Image, ":"); service.Build == nil && (tag == "" || tag == "latest") {
			t.Errorf("%s is %s: which one is that tomorrow?", name, service.Image)
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
			if !volume.ReadOnly {
				t.Errorf("%s may write %s", name, volume.Source)
			}
		}
	}
	for name, secret := range project.Secrets {
		if err := exec.Command("git", "check-ignore", "--quiet", secret.File).Run(); err != nil {
			t.Errorf("the secret %s would be committed: %v", name, err)
		}
	}
}

// TestComposeProxy runs the program with the service's settings.
func TestComposeProxy(t *testing.T) {
	t.Parallel()
	service := compose(t).Services["vega-proxy"]
	if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		t.Error("the container may do more than it needs")
	}
	if !slices.Equal(service.HealthCheck.Test, []string{"CMD", "/vega-proxy", "healthcheck"}) {
		t.Errorf("the health check is %q", service.HealthCheck.Test)
	}
	if grace := time.Duration(*service.StopGracePeriod); grace < 30*time.Second+logFlush {
		t.Errorf("it is killed after %v", grace)
	}
	secrets := t.TempDir()
	for name, text := range map[string]string{"admin-key": "an-admin-key\n", "database-url": "postgres://vega:x@127.0.0.1:1/vega\n"} {
		if !slices.ContainsFunc(service.Secrets, func(s types.ServiceSecretConfig) bool { return s.Source == name }) {
			t.Errorf("it has no secret %s", name)
		}
		write(t, filepath.Join(secrets, name), text)
	}
	settings := []string{"VEGA_DATA_DIR=" + t.TempDir()}
	for name, value := range service.Environment {
		settings = append(settings, name+"="+strings.ReplaceAll(*value, "/run/secrets", secrets))
	}
	config := filepath.Join(t.TempDir(), "none.yaml") // it has no file
	write(t, config, "")
	validate(t, settings, config)
	serve(t, settings, config, "/livez", "/readyz", "/metrics")

	heap := bytesOf(t, *service.Environment["GOMEMLIMIT"])
	if limit := int64(service.MemLimit); heap > limit*9/10 {
		t.Errorf("GOMEMLIMIT is %d of a limit of %d", heap, limit)
	}
}

// TestComposeScrapes: Prometheus asks where the proxy answers, under the name that
// the rules know.
func TestComposeScrapes(t *testing.T) {
	t.Parallel()
	project := compose(t)
	var config struct {
		RuleFiles     []string `json:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string                       `json:"job_name"`
			StaticConfigs []struct{ Targets []string } `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(project.Configs["prometheus"].Content), &config); err != nil {
		t.Fatal(err)
	}
	if c := config.ScrapeConfigs; len(c) != 1 || c[0].JobName != "vega-proxy" || !slices.Equal(c[0].StaticConfigs[0].Targets, []string{"vega-proxy:8082"}) {
		t.Errorf("it scrapes %v", c)
	}
	if listen := *project.Services["vega-proxy"].Environment["VEGA_METRICS_LISTEN"]; !strings.HasSuffix(listen, ":8082") {
		t.Errorf("the proxy has its metrics on %s", listen)
	}
	mounted := func(v types.ServiceVolumeConfig) bool { return v.Target == "/etc/prometheus/"+config.RuleFiles[0] }
	if !slices.ContainsFunc(project.Services["prometheus"].Volumes, mounted) {
		t.Errorf("the rules %q are not mounted", config.RuleFiles)
	}
}
