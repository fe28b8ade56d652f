package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// pod is a pod's template with the proxy in it, and what it mounts.
type pod struct {
	core.PodTemplateSpec
	config *core.ConfigMap
	keys   map[string]string // of the Secret
}

// proxy returns the proxy's container, and whether it is a native sidecar.
func (p pod) proxy(t *testing.T) (c core.Container, native bool) {
	t.Helper()
	for i, list := range [][]core.Container{p.Spec.InitContainers, p.Spec.Containers} {
		if at := slices.IndexFunc(list, func(c core.Container) bool { return c.Name == "vega-proxy" }); at >= 0 {
			return list[at], i == 0
		}
	}
	t.Fatal("the pod has no vega-proxy")
	return c, false
}

// logFlush is how long a process that ends writes its log for, at most.
const logFlush = 5 * time.Second

// check holds what must fit together in a pod with the proxy. own is how long of
// the grace period is the application's.
func (p pod) check(t *testing.T, own time.Duration) {
	t.Helper()
	c, native := p.proxy(t)
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	if always := c.RestartPolicy != nil && *c.RestartPolicy == core.ContainerRestartPolicyAlways; always != native {
		t.Errorf("native sidecar: %v, restartPolicy: Always: %v", native, always)
	}
	if c.Lifecycle != nil {
		t.Error("a hook runs when the application's end begins: it must not be there")
	}
	p.secure(t)

	delay, timeout := duration(t, env["VEGA_SHUTDOWN_DRAIN_DELAY"]), duration(t, env["VEGA_SHUTDOWN_DRAIN_TIMEOUT"])
	grace := time.Duration(*p.Spec.TerminationGracePeriodSeconds) * time.Second
	if grace < own+delay+timeout+logFlush+5*time.Second {
		t.Errorf("a grace period of %v for %v of the application, a delay of %v and a timeout of %v", grace, own, delay, timeout)
	}

	memory, heap := c.Resources.Limits.Memory().Value(), bytesOf(t, env["GOMEMLIMIT"])
	if heap > memory*9/10 || heap < memory/2 {
		t.Errorf("GOMEMLIMIT is %d of a limit of %d", heap, memory)
	}
	if held := bytesOf(t, env["VEGA_STREAM_TOTAL_BUFFER_BYTES"]) + bytesOf(t, env["VEGA_CACHE_MAX_BYTES"]); held > heap*3/4 {
		t.Errorf("buffers and cache may hold %d of %d", held, heap)
	}

	if at := slices.IndexFunc(c.Ports, func(port core.ContainerPort) bool { return port.Name == "vega-metrics" }); at < 0 {
		t.Error("there is no port vega-metrics")
	} else if want := env["VEGA_METRICS_LISTEN"]; want != ":8082" || c.Ports[at].ContainerPort != 8082 {
		t.Errorf("the port vega-metrics is %d, metrics.listen is %q", c.Ports[at].ContainerPort, want)
	}
	var paths []string
	for name, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.StrVal != "vega-metrics" {
			t.Errorf("the %s probe is %v", name, probe)
			continue
		}
		paths = append(paths, probe.HTTPGet.Path)
	}
	p.run(t, c, append(paths, "/metrics"))
}

// secure asks Kubernetes' own admission whether the pod is restricted, and for
// more than it does.
func (p pod) secure(t *testing.T) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &p.ObjectMeta, &p.Spec) {
		if !result.Allowed {
			t.Errorf("not restricted: %s: %s", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	c, _ := p.proxy(t)
	if s := c.SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.RunAsUser == nil || *s.RunAsUser != 65532 {
		t.Errorf("the container's root may be written, or its user is not 65532: %v", s)
	}
}

// run gives the program what the container would find, and asks for the probes.
func (p pod) run(t *testing.T, c core.Container, paths []string) {
	t.Helper()
	at := map[string]string{} // of each mount
	for _, m := range c.VolumeMounts {
		dir := t.TempDir()
		at[m.MountPath] = dir
		volume := slices.IndexFunc(p.Spec.Volumes, func(v core.Volume) bool { return v.Name == m.Name })
		if volume < 0 {
			continue // a claim's
		}
		switch v := p.Spec.Volumes[volume]; {
		case v.ConfigMap != nil:
			if v.ConfigMap.Name != p.config.Name {
				t.Errorf("the pod mounts %q, the ConfigMap is %q", v.ConfigMap.Name, p.config.Name)
			}
			for name, text := range p.config.Data {
				write(t, filepath.Join(dir, name), text)
			}
		case v.Secret != nil:
			for name, text := range p.keys {
				write(t, filepath.Join(dir, name), text)
			}
		}
	}
	here := func(s string) string {
		for path, dir := range at {
			s = strings.ReplaceAll(s, path+"/", dir+"/")
		}
		return s
	}
	config := filepath.Join(at["/etc/vega-proxy/config"], "vega-proxy.yaml")
	if want := []string{"serve", "--config", config}; len(c.Args) != 3 || !slices.Equal([]string{c.Args[0], c.Args[1], here(c.Args[2])}, want) {
		t.Fatalf("the arguments are %q", c.Args)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, here(string(text)))
	var settings []string
	for _, e := range c.Env {
		settings = append(settings, e.Name+"="+here(e.Value))
	}
	validate(t, settings, config)
	serve(t, settings, config, paths...)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Error(err)
	}
	return d
}

// bytesOf reads a size as the proxy and Go write it (64MiB).
func bytesOf(t *testing.T, s string) int64 {
	t.Helper()
	q, err := resource.ParseQuantity(strings.TrimSuffix(s, "B"))
	if err != nil {
		t.Errorf("%q: %v", s, err)
	}
	return q.Value()
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
