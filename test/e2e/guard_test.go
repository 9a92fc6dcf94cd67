//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// use is a NIC of n1 that a pod gets by a claim.
type use struct {
	claim string
	nic   *nic
}

// as is the NIC's name in the pod.
func (u use) as() string { return fmt.Sprintf("net%d", u.nic.n) }

func (u use) manifest() string {
	return nicClaim(u.claim, u.nic.name, fmt.Sprintf("{interface: {name: %s}}", u.as()))
}

const diaries = "/var/lib/dra-netdev-e2e" // on n1's disk, which outlives pods, and the node's power

// guard is what a container does first: it looks for its NICs, writes into the
// pod's diary what it found, and ends with 42 if one is not there.
const guard = `for want in $WANT; do
  ip -oneline -4 address show dev ${want%=*} | grep -qF " ${want#*=} " || { echo $ROLE without $want >> /diary/$DIARY; exit 42; }
done
echo $ROLE with its NICs >> /diary/$DIARY
`

// guardedSpec is the spec of a pod whose containers, an init container and
// another, do as guard says. In YAML it is a value in flow style.
func guardedSpec(t *testing.T, pod string, uses ...use) string {
	t.Helper()
	var want []string
	var refs []corev1.PodResourceClaim
	var claims []corev1.ResourceClaim
	for _, u := range uses {
		want = append(want, fmt.Sprintf("%s=10.20.%d.1/24", u.as(), u.nic.n))
		refs = append(refs, corev1.PodResourceClaim{Name: u.claim, ResourceClaimName: &u.claim})
		claims = append(claims, corev1.ResourceClaim{Name: u.claim})
	}
	container := func(role, then string) corev1.Container {
		return corev1.Container{
			Name: role, Image: "busybox:1", Command: []string{"sh", "-c", guard + then},
			Env:          []corev1.EnvVar{{Name: "ROLE", Value: role}, {Name: "DIARY", Value: pod}, {Name: "WANT", Value: strings.Join(want, " ")}},
			Resources:    corev1.ResourceRequirements{Claims: claims},
			VolumeMounts: []corev1.VolumeMount{{Name: "diary", MountPath: "/diary"}},
		}
	}
	text, err := json.Marshal(corev1.PodSpec{
		TerminationGracePeriodSeconds: new(int64(1)), ResourceClaims: refs,
		Volumes: []corev1.Volume{{Name: "diary", VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: diaries, Type: new(corev1.HostPathDirectoryOrCreate)},
		}}},
		InitContainers: []corev1.Container{container("init", "")},
		Containers:     []corev1.Container{container("shell", "exec sleep infinity")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// guardedPod is such a pod. At the end of the test no container of it may have
// been without a NIC.
func guardedPod(t *testing.T, name string, uses ...use) string {
	t.Helper()
	neverBare(t, name)
	return fmt.Sprintf("\napiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: %s\n---", name, guardedSpec(t, name, uses...))
}

// neverBare fails the test at its end if a container of the pod, or of one
// that had its name, has run without its NICs.
func neverBare(t *testing.T, pod string) {
	t.Cleanup(func() {
		for _, line := range diary(t, pod) {
			if !strings.HasSuffix(line, " with its NICs") {
				t.Errorf("a container of pod %s has run: %s", pod, line)
			}
		}
		if _, err := tryNode("n1", "rm", "-f", diaries+"/"+pod); err != nil {
			t.Error(err)
		}
	})
}

// diary returns what the containers of a guarded pod have written, a line for
// each that was started.
func diary(t *testing.T, pod string) []string {
	t.Helper()
	return strings.FieldsFunc(onNode(t, "n1", "sh", "-c", `[ ! -e "$0" ] || cat "$0"`, diaries+"/"+pod), func(r rune) bool { return r == '\n' })
}

// awaitStarts waits until the pod's container was started this often, and
// fails if it was started more often.
func awaitStarts(t *testing.T, pod string, want int) {
	t.Helper()
	eventually(t, recoverLimit, fmt.Sprintf("start %d of pod %s", want, pod), func() error {
		if got := starts(t, pod); got != want {
			return fmt.Errorf("it was started %d times", got)
		}
		return nil
	})
}

func starts(t *testing.T, pod string) (n int) {
	t.Helper()
	for _, line := range diary(t, pod) {
		if strings.HasPrefix(line, "shell ") {
			n++
		}
	}
	return n
}

// ownCluster skips a test that kills what only our own cluster lets it kill.
func ownCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("CLUSTER") == "kind" {
		t.Skip("needs a cluster whose daemons can be killed: CLUSTER=kind is not")
	}
}
