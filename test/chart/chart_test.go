// Package chart tests the Helm chart without a cluster and without the helm
// program: helm's own Go packages load the chart, validate the values and render
// the templates. test/e2e checks that the chart installs on a real cluster.
//
// It is a separate module, so that helm is not a dependency of the driver.
package chart

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"sigs.k8s.io/yaml"
)

const (
	dir       = "../../deployments/helm/dra-netdev"
	namespace = "netdev-system"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// render returns what each template renders with the values, which are YAML, or
// helm's error.
func render(t *testing.T, values string) (map[string]string, error) {
	t.Helper()
	chart, err := loader.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	given, err := loader.LoadValues(strings.NewReader(values))
	if err != nil {
		t.Fatalf("values %s: %v", values, err)
	}
	all, err := util.ToRenderValues(chart, given, common.ReleaseOptions{Name: "dra-netdev", Namespace: namespace, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, text := range files {
		if text = strings.TrimSpace(text); text != "" && filepath.Ext(name) == ".yaml" { // without the notes
			out[filepath.Base(name)] = text + "\n"
		}
	}
	return out, nil
}

func mustRender(t *testing.T, values string) map[string]string {
	t.Helper()
	out, err := render(t, values)
	if err != nil {
		t.Fatalf("values %s: %v", values, err)
	}
	return out
}

// daemonSet returns the DaemonSet rendered with the values.
func daemonSet(t *testing.T, values string) appsv1.DaemonSet {
	t.Helper()
	var ds appsv1.DaemonSet
	if err := yaml.UnmarshalStrict([]byte(mustRender(t, values)["daemonset.yaml"]), &ds); err != nil {
		t.Fatal(err)
	}
	return ds
}

// TestGolden compares the objects rendered with the default values with golden
// files.
func TestGolden(t *testing.T) {
	got := mustRender(t, "")
	delete(got, "configpolicy.yaml") // itself made from a table, with a test there
	want := map[string]string{}
	for name, text := range got {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want[filepath.Base(path)] = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the objects of the default values have changed (-want +got), rewrite testdata with -update if that is right:\n%s", diff)
	}
}

// types are the Go types of the objects in the chart.
var types = map[string]func() any{
	"ClusterRole":                      func() any { return &rbacv1.ClusterRole{} },
	"ClusterRoleBinding":               func() any { return &rbacv1.ClusterRoleBinding{} },
	"ConfigMap":                        func() any { return &corev1.ConfigMap{} },
	"DaemonSet":                        func() any { return &appsv1.DaemonSet{} },
	"DeviceClass":                      func() any { return &resourcev1.DeviceClass{} },
	"ServiceAccount":                   func() any { return &corev1.ServiceAccount{} },
	"ValidatingAdmissionPolicy":        func() any { return &admissionv1.ValidatingAdmissionPolicy{} },
	"ValidatingAdmissionPolicyBinding": func() any { return &admissionv1.ValidatingAdmissionPolicyBinding{} },
}

// wellFormed fails the test if an object has a field that Kubernetes does not have.
func wellFormed(t *testing.T, rendered map[string]string) {
	t.Helper()
	for name, text := range rendered {
		for _, object := range strings.Split(text, "\n---\n") {
			var head struct{ Kind string }
			if err := yaml.Unmarshal([]byte(object), &head); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			make := types[head.Kind]
			if make == nil {
				t.Errorf("%s: kind %q is not one of %v", name, head.Kind, slices.Sorted(maps.Keys(types)))
				continue
			}
			if err := yaml.UnmarshalStrict([]byte(object), make()); err != nil {
				t.Errorf("%s: %s: %v", name, head.Kind, err)
			}
		}
	}
}

// TestLint checks the chart like "helm lint --strict".
func TestLint(t *testing.T) {
	for _, m := range lint.RunAll(dir, map[string]any{}, namespace).Messages {
		if m.Severity >= support.WarningSev {
			t.Error(m)
		}
	}
}
