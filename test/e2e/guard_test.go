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

// use is a claim and the NIC of n1 that a pod gets with it.
type use struct {
	claim string
	nic   *nic
}

// as returns the NIC's name in the pod.
func (u use) as() string { return fmt.Sprintf("net%d", u.nic.n) }

// manifest returns the claim.
func (u use) manifest() string {
	return nicClaim(u.claim, u.nic.name, fmt.Sprintf("{interface: {name: %s}}", u.as()))
}

const diaries = "/var/lib/dra-netdev-e2e" // on n1's disk, which survives pods and reboots of the node

// guard is the script that a container runs first: it looks for its NICs, appends
// the result to the pod's diary file, and exits with 42 if a NIC is missing.
const guard = `for want in $WANT; do
  ip -oneline -4 address show dev ${want%=*} | grep -qF " ${want#*=} " || { echo $ROLE without $want >> /diary/$DIARY; exit 42; }
done
echo $ROLE with its NICs >> /diary/$DIARY
`

// guardedSpec returns the spec, in JSON, of a pod with an init container and a
// container that both run guard.
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

// guardedPod returns a pod with guardedSpec. At the end, the test fails if one of
// its containers ran without a NIC.
func guardedPod(t *testing.T, name string, uses ...use) string {
	t.Helper()
	neverWithout(t, name)
	return fmt.Sprintf("\napiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: %s\n---", name, guardedSpec(t, name, uses...))
}

// neverWithout fails the test at its end if a container of the pod, or of another
// pod with that name, ran without its NICs.
func neverWithout(t *testing.T, pod string) {
	t.Cleanup(func() {
		for _, line := range diary(t, pod) {
			if !strings.HasSuffix(line, " with its NICs") {
				t.Errorf("a container of pod %s ran: %s", pod, line)
			}
		}
		if _, err := tryNode("n1", "rm", "-f", diaries+"/"+pod); err != nil {
			t.Error(err)
		}
	})
}

// diary returns the lines that the containers of a guarded pod have written, one
// for each start of a container.
func diary(t *testing.T, pod string) []string {
	t.Helper()
	return strings.FieldsFunc(onNode(t, "n1", "sh", "-c", `[ ! -e "$0" ] || cat "$0"`, diaries+"/"+pod), func(r rune) bool { return r == '\n' })
}

// awaitStarts waits until the pod's container was started this often.
func awaitStarts(t *testing.T, pod string, want int) {
	t.Helper()
	eventually(t, recoverLimit, fmt.Sprintf("start %d of pod %s", want, pod), func() error {
		if got := starts(t, pod); got != want {
			return fmt.Errorf("it was started %d times", got)
		}
		return nil
	})
}

// starts returns how often the pod's container was started.
func starts(t *testing.T, pod string) (n int) {
	t.Helper()
	for _, line := range diary(t, pod) {
		if strings.HasPrefix(line, "shell ") {
			n++
		}
	}
	return n
}

// ownCluster skips a test that kills daemons, which only works in the cluster of
// test/cluster.
func ownCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("CLUSTER") == "kind" {
		t.Skip("needs a cluster whose daemons can be killed, not CLUSTER=kind")
	}
}
