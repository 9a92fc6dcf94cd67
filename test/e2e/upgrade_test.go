//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	upgrades   = 3
	churnEvery = 500 * time.Millisecond // from pod to pod
	churnNICs  = 6                      // enough that pods rarely wait for one
	churnLimit = 60 * time.Second       // until the last pods have ended
)

// churnTemplate gives each pod one of the test's NICs.
const churnTemplate = `
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: churn}
spec:
  spec:
    devices:
      requests:
      - name: nic
        exactly:
          deviceClassName: dra-netdev
          selectors: [{cel: {expression: 'device.attributes["dra-netdev.github.io"].ifName.startsWith("up")'}}]
      config:
      - opaque: {driver: dra-netdev.github.io, parameters: {interface: {name: net1}}}
---`

// churnPod returns a pod that exits with 42 unless it starts with its NIC and the
// NIC's address.
func churnPod(i int) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: churn-%03d, labels: {app: churn}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  resourceClaims: [{name: nic, resourceClaimTemplateName: churn}]
  containers:
  - name: shell
    image: busybox:1
    command: [sh, -c, 'ip -4 address show dev net1 | grep -q "inet 10.20." || exit 42; sleep 0.3']
    resources: {claims: [{name: nic}]}
---`, i)
}

// TestPodsThroughUpgrades checks that pods can start and end during three rolling
// upgrades of the driver: each pod gets its NIC at the first attempt, and all NICs
// are restored.
func TestPodsThroughUpgrades(t *testing.T) {
	var nics []*nic
	for i := range churnNICs {
		nics = append(nics, &nic{node: "n1", name: fmt.Sprintf("up%d", i), n: i + 1})
	}
	makeNICs(t, nics...)
	apply(t, churnTemplate)
	t.Cleanup(func() { kubectl(t, "delete", "pods", "--selector=app=churn", "--timeout=60s") })
	explainFailure(t)

	stop, ended := make(chan struct{}), make(chan error, 1)
	pods := 0
	go func() { // ends with stop
		var errs []error
		ticker := time.NewTicker(churnEvery)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				ended <- errors.Join(errs...)
				return
			case <-ticker.C:
				_, err := command(churnPod(pods), "test/cluster/kubectl", "create", "-f", "-")
				errs = append(errs, err)
				pods++
			}
		}
	}()
	start := time.Now()
	for range upgrades {
		old := driverOn(t, "n1").UID
		kubectl(t, "rollout", "restart", "--namespace=dra-netdev", "daemonset/dra-netdev")
		kubectl(t, "rollout", "status", "--namespace=dra-netdev", "daemonset/dra-netdev", "--timeout=60s")
		awaitDriver(t, nodeCount)
		if driverOn(t, "n1").UID == old {
			t.Error("the driver was not replaced")
		}
	}
	time.Sleep(2 * churnEvery) // some more pods with the last driver
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	t.Logf("%d pods in %v, over %d upgrades", pods, time.Since(start).Round(time.Second), upgrades)
	eventually(t, churnLimit, "success of all pods", func() error {
		phases := map[corev1.PodPhase]int{}
		for _, p := range mustGet[corev1.PodList](t, "pods", "--selector=app=churn").Items {
			phases[p.Status.Phase]++
			if p.Status.Phase == corev1.PodFailed {
				t.Fatalf("pod %s failed: %+v", p.Name, p.Status)
			}
		}
		if phases[corev1.PodSucceeded] != pods {
			return fmt.Errorf("of %d pods: %v", pods, phases)
		}
		return nil
	})
	noWarnings(t, "churn-")
}

// noWarnings fails the test if there is a warning event of a pod with this prefix,
// except that the pod had to wait for a NIC.
func noWarnings(t *testing.T, prefix string) {
	t.Helper()
	warnings := map[string]int{}
	for _, e := range mustGet[corev1.EventList](t, "events", "--field-selector=type=Warning").Items {
		if strings.HasPrefix(e.InvolvedObject.Name, prefix) && e.Reason != "FailedScheduling" {
			warnings[e.Reason+": "+e.Message]++
		}
	}
	for _, w := range slices.Sorted(maps.Keys(warnings)) {
		t.Errorf("%d times: %s", warnings[w], w)
	}
}
