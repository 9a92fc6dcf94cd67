package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// accepted has, for each value of values.yaml, other settings that must be valid
// and must change the rendered objects.
var accepted = map[string][]string{
	"nameOverride":                 {"nic"},
	"fullnameOverride":             {"nic"},
	"image.repository":             {"example.com/nic"},
	"image.tag":                    {"v1"},
	"image.digest":                 {"sha256:" + strings.Repeat("0", 64)},
	"image.pullPolicy":             {"Always", "Never"},
	"imagePullSecrets":             {"[{name: secret}]"},
	"serviceAccount.create":        {"{create: false, name: other}"},
	"serviceAccount.name":          {"other", "a.b"},
	"serviceAccount.annotations":   {"{a: b}"},
	"rbac.create":                  {"false"},
	"admissionPolicy.enabled":      {"false"},
	"configPolicy.enabled":         {"false"},
	"deviceClass.create":           {"false"},
	"deviceClass.name":             {"nic", "nic.example.com"},
	"filter":                       {`""`, `'device.attributes["dra-netdev.github.io"].type == "device"'`},
	"include":                      {`'device.attributes["dra-netdev.github.io"].ifName == "wg1"'`},
	"attributes":                   {`[{match: "true", attributes: {example.com/a: 1}}]`, `[{nodes: [n1, "gpu-*"], match: true, attributes: {a.b/c: text, a.b/d: false, a.b/e: {version: 1.2.3}, resource.kubernetes.io/pcieRoot: "pci0000:00"}}]`},
	"multusResourceName":           {"example.com/nics", "nics"},
	"sriovVFs":                     {`[{selector: 'device.attributes["dra-netdev.github.io"].ifName == "eth1"', count: 8}]`, `[{selector: "true", count: 0}, {selector: "false", count: 1}]`},
	"statusInterval":               {"0", `"0"`, "0s", "1h30m", "1.5s", "250ms"},
	"healthAddress":                {`""`, `"0.0.0.0:9178"`, `"[::1]:1"`, `"[::ffff:192.0.2.1]:65535"`, `"localhost:9179"`, `"node-1.example.com:80"`},
	"logVerbosity":                 {"0", "10"},
	"extraArgs":                    {"[--logging-format=json]", "[--vmodule=dra=4]"},
	"kubeletRootDir":               {"/var/snap/kubelet", "/data/kubelet_1.0"},
	"cdiDir":                       {"/etc/cdi"},
	"nriSocket":                    {"/run/other/nri.sock"},
	"netnsDir":                     {"/run/containerd/netns", "/run/netns"},
	"stateDir":                     {"/run/other"},
	"updateStrategy.type":          {"OnDelete"},
	"updateStrategy.rollingUpdate": {"{maxSurge: 0, maxUnavailable: 1}", "{maxSurge: 10%, maxUnavailable: 0}", "{maxSurge: 0%, maxUnavailable: 10%}", "null"},
	"priorityClassName":            {"other", `""`},
	"nodeSelector":                 {"{a: b}"},
	"tolerations":                  {"[]", "[{key: a, operator: Equal, value: b, effect: NoExecute, tolerationSeconds: 1}]"},
	"affinity":                     {"{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}}}"},
	"podAnnotations":               {"{a: b}"},
	"podLabels":                    {"{a: b}"},
	"podSecurityContext":           {"{seLinuxOptions: {type: spc_t}, sysctls: [{name: a, value: b}]}"},
	"securityContext":              {"{privileged: true, seccompProfile: {type: Unconfined}}", "{capabilities: {drop: [ALL]}}"},
	"resources":                    {"{requests: {cpu: 0.5, memory: 1Gi}}", "{limits: {memory: null}}"},
}

// set returns values with the value at path, like helm's --set.
func set(path, value string) string {
	parent, last, nested := strings.Cut(path, ".")
	if !nested {
		return parent + ": " + value + "\n"
	}
	if strings.HasPrefix(value, "{"+last+": ") { // value is that of the parent
		return parent + ": " + value + "\n"
	}
	return parent + ": {" + last + ": " + value + "}\n"
}

