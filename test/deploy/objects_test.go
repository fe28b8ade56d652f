package deploy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	kubejson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds are all that may occur, as Kubernetes' own types.
var kinds = map[string]func() any{
	"v1/ConfigMap":                        func() any { return new(core.ConfigMap) },
	"v1/Secret":                           func() any { return new(core.Secret) },
	"v1/Service":                          func() any { return new(core.Service) },
	"apps/v1/Deployment":                  func() any { return new(apps.Deployment) },
	"apps/v1/StatefulSet":                 func() any { return new(apps.StatefulSet) },
	"batch/v1/Job":                        func() any { return new(batch.Job) },
	"networking.k8s.io/v1/NetworkPolicy":  func() any { return new(networking.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":       func() any { return new(policy.PodDisruptionBudget) },
	"monitoring.coreos.com/v1/PodMonitor": func() any { return new(monitoring.PodMonitor) },
}

// decode reads all documents as the API server does when it is asked to be
// strict: unknown fields, wrong capitals, wrong types and duplicates are errors.
func decode(text []byte) (objects []any, err error) {
	documents := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		asJSON, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, document)
		}
		if bytes.Equal(asJSON, []byte("null")) { // comments only
			continue
		}
		var kind meta.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return nil, err
		}
		create, known := kinds[kind.APIVersion+"/"+kind.Kind]
		if !known {
			return nil, fmt.Errorf("there is no type for %s %s", kind.APIVersion, kind.Kind)
		}
		object := create()
		problems, err := kubejson.UnmarshalStrict(asJSON, object)
		if err := errors.Join(append(problems, err)...); err != nil {
			return nil, fmt.Errorf("%s: %w in\n%s", kind.Kind, err, document)
		}
		objects = append(objects, object)
	}
}

// TestDecodeIsStrict plants mistakes.
func TestDecodeIsStrict(t *testing.T) {
	const good = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 80}]}\n"
	if objects, err := decode([]byte(good + "---\n# nothing\n---\n" + good)); err != nil || len(objects) != 2 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	for name, bad := range map[string]string{
		"unknown field": good + "more: 1\n",
		"capitals":      "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {Ports: [{port: 80}]}\n",
		"type":          "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: eighty}]}\n",
		"twice":         good + "kind: Service\n",
		"unknown kind":  "apiVersion: v1\nkind: Servise\n",
		"second of two": good + "---\n" + good + "more: 1\n",
	} {
		if _, err := decode([]byte(bad)); err == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// find returns the only object of a type, or fails.
func find[T any](t *testing.T, objects []any) *T {
	t.Helper()
	var found []*T
	for _, o := range objects {
		if o, ok := o.(*T); ok {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of %T, want 1", len(found), new(T))
	}
	return found[0]
}
