//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// recoverLimit is how long a pod may take to come back by itself. The kubelet
// of the test cluster looks at each pod every 10 s.
const recoverLimit = 60 * time.Second

// TestUnderPressure ends, one after the other, what a pod with a NIC stands on.
// Each time the pod keeps its NIC or gets it again by itself, and the NIC comes
// home as it was.
func TestUnderPressure(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, pod string)
	}{
		{"containerd is killed", func(t *testing.T, _ string) {
			service(t, "containerd", "kill")
			service(t, "containerd", "start")
			awaitDriver(t, nodeCount)
		}},
		{"the kubelet is killed", func(t *testing.T, _ string) {
			service(t, "kubelet", "kill")
			service(t, "kubelet", "start")
		}},
		{"the driver is killed", func(t *testing.T, _ string) {
			onNode(t, "n1", "pkill", "-KILL", "-f", "^/dra-netdev-kubeletplugin")
			awaitDriver(t, nodeCount)
		}},
		{"the sandbox is killed", func(t *testing.T, pod string) {
			ctr := []string{os.Getenv("CLUSTER_STATE") + "/bin/ctr", "--namespace=k8s.io"}
			killed := 0
			for line := range strings.Lines(onNode(t, "n1", append(ctr, "containers", "list", "--quiet",
				fmt.Sprintf(`labels."io.kubernetes.pod.name"==%s,labels."io.cri-containerd.kind"==sandbox`, pod))...)) {
				// Among ctr's warnings, and sandboxes of earlier pods of the name.
				if _, err := tryNode("n1", append(ctr, "tasks", "kill", "--signal=KILL", strings.TrimSpace(line))...); err == nil {
					killed++
				}
			}
			if killed != 1 {
				t.Fatalf("killed %d sandboxes, want 1", killed)
			}
			eventually(t, recoverLimit, "the pod's new sandbox", func() error {
				if p := mustGet[corev1.Pod](t, "pod", pod); len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].RestartCount == 0 {
					return fmt.Errorf("it is %s, its container was not restarted", p.Status.Phase)
				}
				return nil
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if os.Getenv("CLUSTER") == "kind" {
				t.Skip("needs a cluster whose daemons can be killed: CLUSTER=kind is not")
			}
			eth1 := &nic{node: "n1", name: "eth1", n: 1}
			makeNICs(t, eth1)
			apply(t, nicClaim("pressed", "eth1", `{interface: {name: net1}}`)+podFor("pressed", "", "pressed"))
			ready(t, "pressed")
			inPod(t, eth1, "pressed", "net1")
			tt.end(t, "pressed")
			kubectl(t, "wait", "--for=condition=Ready", "--timeout="+recoverLimit.String(), "pod/pressed")
			eventually(t, recoverLimit, "a way into the pod", func() error {
				_, err := tryKubectl("exec", "pressed", "--", "true")
				return err
			})
			inPod(t, eth1, "pressed", "net1")
			awaitStatus(t, "pressed", "True", "Attached", nil)
			deletePod(t, "pressed")
			atHome(t, eth1)
		})
	}
}

// service acts on a daemon of n1.
func service(t *testing.T, name, verb string) {
	t.Helper()
	if out, err := command("", "test/cluster/node", "n1", "service", name, verb); err != nil {
		t.Fatalf("service %s %s: %v\n%s", name, verb, err, out)
	}
}