// TestEveryValue checks that the schema allows each value and that a template uses
// it.
func TestEveryValue(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(dir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal(text, &defaults); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for name, value := range defaults {
		parts, _ := value.(map[string]any)
		if _, whole := accepted[name]; whole || parts == nil {
			paths = append(paths, name)
			continue
		}
		for part := range parts {
			paths = append(paths, name+"."+part)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(accepted)), slices.Sorted(slices.Values(paths))); diff != "" {
		t.Fatalf("the test does not cover exactly the values of values.yaml (-tested +in values.yaml):\n%s", diff)
	}
	byDefault := mustRender(t, "")
	wellFormed(t, byDefault)
	for path, values := range accepted {
		for _, value := range values {
			got, err := render(t, set(path, value))
			if err != nil {
				t.Errorf("%s=%s: %v", path, value, err)
				continue
			}
			wellFormed(t, got)
			if cmp.Equal(byDefault, got) {
				t.Errorf("%s=%s changes nothing", path, value)
			}
		}
	}
}

// TestRefusedValues checks that values which cannot work are refused with an error
// that names them.
func TestRefusedValues(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"securityContext: {privileged: false}", "securityContext.privileged: must be true: the host must see the driver's mounts (mount propagation Bidirectional), which Kubernetes allows only for privileged containers"},
		{"securityContext: null", "securityContext.privileged: must be true"},
		{"securityContext: {privileged: null}", "securityContext.privileged: must be true"},
		{"serviceAccount: {create: false}", `serviceAccount.name: required when serviceAccount.create is false: otherwise the driver's rights would go to the namespace's account "default"`},
		{"updateStrategy: {rollingUpdate: {maxUnavailable: 1}}", "updateStrategy.rollingUpdate: maxSurge is 1 and maxUnavailable is 1: Kubernetes allows only one of them, set the other one to 0"},
		{"updateStrategy: {rollingUpdate: {maxSurge: 10%, maxUnavailable: 5%}}", "maxSurge is 10% and maxUnavailable is 5%"},
		{"updateStrategy: {rollingUpdate: {maxUnavailable: null}}", "maxSurge is 1 and maxUnavailable is 1"},
		{"updateStrategy: {rollingUpdate: {maxSurge: 0}}", "updateStrategy.rollingUpdate: maxSurge and maxUnavailable are both 0"},
		{"updateStrategy: {rollingUpdate: {maxSurge: 0%, maxUnavailable: 0%}}", "maxSurge and maxUnavailable are both 0"},
		{"extraArgs: ['--sriov-vfs=true=4']", "extraArgs: set the value sriovVFs instead of the flag"},
		{"sriovVFs: [{selector: 'true', count: -1}]", "/sriovVFs/0/count"},
		{"sriovVFs: [{selector: 'true'}]", "count"},
		{"sriovVFs: ['true=1']", "/sriovVFs/0"},
		{"extraArgs: [--state-dir=/tmp]", "extraArgs: set the value stateDir instead of the flag"},
		{"extraArgs: [-v=4]", "extraArgs: set the value logVerbosity instead of the flag"},
		{"extraArgs: [--include=x]", "extraArgs: set the value include instead of the flag"},
		{"extraArgs: [--attributes=/x]", "extraArgs: set the value attributes instead of the flag"},
		{"extraArgs: [--filter, x]", "extraArgs: set the value filter instead of the flag"},

		{"attributes: [{match: a}]", "attributes"},
		{"attributes: [{attributes: {a.b/c: 1}}]", "match"},
		{"attributes: [{match: a, attributes: {}}]", "attributes"},
		{"attributes: [{match: '', attributes: {a.b/c: 1}}]", "match"},
		{"attributes: [{match: a, attributes: {rack: 1}}]", "rack"},
		{"attributes: [{match: a, attributes: {dra-netdev.github.io/rack: 1}}]", "dra-netdev.github.io/rack"},
		{"attributes: [{match: a, attributes: {a.b/c: 1.5}}]", "a.b"},
		{"attributes: [{match: a, attributes: {a.b/c: {version: '1'}}}]", "version"},
		{"attributes: [{match: a, attributes: {a.b/c: " + strings.Repeat("x", 65) + "}}]", "a.b"},
		{"attributes: [{nodes: [], match: a, attributes: {a.b/c: 1}}]", "nodes"},
		{"attributes: {match: a}", "attributes"},
		{"multusResourceName: a/b/c", "multusResourceName"},
		{"multusResourceName: a b", "multusResourceName"},
		{"statusInterval: 5", "statusInterval"},
		{"statusInterval: -1s", "statusInterval"},
		{"statusInterval: 5 minutes", "statusInterval"},
		{`healthAddress: "999.999.1.1:99999"`, "healthAddress"},
		{`healthAddress: "127.0.0.1:65536"`, "healthAddress"},
		{`healthAddress: "127.0.0.1:0"`, "healthAddress"},
		{`healthAddress: "127.0.0.256:80"`, "healthAddress"},
		{`healthAddress: "::1:80"`, "healthAddress"},
		{`healthAddress: "[localhost]:80"`, "healthAddress"},
		{`healthAddress: "127.0.0.1"`, "healthAddress"},
		{`healthAddress: ":9178"`, "healthAddress"},
		{"kubeletRootDir: /var/lib/../x", "kubeletRootDir"},
		{"kubeletRootDir: /var//lib", "kubeletRootDir"},
		{"kubeletRootDir: /var/lib/kubelet/", "kubeletRootDir"},
		{"stateDir: run/dra-netdev", "stateDir"},
		{"netnsDir: /", "netnsDir"},
		{"netnsDir: null", "netnsDir"},
		{"cdiDir: '/etc/cdi: x'", "cdiDir"},
		{"nriSocket: ''", "nriSocket"},
		{"deviceClass: {name: a..b}", "name"},
		{"deviceClass: {name: A}", "name"},
		{"image: {digest: sha256:00}", "digest"},
		{"image: {repository: ''}", "repository"},
		{"image: {pullPolicy: Sometimes}", "pullPolicy"},
		{"resources: {limits: {memory: 64 MB}}", "memory"},
		{"logVerbosity: high", "logVerbosity"},
		{"logVerbosity: 11", "logVerbosity"},
		{"imagePullSecrets: [{}]", "imagePullSecrets"},
		{"tolerations: [{operator: exists}]", "operator"},
		{"updateStrategy: {type: Recreate}", "updateStrategy"},
		{"updateStrategy: {rollingUpdate: {maxSurge: some}}", "maxSurge"},
	} {
		if _, err := render(t, c.values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", c.values, err, c.want)
		}
	}
}

