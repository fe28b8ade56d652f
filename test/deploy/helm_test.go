package deploy_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

func loadChart(t *testing.T, dir string) *chart.Chart {
	t.Helper()
	c, err := loader.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render does what `helm template` does.
func render(c *chart.Chart, values string) (objects []any, err error) {
	own := map[string]any{}
	if err := yaml.Unmarshal([]byte(values), &own); err != nil {
		return nil, err
	}
	release := chartutil.ReleaseOptions{Name: "llm", Namespace: "llm", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, own, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	for name, text := range files {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		more, err := decode([]byte(text))
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	return objects, nil
}

func mustRender(t *testing.T, c *chart.Chart, values string) []any {
	t.Helper()
	objects, err := render(c, values)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestHelmStandalone(t *testing.T) {
	t.Parallel()
	c := loadChart(t, root+"/deploy/helm/vega-proxy")
	for name, values := range map[string]string{
		"least": "keys: {adminKey: a, clientKey: b}",
		"most": `
keys: {adminKey: a, clientKey: b, databaseUrl: "postgres://vega:x@127.0.0.1:1/vega"}
postgres: true
podMonitor: {enabled: true, labels: {release: prometheus}}
drain: {delaySeconds: 30, timeoutSeconds: 600}
image: {repository: registry.example.com/vega-proxy, tag: 1.2.3}
imagePullSecrets: [{name: registry}]
config: {upstreams: [{url: "http://vllm:8000"}], cache: {policy: "off"}}
volume: {storageClassName: fast, size: 20Gi}
podAnnotations: {a: b}
nodeSelector: {c: d}
tolerations: [{key: gpu, operator: Exists}]
affinity: {nodeAffinity: {}}
`,
	} {
		t.Run(name, func(t *testing.T) {
			objects := mustRender(t, c, values)
			set := find[apps.StatefulSet](t, objects)
			p := podOf(t, objects, set.Spec.Template)
			p.check(t, 0)
			if service := find[core.Service](t, objects); service.Name != set.Spec.ServiceName || !within(service.Spec.Selector, p.Labels) {
				t.Errorf("the service %s selects %v", service.Name, service.Spec.Selector)
			}
			opens(t, find[networking.NetworkPolicy](t, objects), 8080, 8082)
			room(t, p, set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().Value())
			if name == "most" {
				if m := find[monitoring.PodMonitor](t, objects); !within(m.Spec.Selector.MatchLabels, p.Labels) {
					t.Errorf("Prometheus looks for %v", m.Spec.Selector.MatchLabels)
				}
			}
		})
	}
	objects := mustRender(t, c, "keys: {existingSecret: mine}\nnetworkPolicy: {enabled: false}")
	for _, o := range objects {
		switch o := o.(type) {
		case *core.Secret, *networking.NetworkPolicy:
			t.Errorf("there is a %T that was not asked for", o)
		case *apps.StatefulSet:
			if !slices.ContainsFunc(o.Spec.Template.Spec.Volumes, func(v core.Volume) bool { return v.Secret != nil && v.Secret.SecretName == "mine" }) {
				t.Error("the pod does not mount the Secret that was named")
			}
		}
	}
}

// TestHelmSidecar renders an application's chart with this one as a dependency.
func TestHelmSidecar(t *testing.T) {
	t.Parallel()
	app := loadChart(t, "testdata/app")
	app.AddDependency(loadChart(t, root+"/deploy/helm/vega-proxy"))
	objects := mustRender(t, app, "vega-proxy: {podMonitor: {enabled: true}}")
	p := podOf(t, objects, find[apps.Deployment](t, objects).Spec.Template)
	if _, native := p.proxy(t); !native {
		t.Error("it is no native sidecar")
	}
	p.check(t, 90*time.Second)
	p.hasRoom(t)
	if m := find[monitoring.PodMonitor](t, objects); !within(m.Spec.Selector.MatchLabels, p.Labels) {
		t.Errorf("Prometheus looks for %v", m.Spec.Selector.MatchLabels)
	}
	for _, o := range objects {
		if _, ok := o.(*apps.StatefulSet); ok {
			t.Error("a sidecar's chart makes pods of its own")
		}
	}
	if _, err := render(app, "vega-proxy: {mode: standalone, keys: {clientKey: x}}"); err == nil || !strings.Contains(err.Error(), "mode: sidecar") {
		t.Errorf("a sidecar in the wrong mode: %v", err)
	}
}

func TestHelmRefuses(t *testing.T) {
	t.Parallel()
	c := loadChart(t, root+"/deploy/helm/vega-proxy")
	for values, want := range map[string]string{
		"":                    "keys.adminKey",
		"keys: {adminKey: a}": "keys.clientKey",
		"keys: {adminKey: a, clientKey: b}\npostgres: true": "keys.databaseUrl",
		"mode: daemon":                         "mode",
		"replica: 3":                           "replica",
		"config: {upstreams: []}":              "upstreams",
		"config: {upstreams: [{url: ollama}]}": "url",
		"config: {cahce: {}}":                  "cahce",
		"goMemLimit: 640":                      "goMemLimit",
		"drain: {delaySeconds: 10s}":           "delaySeconds",
		"volume: {size: big}":                  "size",
	} {
		if _, err := render(c, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want a word about %s, got %v", values, want, err)
		}
	}
}

// TestHelmKnowsTheSettings: a section that the chart does not know could not be set.
func TestHelmKnowsTheSettings(t *testing.T) {
	t.Parallel()
	c := loadChart(t, root+"/deploy/helm/vega-proxy")
	var schema struct {
		Properties struct {
			Config struct {
				PropertyNames struct{ Enum []string }
			}
		}
	}
	if err := yaml.Unmarshal(c.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := yaml.Unmarshal(read(t, root+"/config/vega-proxy.yaml"), &all); err != nil {
		t.Fatal(err)
	}
	known := schema.Properties.Config.PropertyNames.Enum
	for name := range all {
		if !slices.Contains(known, name) {
			t.Errorf("values.schema.json does not know %s", name)
		}
	}
	if len(known) != len(all) {
		t.Errorf("values.schema.json knows %d sections, there are %d", len(known), len(all))
	}
}
