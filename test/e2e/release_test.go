//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestPodEnds checks that the NIC is restored when a pod ends in an unusual way.
func TestPodEnds(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, pod string)
	}{
		{"without grace", func(t *testing.T, pod string) { deletePod(t, pod, "--grace-period=0", "--force") }},
		{"while the driver is killed", func(t *testing.T, pod string) {
			ownCluster(t)
			kubectl(t, "delete", "pod", pod, "--wait=false")
			killDriver(t, pod, eth1)
			kubectl(t, "wait", "--for=delete", "--timeout="+recoverLimit.String(), "pod/"+pod)
		}},
		{"after its claim", func(t *testing.T, pod string) { claimFirst(t, pod, eth1) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			uses := use{"ending", eth1}
			apply(t, uses.manifest()+guardedPod(t, "ending", uses))
			ready(t, "ending")
			inPod(t, eth1, "ending", "net1")
			tt.end(t, "ending")
			restored(t, eth1)
		})
	}
}

// claimFirst deletes the claim of a running pod by force, so that the scheduler
// allocates the NIC again though the pod still has it, and then the pod. It checks
// that the next pod waits for the NIC.
func claimFirst(t *testing.T, pod string, n *nic) {
	kubectl(t, "delete", "resourceclaim", pod, "--wait=false")
	kubectl(t, "patch", "resourceclaim", pod, "--type=merge", `--patch={"metadata": {"finalizers": null}}`)
	kubectl(t, "wait", "--for=delete", "--timeout="+statusLimit.String(), "resourceclaim/"+pod)
	next := use{"next", n}
	apply(t, next.manifest()+guardedPod(t, "next", next))
	eventOf(t, "next", "FailedPrepareDynamicResources", "held by claim default/"+pod)
	notStarted(t, "next")
	inPod(t, n, pod, next.as())
	deletePod(t, pod)
	kubectl(t, "wait", "--for=condition=Ready", "--timeout="+recoverLimit.String(), "pod/next")
	inPod(t, n, "next", next.as())
	deletePod(t, "next")
}

// TestSameNameAgain checks that a pod's successor with the same name and claim gets
// the NIC.
func TestSameNameAgain(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	uses := use{"again", eth1}
	neverWithout(t, "again-0")
	apply(t, uses.manifest()+fmt.Sprintf(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: again}
spec:
  selector: {matchLabels: {app: again}}
  template:
    metadata: {labels: {app: again}}
    spec: %s
---`, guardedSpec(t, "again-0", uses)))
	awaitStarts(t, "again-0", 1)
	ready(t, "again-0")
	first := mustGet[corev1.Pod](t, "pod", "again-0").UID
	kubectl(t, "delete", "pod", "again-0", "--wait=false")
	awaitStarts(t, "again-0", 2)
	ready(t, "again-0")
	if mustGet[corev1.Pod](t, "pod", "again-0").UID == first {
		t.Error("the first pod is still there")
	}
	inPod(t, eth1, "again-0", "net1")
	awaitStatus(t, "again", "True", "Attached", nil)
}

// TestClaimOfTwoPods checks a pod with two claims, one of which a second pod uses
// too: the kubelet unprepares only the other one when the first pod ends. The
// second pod waits and then gets the NIC.
func TestClaimOfTwoPods(t *testing.T) {
	own, shared := use{"own", &nic{node: "n1", name: "eth1", n: 1}}, use{"shared", &nic{node: "n1", name: "eth2", n: 2}}
	makeNICs(t, own.nic, shared.nic)
	apply(t, own.manifest()+shared.manifest()+guardedPod(t, "first", own, shared))
	ready(t, "first")
	apply(t, guardedPod(t, "second", shared))
	eventOf(t, "second", "Failed", "eth2 of claim default/shared", "another pod has it")
	if got := starts(t, "second"); got != 0 {
		t.Errorf("the second pod's container was started %d times while the first had its NIC", got)
	}
	inPod(t, own.nic, "first", own.as())
	inPod(t, shared.nic, "first", shared.as())
	deletePod(t, "first")
	restored(t, own.nic)
	kubectl(t, "wait", "--for=condition=Ready", "--timeout="+recoverLimit.String(), "pod/second")
	inPod(t, shared.nic, "second", shared.as())
	awaitStatus(t, "shared", "True", "Attached", nil)
	deletePod(t, "second")
	restored(t, shared.nic)
}
