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

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// The second pod waits for the NIC of the first, with a claim of its own.
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

// The second pod has the claim of the first, which is gone.
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
		atHome(t, eth1)
	}
}

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
			return fmt.Errorf("the counters stand at %+v", s.Data.Statistics)
		}
		return nil
	})
	pinging()
	inPod(t, eth1, "steady", "net1")
	neverBack(t, states.all())
	deletePod(t, "steady")
}

// startPing lets the pod ping until the function is called that it returns,
// which fails the test if a packet was lost.
func startPing(t *testing.T, n *nic, pod string) (stop func()) {
	t.Helper()
	shell := func(script string) string { return kubectl(t, "exec", pod, "--", "sh", "-c", script) }
	shell("busybox ping -i 0.1 -I net1 " + n.far4() + " > /tmp/ping 2>&1 & echo $! > /tmp/ping.pid")
	return func() {
		t.Helper()
		shell("kill -INT $(cat /tmp/ping.pid)")
		out := ""
		eventually(t, statusLimit, "the end of the ping", func() error {
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

// neverBack fails if what was counted in a claim has become less.
func neverBack(t *testing.T, claims []resourceapi.ResourceClaim) {
	t.Helper()
	var before v1alpha1.Statistics
	for _, c := range claims {
		all, err := statusesOf(c)
		if err != nil {
			t.Errorf("while the pod runs: %v", err)
			continue
		}
		now := all["nic"].Data.Statistics
		if now.RxPackets < before.RxPackets || now.TxPackets < before.TxPackets || all["nic"].Ready.Status != "True" {
			t.Errorf("the status went back: before %+v, then %+v", before, all["nic"])
		}
		before = now
	}
	if before == (v1alpha1.Statistics{}) {
		t.Error("no statistics were seen")
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

// awaitDriver waits until the driver runs on this many nodes and on no more.
func awaitDriver(t *testing.T, count int) {
	t.Helper()
	eventually(t, 2*podLimit, fmt.Sprintf("the driver being on %d nodes", count), func() error {
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

// nowhere is a patch that takes the driver off all nodes; anywhere undoes it.
const (
	nowhere  = `{"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}}`
	anywhere = `{"spec": {"template": {"spec": {"nodeSelector": {"nowhere": null}}}}}`
)

// While the driver is on no node one pod ends, and another is to start.
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
	if diff := gocmp.Diff(eth1.before.carried("net1"), podState(t, "orphan", "net1").carried("net1")); diff != "" {
		t.Errorf("the NIC changed when the driver went (-host +pod):\n%s", diff)
	}

	early := use{"early", eth2}
	apply(t, early.manifest()+guardedPod(t, "early", early))
	kubectl(t, "delete", "pod", "orphan", "--wait=false")
	// The containers end without the driver; the pod stays until the driver
	// has said that its claim is no longer prepared.
	eventually(t, podLimit, "the pod's containers having ended", func() error {
		p := mustGet[corev1.Pod](t, "pod", "orphan")
		if s := p.Status.ContainerStatuses; len(s) != 1 || s[0].State.Terminated == nil {
			return fmt.Errorf("they are %+v", s)
		}
		return nil
	})
	eventOf(t, "early", "FailedPrepareDynamicResources", "dra-netdev.github.io")
	// The sandbox ends a little later; give it time to take the NIC with it.
	time.Sleep(time.Second)
	notStarted(t, "early")
	place(anywhere, nodeCount)
	kubectl(t, "wait", "--for=delete", "--timeout="+podLimit.String(), "pod/orphan")
	atHome(t, eth1)
	kubectl(t, "wait", "--for=condition=Ready", "--timeout="+recoverLimit.String(), "pod/early")
	inPod(t, eth2, "early", "net2")
	if got := starts(t, "early"); got != 1 {
		t.Errorf("the container was started %d times, want 1", got)
	}
}

func TestTwoNodes(t *testing.T) {
	nics := map[string]*nic{"n1": {node: "n1", name: "eth1", n: 1}, "n2": {node: "n2", name: "eth1", n: 2}}
	makeNICs(t, nics["n1"], nics["n2"])
	example(t, "03-template.yaml")
	kubectl(t, "scale", "deployment/template", "--replicas=2")
	on := map[string]string{}
	for _, p := range replicas(t, 2) {
		on[p.Spec.NodeName] = p.Name
	}
	if len(on) != 2 {
		t.Fatalf("the pods are on %v, want one on each node", on)
	}
	for node, pod := range on {
		inPod(t, nics[node], pod, "net1")
	}
}
