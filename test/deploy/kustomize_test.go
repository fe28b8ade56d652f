package deploy_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const kubernetes = root + "/deploy/kubernetes"

// TestManifests holds that each file is what Kubernetes takes, before anything is
// put together.
func TestManifests(t *testing.T) {
	read := 0
	err := filepath.WalkDir(kubernetes, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".yaml" || d.Name() == "kustomization.yaml" || d.Name() == "vega-proxy.yaml" {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		read++
		if _, err := decode(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return nil
	})
	if err != nil || read < 8 {
		t.Errorf("%d manifests, %v", read, err)
	}
}

// kustomize renders an example, with keys as its user would make them.
func kustomize(t *testing.T, example string, keys map[string]string) []any {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(kubernetes)); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "examples", example)
	for name, key := range keys {
		write(t, filepath.Join(at, "keys", name), key+"\n")
	}
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), at)
	if err != nil {
		t.Fatal(err)
	}
	text, err := rendered.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// podOf puts a rendered template beside what it mounts.
func podOf(t *testing.T, objects []any, template core.PodTemplateSpec) pod {
	t.Helper()
	keys := map[string]string{}
	secret := find[core.Secret](t, objects)
	for name, key := range secret.Data {
		keys[name] = string(key)
	}
	maps.Copy(keys, secret.StringData)
	if !slices.ContainsFunc(template.Spec.Volumes, func(v core.Volume) bool { return v.Secret != nil && v.Secret.SecretName == secret.Name }) {
		t.Errorf("the pod does not mount the Secret %q", secret.Name)
	}
	return pod{template, find[core.ConfigMap](t, objects), keys}
}

func TestNativeSidecar(t *testing.T) {
	t.Parallel()
	objects := kustomize(t, "app", map[string]string{"admin-key": "an-admin-key", "database-url": "postgres://vega:x@127.0.0.1:1/vega"})
	p := podOf(t, objects, find[apps.Deployment](t, objects).Spec.Template)
	if _, native := p.proxy(t); !native {
		t.Error("it is no native sidecar")
	}
	p.check(t, time.Minute)
	p.hasRoom(t)
	if p.Labels["vega-proxy/sidecar"] != "true" || p.Labels["app"] != "assistant" {
		t.Errorf("the pod's labels are %v", p.Labels)
	}
	selected := find[monitoring.PodMonitor](t, objects)
	if s := selected.Spec; len(s.PodMetricsEndpoints) != 1 || *s.PodMetricsEndpoints[0].Port != "vega-metrics" || s.Selector.MatchExpressions[0].Key != "vega-proxy/sidecar" {
		t.Errorf("Prometheus would not find the pod: %v", s)
	}
	opens(t, find[networking.NetworkPolicy](t, objects), 8000, 8082)
}

func TestSidecarOfAJob(t *testing.T) {
	t.Parallel()
	objects := kustomize(t, "job", map[string]string{"admin-key": "an-admin-key"})
	job := find[batch.Job](t, objects)
	p := podOf(t, objects, job.Spec.Template)
	// Any other kind of container would keep the Job from its end.
	if _, native := p.proxy(t); !native || len(p.Spec.Containers) != 1 {
		t.Errorf("native: %v; %d containers", native, len(p.Spec.Containers))
	}
	p.check(t, time.Minute)
	p.hasRoom(t)
}

func TestSecondContainer(t *testing.T) {
	t.Parallel()
	objects := kustomize(t, "second-container", map[string]string{"admin-key": "an-admin-key"})
	p := podOf(t, objects, find[apps.Deployment](t, objects).Spec.Template)
	if _, native := p.proxy(t); native || len(p.Spec.InitContainers) != 0 || len(p.Spec.Containers) != 2 {
		t.Errorf("native: %v; %d and %d containers", native, len(p.Spec.InitContainers), len(p.Spec.Containers))
	}
	p.check(t, 0)
	p.hasRoom(t)
	for _, e := range p.Spec.Containers[slices.IndexFunc(p.Spec.Containers, func(c core.Container) bool { return c.Name == "vega-proxy" })].Env {
		if e.Name == "VEGA_SHUTDOWN_DRAIN_DELAY" && duration(t, e.Value) < 30*time.Second {
			t.Errorf("the application's end begins with the proxy's; drain_delay is %s", e.Value)
		}
	}
}

func TestGateway(t *testing.T) {
	t.Parallel()
	objects := kustomize(t, "gateway", map[string]string{"admin-key": "an-admin-key", "client-key": "a-client-key"})
	set := find[apps.StatefulSet](t, objects)
	p := podOf(t, objects, set.Spec.Template)
	p.check(t, 0)
	service := find[core.Service](t, objects)
	if service.Name != set.Spec.ServiceName || !within(service.Spec.Selector, p.Labels) {
		t.Errorf("the service %s selects %v, the set %s makes %v", service.Name, service.Spec.Selector, set.Spec.ServiceName, p.Labels)
	}
	opens(t, find[networking.NetworkPolicy](t, objects), 8080, 8082)
	room(t, p, set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().Value())
}

// TestSidecarWhereItIsWanted: an annotation keeps it out.
func TestSidecarWhereItIsWanted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(kubernetes)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "examples/app/deployment.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name, strings.Replace(string(text), "metadata:\n", "metadata:\n  annotations: {vega-proxy/sidecar: \"false\"}\n", 1))
	for _, key := range []string{"admin-key", "database-url"} {
		write(t, filepath.Join(dir, "examples/app/keys", key), "x")
	}
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(dir, "examples/app"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := rendered.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(out)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(find[apps.Deployment](t, objects).Spec.Template.Spec.InitContainers); n != 0 {
		t.Errorf("%d sidecars where none is wanted", n)
	}
}

// hasRoom holds that spool and database fit into the pod's emptyDir.
func (p pod) hasRoom(t *testing.T) {
	t.Helper()
	for _, v := range p.Spec.Volumes {
		if v.EmptyDir != nil {
			room(t, p, v.EmptyDir.SizeLimit.Value())
			return
		}
	}
	t.Error("the pod has no emptyDir")
}

func room(t *testing.T, p pod, size int64) {
	t.Helper()
	c, _ := p.proxy(t)
	var needed int64
	for _, e := range c.Env {
		if e.Name == "VEGA_BATCHLOG_SPOOL_MAX_BYTES" || e.Name == "VEGA_BATCHLOG_RETENTION_MAX_BYTES" {
			needed += bytesOf(t, e.Value)
		}
	}
	if needed == 0 || needed > size*9/10 {
		t.Errorf("spool and database may take %d of %d", needed, size)
	}
}

// opens holds that a policy lets these ports in, and no other.
func opens(t *testing.T, policy *networking.NetworkPolicy, ports ...int) {
	t.Helper()
	var open []int
	for _, rule := range policy.Spec.Ingress {
		for _, port := range rule.Ports {
			open = append(open, port.Port.IntValue())
		}
	}
	if slices.Sort(open); !slices.Equal(open, ports) {
		t.Errorf("the policy opens %v, want %v", open, ports)
	}
}

func within(some, all map[string]string) bool {
	for name, value := range some {
		if all[name] != value {
			return false
		}
	}
	return true
}
