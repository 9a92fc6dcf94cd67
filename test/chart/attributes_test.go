package chart

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestAttributes checks that the value attributes reaches the driver's flag as a
// file of a ConfigMap, unchanged, and that the pods are the same for all values:
// a change needs no restart.
func TestAttributes(t *testing.T) {
	const values = `attributes:
- match: device.attributes["dra-netdev.github.io"].ifName == "eth1"
  attributes: {example.com/rail: 123456789, example.com/rack: "7", example.com/on: true, example.com/v: {version: 1.2.3}}
- {nodes: [a], match: true, attributes: {example.com/rail: 2}}
`
	rendered := mustRender(t, values)
	var config corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(rendered["attributes.yaml"]), &config); err != nil {
		t.Fatal(err)
	}
	pod := daemonSet(t, values).Spec.Template.Spec
	i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil })
	if i < 0 || pod.Volumes[i].ConfigMap.Name != config.Name || config.Namespace != namespace {
		t.Fatalf("no volume of ConfigMap %s/%s: %+v", config.Namespace, config.Name, pod.Volumes)
	}
	c := pod.Containers[0]
	m := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == pod.Volumes[i].Name })
	a := slices.IndexFunc(c.Args, func(arg string) bool { return strings.HasPrefix(arg, "--attributes=") })
	if m < 0 || a < 0 || c.VolumeMounts[m].SubPath != "" {
		t.Fatalf("the ConfigMap is not mounted as a directory, or there is no flag: %+v, %q", c.VolumeMounts, c.Args)
	}
	dir, file := path.Split(strings.TrimPrefix(c.Args[a], "--attributes="))
	if path.Clean(dir) != c.VolumeMounts[m].MountPath {
		t.Errorf("the flag is %s, the mount %s", c.Args[a], c.VolumeMounts[m].MountPath)
	}
	var want, got any
	if err := yaml.Unmarshal([]byte(values), &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(config.Data[file]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, any(map[string]any{"attributes": got})); diff != "" {
		t.Errorf("the file differs from the value (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(rendered["daemonset.yaml"], mustRender(t, "attributes: [{match: false, attributes: {a.b/c: 1}}]")["daemonset.yaml"]); diff != "" {
		t.Errorf("another value changes the DaemonSet, which restarts the driver:\n%s", diff)
	}
}
