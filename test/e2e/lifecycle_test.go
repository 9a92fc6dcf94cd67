//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"

	netdevnic "github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestPodAfterPod checks that a pod with its own claim waits for the NIC until the
// pod that has it ends.
func TestPodAfterPod(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	apply(t, nicClaim("first", "eth1", `{interface: {name: net1}}`)+podFor("first", "", "first"))
	ready(t, "first")
	inPod(t, eth1, "first", "net1")
	apply(t, nicClaim("second", "eth1", `{interface: {name: net2}}`)+podFor("second", "", "second"))
	eventOf(t, "second", "FailedScheduling", "cannot allocate all claims")
	deletePod(t, "first")
	ready(t, "second")
	inPod(t, eth1, "second", "net2")
}

// TestPodAfterPodOnOneClaim checks that two pods, one after the other, can use the
// same claim.
func TestPodAfterPodOnOneClaim(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	apply(t, nicClaim("shared", "eth1", `{interface: {name: net1}}`))
	for _, pod := range []string{"first", "second"} {
		apply(t, podFor(pod, "", "shared"))
		ready(t, pod)
		inPod(t, eth1, pod, "net1")
		awaitStatus(t, "shared", "True", "Attached", nil)
		deletePod(t, pod)
		restored(t, eth1)
	}
}

// TestDriverRestarts checks that a restart of the driver interrupts no traffic and
// that the statistics in the claim never decrease.
func TestDriverRestarts(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	apply(t, nicClaim("steady", "eth1", `{interface: {name: net1}}`)+podFor("steady", "", "steady"))
	ready(t, "steady")
	inPod(t, eth1, "steady", "net1")
	counted := awaitCounters(t, "steady")
	pinging := startPing(t, eth1, "steady")
	states := watch[resourceapi.ResourceClaim](t, "resourceclaim", "steady")

	old := driverOn(t, "n1")
	kubectl(t, "delete", "pod", "--namespace=dra-netdev", old.Name, "--timeout=30s")
	awaitDriver(t, nodeCount)
	if driverOn(t, "n1").UID == old.UID {
		t.Fatalf("the driver was not restarted")
	}

	awaitStatus(t, "steady", "True", "Attached", func(s deviceStatus) error {
		if s.Data.Statistics.RxPackets <= counted.RxPackets {
			return fmt.Errorf("the counters are %+v", s.Data.Statistics)
		}
		return nil
	})
	pinging()
	inPod(t, eth1, "steady", "net1")
	neverDecreased(t, states.all())
	deletePod(t, "steady")
}

// startPing starts a ping in the pod. The returned function ends it and fails the
// test if a packet was lost.
func startPing(t *testing.T, n *nic, pod string) (stop func()) {
	t.Helper()
	shell := func(script string) string { return kubectl(t, "exec", pod, "--", "sh", "-c", script) }
	shell("busybox ping -i 0.1 -I net1 " + n.far4() + " > /tmp/ping 2>&1 & echo $! > /tmp/ping.pid")
	return func() {
		t.Helper()
		shell("kill -INT $(cat /tmp/ping.pid)")
		out := ""
		eventually(t, statusLimit, "end of the ping", func() error {
			if out = shell("cat /tmp/ping"); !strings.Contains(out, "packet loss") {
				return errors.New(last(out, 200))
			}
			return nil
		})
		if !strings.Contains(out, " 0% packet loss") {
			t.Errorf("packets were lost: %s", last(out, 200))
		}
		t.Log(strings.TrimSpace(out[strings.Index(out, "--- "):]))
	}
}

// neverDecreased fails the test if a later state of a claim has lower counters or
// is not Ready.
func neverDecreased(t *testing.T, claims []resourceapi.ResourceClaim) {
	t.Helper()
	var before netdevnic.Statistics
	for _, c := range claims {
		all, err := statusesOf(c)
		if err != nil {
			t.Errorf("while the pod runs: %v", err)
			continue
		}
		now := all["nic"].Data.Statistics
		if now.RxPackets < before.RxPackets || now.TxPackets < before.TxPackets || all["nic"].Ready.Status != "True" {
			t.Errorf("counters decreased, or not Ready: before %+v, then %+v", before, all["nic"])
		}
		before = now
	}
	if before == (netdevnic.Statistics{}) {
		t.Error("got no statistics")
	}
}