// schema has those parts of a JSON schema that the chart's schema uses.
type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 any               `json:"type"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties any               `json:"additionalProperties"`
	Required             []string          `json:"required"`
	Items                *schema           `json:"items"`
	Definitions          map[string]schema `json:"definitions"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// resolve returns the definition that a schema refers to, or the schema itself.
func (s schema) resolve(root schema) schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
		return root.Definitions[name]
	}
	return s
}

// at returns the schema of a value, such as tolerations[].key.
func (s schema) at(t *testing.T, path string) schema {
	t.Helper()
	here := s
	for name := range strings.SplitSeq(path, ".") {
		name, list := strings.CutSuffix(name, "[]")
		next, ok := here.Properties[name]
		if !ok {
			t.Fatalf("the schema has no %s of %s", name, path)
		}
		if here = next.resolve(s); list {
			here = here.Items.resolve(s)
		}
	}
	return here
}

// TestMistypedKeys checks that an unknown key is refused at every depth, with an
// error that names it.
func TestMistypedKeys(t *testing.T) {
	root := readSchema(t)
	const key = "mistyped"
	depth, tried := 0, 0
	var walk func(s schema, path []string)
	walk = func(s schema, path []string) {
		s = s.resolve(root)
		if s.Items != nil {
			walk(*s.Items, append(slices.Clone(path), "[]"))
			return
		}
		isObject := s.Type == "object" || s.Properties != nil
		if !isObject || slices.Equal(path, []string{"global"}) {
			return
		}
		if typed, ok := s.AdditionalProperties.(map[string]any); ok && typed != nil {
			return // a map of the user's own keys, such as labels
		}
		tried, depth = tried+1, max(depth, len(path))
		var value any = map[string]any{key: 1}
		for _, name := range slices.Backward(path) {
			if name == "[]" {
				value = []any{value}
			} else {
				value = map[string]any{name: value}
			}
		}
		text, _ := json.Marshal(value)
		if _, err := render(t, string(text)); err == nil || !strings.Contains(err.Error(), "'"+key+"' not allowed") {
			t.Errorf("%s: got error %v, want one that names %s", text, err, key)
		}
		for name, child := range s.Properties {
			walk(child, append(slices.Clone(path), name))
		}
	}
	walk(root, nil)
	if tried < 40 || depth < 6 {
		t.Errorf("tried only %d objects down to depth %d: does the test still read the schema?", tried, depth)
	}
}

