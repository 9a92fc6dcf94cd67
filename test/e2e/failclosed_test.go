//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// notInPod is the runtime hook's error for a container whose sandbox was created
// without a call of the driver's NRI handlers.
const notInPod = "was not moved into this pod's network namespace"

// TestFailClosed checks that no container starts without its NIC while NRI is
// switched off or the driver hangs, neither in a new pod nor in a pod whose
// sandbox was killed, and that both pods recover by themselves afterwards.
func TestFailClosed(t *testing.T) {
	eth2 := &nic{node: "n1", name: "eth2", n: 2}
	uses := use{"late", eth2}
	recovers := func(t *testing.T) {
		kubectl(t, "wait", "--for=condition=Ready", "--timeout="+recoverLimit.String(), "pod/late")
		inPod(t, eth2, "late", "net2")
		if got := starts(t, "late"); got != 1 {
			t.Errorf("the new pod's container was started %d times, want 1", got)
		}
	}
	underPressure(t, []pressure{
		{"NRI is switched off", 2, func(t *testing.T, pod string, _ *nic) {
			t.Cleanup(func() { switchNRI(t, true) })
			switchNRI(t, false)
			killSandbox(t, pod)
			eventOf(t, pod, "Failed", notInPod)
			apply(t, uses.manifest()+guardedPod(t, "late", uses))
			eventOf(t, "late", "FailedPrepareDynamicResources", "does not call the driver's NRI")
			notStarted(t, "late")
			switchNRI(t, true)
			recovers(t)
		}},
		{"the driver hangs", 2, func(t *testing.T, pod string, _ *nic) {
			t.Cleanup(func() { signalDriver(t, "CONT") })
			hangs := atNextSandbox("pkill", "-STOP", "-f", driverProcess)
			apply(t, uses.manifest()+guardedPod(t, "late", uses))
			if err := <-hangs; err != nil {
				t.Fatal(err)
			}
			killSandbox(t, pod)
			eventOf(t, "late", "Failed", notInPod)
			eventOf(t, pod, "Failed", notInPod)
			if got := starts(t, "late"); got != 0 {
				t.Errorf("the new pod's container was started %d times while the driver was stopped", got)
			}
			signalDriver(t, "CONT")
			recovers(t)
		}},
	}, eth2)
}

// TestLateHandler checks that a pod starts late, but not without its NIC, if the
// kernel delays the driver's NRI handler for longer than the runtime's timeout.
func TestLateHandler(t *testing.T) {
	ownCluster(t)
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	holdrtnl := filepath.Join(t.TempDir(), "holdrtnl")
	if out, err := exec.Command("go", "build", "-C", root, "-o", holdrtnl, "./internal/nstest/holdrtnl").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	held := atNextSandbox(holdrtnl, "-for", "5s")
	uses := use{"late", eth1}
	apply(t, uses.manifest()+guardedPod(t, "late", uses))
	start := time.Now()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	if got := starts(t, "late"); got != 0 {
		t.Errorf("the container was started %d times during the delay", got)
	}
	ready(t, "late")
	t.Logf("the pod was ready after %.1f s", time.Since(start).Seconds())
	inPod(t, eth1, "late", "net1")
	awaitStatus(t, "late", "True", "Attached", nil)
	deletePod(t, "late")
	restored(t, eth1)
}

// atNextSandbox runs a command on n1 when the next sandbox has its network, which
// is just before the runtime calls the driver's handler. The channel returns the
// command's error when it has ended.
func atNextSandbox(command ...string) <-chan error {
	done := make(chan error, 1)
	watching := make(chan struct{})
	go func() { // ends with the command or its time limit
		close(watching)
		_, err := tryNode("n1", append([]string{"sh", "-c", `
			cd /run/containerd/io.containerd.runtime.v2.task/k8s.io
			before=$(ls)
			until ls | grep -qvxF "$before"; do :; done
			exec "$@"`, "sh"}, command...)...)
		done <- err
	}()
	<-watching
	return done
}

// switchNRI restarts the runtime of n1 with or without NRI.
func switchNRI(t *testing.T, on bool) {
	t.Helper()
	disable := map[bool]string{true: "false", false: "true"}[on]
	onNode(t, "n1", "sed", "-i", `/io.containerd.nri.v1.nri/,$ s/disable = [a-z]*/disable = `+disable+"/", os.Getenv("CLUSTER_STATE")+"/n1/containerd.toml")
	service(t, "containerd", "stop")
	service(t, "containerd", "start")
}
