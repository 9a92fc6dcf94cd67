//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// manyNICs are those of a pod whose attach takes long enough to be interrupted.
const manyNICs = 8

// atNextAttach runs a command on n1 as soon as a record shows that interfaces are
// on their way into a pod. The channel returns the command's error.
func atNextAttach(command ...string) <-chan error {
	done := make(chan error, 1)
	watching := make(chan struct{})
	go func() { // ends with the command or its time limit
		close(watching)
		_, err := tryNode("n1", append([]string{"sh", "-c", `
			until grep -qs '"deadline"' /run/dra-netdev/allocations/*.json; do :; done
			exec "$@"`, "sh"}, command...)...)
		done <- err
	}()
	<-watching
	return done
}

// TestDriverKilledDuringAttach checks that a pod with restartPolicy Never, which
// nothing restarts, starts with all of its NICs though the driver is killed while
// it attaches them: the pod's container waits, and the next driver goes on.
func TestDriverKilledDuringAttach(t *testing.T) {
	ownCluster(t)
	var nics []*nic
	var uses []use
	var claims, manifest = []string{}, ""
	for i := 1; i <= manyNICs; i++ {
		n := &nic{node: "n1", name: fmt.Sprintf("eth%d", i), n: i}
		u := use{fmt.Sprintf("never-%d", i), n}
		nics, uses = append(nics, n), append(uses, u)
		claims, manifest = append(claims, u.claim), manifest+u.manifest()
	}
	makeNICs(t, nics...)
	killed := atNextAttach("pkill", "-KILL", "-f", driverProcess)
	apply(t, manifest+podFor("never", "restartPolicy: Never", claims...))
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	ready(t, "never")
	t.Logf("the pod was ready %.1f s after the driver was killed", time.Since(start).Seconds())
	for _, u := range uses {
		inPod(t, u.nic, "never", u.as())
		awaitStatus(t, u.claim, "True", "Attached", nil)
	}
	if pod := mustGet[corev1.Pod](t, "pod", "never"); pod.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the container was restarted %d times", pod.Status.ContainerStatuses[0].RestartCount)
	}
	deletePod(t, "never")
	for _, n := range nics {
		restored(t, n)
	}
	awaitDriver(t, nodeCount)
}