func driverOn(t *testing.T, node string) corev1.Pod {
	t.Helper()
	for _, p := range pods(t, "dra-netdev", driverLabel) {
		if p.Spec.NodeName == node {
			return p
		}
	}
	t.Fatalf("no driver runs on %s", node)
	return corev1.Pod{}
}

// awaitDriver waits until the driver runs on exactly this many nodes.
func awaitDriver(t *testing.T, count int) {
	t.Helper()
	eventually(t, 2*podLimit, fmt.Sprintf("driver on %d nodes", count), func() error {
		ds, err := get[appsv1.DaemonSet]("daemonset", "--namespace=dra-netdev", "dra-netdev")
		if err != nil {
			return err
		}
		all, err := get[corev1.PodList]("pods", "--namespace=dra-netdev", "--selector="+driverLabel)
		if err != nil {
			return err
		}
		if s := ds.Status; len(all.Items) != count || int(s.NumberReady) != count || int(s.DesiredNumberScheduled) != count || s.ObservedGeneration != ds.Generation {
			return fmt.Errorf("%d pods, %d of %d ready", len(all.Items), s.NumberReady, s.DesiredNumberScheduled)
		}
		return nil
	})
}

// nowhere is a patch that removes the driver from all nodes; anywhere reverts it.
const (
	nowhere  = `{"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}}`
	anywhere = `{"spec": {"template": {"spec": {"nodeSelector": {"nowhere": null}}}}}`
)

// TestDriverAway checks that, while the driver runs on no node, a pod keeps its
// NIC, a new pod does not start, and that both recover when the driver is back.
func TestDriverAway(t *testing.T) {
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	apply(t, nicClaim("orphan", "eth1", `{interface: {name: net1}}`)+podFor("orphan", "", "orphan"))
	place := func(patch string, count int) {
		kubectl(t, "patch", "daemonset", "--namespace=dra-netdev", "dra-netdev", "--type=strategic", "--patch="+patch)
		awaitDriver(t, count)
	}
	t.Cleanup(func() { place(anywhere, nodeCount) })
	explainFailure(t)
	ready(t, "orphan")
	inPod(t, eth1, "orphan", "net1")
	place(nowhere, 0)
	ping(t, "orphan", "net1", eth1.far4(), 2)
	if diff := gocmp.Diff(eth1.before.wanted("net1"), podState(t, "orphan", "net1").wanted("net1")); diff != "" {
		t.Errorf("the NIC changed when the driver was removed (-host +pod):\n%s", diff)
	}

	early := use{"early", eth2}
	apply(t, early.manifest()+guardedPod(t, "early", early))
	kubectl(t, "delete", "pod", "orphan", "--wait=false")
	// The containers end without the driver. The pod stays until the driver has
	// unprepared its claim.
	eventually(t, podLimit, "end of the pod's containers", func() error {
		p := mustGet[corev1.Pod](t, "pod", "orphan")
		if s := p.Status.ContainerStatuses; len(s) != 1 || s[0].State.Terminated == nil {
			return fmt.Errorf("they are %+v", s)
		}
		return nil
	})
	eventOf(t, "early", "FailedPrepareDynamicResources", "dra-netdev.github.io")
	// The sandbox ends a little later: the NIC must survive that.
	time.Sleep(time.Second)
	notStarted(t, "early")
	place(anywhere, nodeCount)
	kubectl(t, "wait", "--for=delete", "--timeout="+podLimit.String(), "pod/orphan")
	restored(t, eth1)
	kubectl(t, "wait", "--for=condition=Ready", "--timeout="+recoverLimit.String(), "pod/early")
	inPod(t, eth2, "early", "net2")
	if got := starts(t, "early"); got != 1 {
		t.Errorf("the container was started %d times, want 1", got)
	}
}

// TestTwoNodes checks that the scheduler places each of two pods on a node that
// has a free NIC.
func TestTwoNodes(t *testing.T) {
	nics := map[string]*nic{"n1": {node: "n1", name: "eth1", n: 1}, "n2": {node: "n2", name: "eth1", n: 2}}
	makeNICs(t, nics["n1"], nics["n2"])
	example(t, "03-template.yaml")
	kubectl(t, "scale", "deployment/template", "--replicas=2")
	on := map[string]string{}
	for _, p := range replicas(t, 2, "app=template") {
		on[p.Spec.NodeName] = p.Name
	}
	if len(on) != 2 {
		t.Fatalf("the pods are on %v, want one on each node", on)
	}
	for node, pod := range on {
		inPod(t, nics[node], pod, "net1")
	}
}
