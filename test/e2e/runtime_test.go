//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// recoverLimit is how long a pod may take to recover by itself. The kubelet of the
// test cluster syncs each pod every 10 s.
const recoverLimit = 60 * time.Second

// driverProcess is the driver's command line, for pkill.
const driverProcess = "^/dra-netdev-kubeletplugin"

// TestUnderPressure kills, one after the other, what a pod with a NIC depends on.
// It checks each time that the pod keeps its NIC or gets it again by itself, that
// no container runs without it, and that it is restored in the end.
func TestUnderPressure(t *testing.T) {
	underPressure(t, []pressure{
		{"containerd is killed", 1, func(t *testing.T, _ string, _ *nic) {
			service(t, "containerd", "kill")
			service(t, "containerd", "start")
			awaitDriver(t, nodeCount)
		}},
		{"the driver is killed", 1, killDriver},
		{"the kubelet is killed", 1, func(t *testing.T, _ string, _ *nic) { // this also resets its back-off for the killed driver
			service(t, "kubelet", "kill")
			service(t, "kubelet", "start")
		}},
		{"the sandbox is killed", 2, func(t *testing.T, pod string, _ *nic) { killSandbox(t, pod) }},
		{"the API server is away", 2, apiServerAway},
		{"the node loses power", 2, func(t *testing.T, _ string, n *nic) {
			onNode(t, "n1", "reboot")
			onNode(t, "n1", "sh", "-ec", n.again())
			awaitDriver(t, nodeCount)
		}},
	})
}

// pressure is a case of underPressure: end does something to the pod, and starts is
// how often its container has been started once the pod has recovered.
type pressure struct {
	name   string
	starts int
	end    func(t *testing.T, pod string, n *nic)
}

// underPressure runs the cases one after the other, each with a new pod that has
// eth1. others are further NICs that the cases use.
func underPressure(t *testing.T, cases []pressure, others ...*nic) {
	ownCluster(t)
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, append(others, eth1)...)
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			uses := use{"pressed", eth1}
			apply(t, uses.manifest()+guardedPod(t, "pressed", uses))
			ready(t, "pressed")
			inPod(t, eth1, "pressed", "net1")
			start := time.Now()
			tt.end(t, "pressed", eth1)
			awaitStarts(t, "pressed", tt.starts)
			t.Logf("the pod recovered after %.1f s", time.Since(start).Seconds())
			kubectl(t, "wait", "--for=condition=Ready", "--timeout="+recoverLimit.String(), "pod/pressed")
			eventually(t, recoverLimit, "exec into the pod", func() error {
				_, err := tryKubectl("exec", "pressed", "--", "true")
				return err
			})
			inPod(t, eth1, "pressed", "net1")
			awaitStatus(t, "pressed", "True", "Attached", nil)
			if got := starts(t, "pressed"); got != tt.starts {
				t.Errorf("the container was started %d times, want %d", got, tt.starts)
			}
			deletePod(t, "pressed")
			restored(t, eth1)
		})
	}
}

// killDriver kills the driver of n1 and waits until it runs again.
func killDriver(t *testing.T, _ string, _ *nic) {
	before := driverOn(t, "n1").Status.ContainerStatuses[0].RestartCount
	signalDriver(t, "KILL")
	eventually(t, recoverLimit, "restart of the driver", func() error {
		if now := driverOn(t, "n1").Status.ContainerStatuses[0].RestartCount; now == before {
			return fmt.Errorf("still %d restarts", now)
		}
		return nil
	})
	awaitDriver(t, nodeCount)
}

// apiServerAway stops the API server, so that requests time out, and kills the
// pod's sandbox and the driver. It checks that the NIC is restored without the API,
// and that the pod recovers once the API server runs again.
func apiServerAway(t *testing.T, pod string, n *nic) {
	signal := func(name string) { onNode(t, "control-plane", "pkill", "-"+name, "-x", "kube-apiserver") }
	t.Cleanup(func() { signal("CONT") })
	signal("STOP")
	killSandbox(t, pod)
	restored(t, n)
	signalDriver(t, "KILL")
	eventually(t, recoverLimit, "restart of the driver without the API server", func() error {
		_, err := tryNode("n1", "pgrep", "-f", driverProcess)
		return err
	})
	if got := starts(t, pod); got != 1 {
		t.Errorf("without the API server the container was started %d times, want 1", got)
	}
	signal("CONT")
}

// service starts, stops or kills a daemon of n1.
func service(t *testing.T, name, verb string) {
	t.Helper()
	if out, err := command("", "test/cluster/node", "n1", "service", name, verb); err != nil {
		t.Fatalf("service %s %s: %v\n%s", name, verb, err, out)
	}
}

// signalDriver sends a signal to the driver of n1.
func signalDriver(t *testing.T, name string) {
	t.Helper()
	onNode(t, "n1", "pkill", "-"+name, "-f", driverProcess)
}

// killSandbox kills the process that holds the pod's namespaces.
func killSandbox(t *testing.T, pod string) {
	t.Helper()
	ctr := []string{os.Getenv("CLUSTER_STATE") + "/bin/ctr", "--namespace=k8s.io"}
	killed, errs := 0, []error(nil)
	for line := range strings.Lines(onNode(t, "n1", append(ctr, "containers", "list", "--quiet",
		fmt.Sprintf(`labels."io.kubernetes.pod.name"==%s,labels."io.cri-containerd.kind"==sandbox`, pod))...)) {
		// The lines include ctr's warnings and sandboxes of earlier pods with that name.
		_, err := tryNode("n1", append(ctr, "tasks", "kill", "--signal=KILL", strings.TrimSpace(line))...)
		if err == nil {
			killed++
		}
		errs = append(errs, err)
	}
	if killed != 1 {
		t.Fatalf("killed %d sandboxes, want 1: %v", killed, errors.Join(errs...))
	}
}