// without are fields of Kubernetes' types that the chart does not support.
var without = map[string][]string{
	"securityContext":    {"windowsOptions"},
	"podSecurityContext": {"windowsOptions"},
	"resources":          {"claims"},
}

// TestKubernetesTypes checks that the schema has all fields of Kubernetes' types.
func TestKubernetesTypes(t *testing.T) {
	const required, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
	root := readSchema(t)
	for path, object := range map[string]any{
		"affinity":                                                                 corev1.Affinity{},
		"affinity.nodeAffinity":                                                    corev1.NodeAffinity{},
		"affinity.nodeAffinity." + required:                                        corev1.NodeSelector{},
		"affinity.nodeAffinity." + preferred + "[]":                                corev1.PreferredSchedulingTerm{},
		"affinity.nodeAffinity." + required + ".nodeSelectorTerms[]":               corev1.NodeSelectorTerm{},
		"affinity.nodeAffinity." + preferred + "[].preference.matchFields[]":       corev1.NodeSelectorRequirement{},
		"affinity.podAffinity":                                                     corev1.PodAffinity{},
		"affinity.podAntiAffinity":                                                 corev1.PodAntiAffinity{},
		"affinity.podAffinity." + required + "[]":                                  corev1.PodAffinityTerm{},
		"affinity.podAffinity." + preferred + "[]":                                 corev1.WeightedPodAffinityTerm{},
		"affinity.podAffinity." + required + "[].labelSelector":                    metav1.LabelSelector{},
		"affinity.podAffinity." + required + "[].labelSelector.matchExpressions[]": metav1.LabelSelectorRequirement{},
		"imagePullSecrets[]":                                                       corev1.LocalObjectReference{},
		"podSecurityContext":                                                       corev1.PodSecurityContext{},
		"podSecurityContext.appArmorProfile":                                       corev1.AppArmorProfile{},
		"podSecurityContext.sysctls[]":                                             corev1.Sysctl{},
		"resources":                                                                corev1.ResourceRequirements{},
		"securityContext":                                                          corev1.SecurityContext{},
		"securityContext.capabilities":                                             corev1.Capabilities{},
		"securityContext.seLinuxOptions":                                           corev1.SELinuxOptions{},
		"securityContext.seccompProfile":                                           corev1.SeccompProfile{},
		"tolerations[]":                                                            corev1.Toleration{},
		"updateStrategy":                                                           appsv1.DaemonSetUpdateStrategy{},
		"updateStrategy.rollingUpdate":                                             appsv1.RollingUpdateDaemonSet{},
	} {
		want := map[string]bool{}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(object)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			want[name] = !slices.Contains(without[path], name)
		}
		got := map[string]bool{}
		for name := range want {
			got[name] = false
		}
		for name := range root.at(t, path).Properties {
			got[name] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", path, fmt.Sprintf("%T", object), diff)
		}
	}
}
