//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

const (
	statusLimit = 5 * time.Second  // from a change to the claim's status, with statistics every second
	quietLimit  = 20 * time.Second // until the counters of a new link stop changing: it solicits routers for some seconds
	eventLimit  = 20 * time.Second // from a pod that cannot start to the event with the reason
)

// deviceStatus is the status of one device in a claim.
type deviceStatus struct {
	Device      string
	Ready       metav1.Condition
	NetworkData *resourceapi.NetworkDeviceData
	Data        v1alpha1.NetDeviceStatus
}

// statusesOf returns the status of each device of a claim, by request.
func statusesOf(claim resourceapi.ResourceClaim) (map[string]deviceStatus, error) {
	if claim.Status.Allocation == nil {
		return nil, errors.New("the claim is not allocated")
	}
	all := map[string]deviceStatus{}
	for _, r := range claim.Status.Allocation.Devices.Results {
		i := slices.IndexFunc(claim.Status.Devices, func(d resourceapi.AllocatedDeviceStatus) bool {
			return d.Driver == r.Driver && d.Pool == r.Pool && d.Device == r.Device
		})
		if i < 0 {
			return nil, fmt.Errorf("the claim's status has no entry for device %s", r.Device)
		}
		d := claim.Status.Devices[i]
		s := deviceStatus{Device: d.Device, NetworkData: d.NetworkData}
		for _, c := range d.Conditions {
			if c.Type == v1alpha1.ConditionReady {
				s.Ready = c
			}
		}
		if d.Data != nil {
			if err := json.Unmarshal(d.Data.Raw, &s.Data); err != nil {
				return nil, err
			}
		}
		all[r.Request] = s
	}
	return all, nil
}

// awaitStatus waits until the only device of a claim has the condition Ready with
// this status and reason, and f, which may be nil, returns no error.
func awaitStatus(t *testing.T, claim string, ready metav1.ConditionStatus, reason string, f func(deviceStatus) error) deviceStatus {
	t.Helper()
	return awaitStatusWithin(t, statusLimit, claim, ready, reason, f)
}

// awaitStatusWithin is awaitStatus with another time limit.
func awaitStatusWithin(t *testing.T, limit time.Duration, claim string, ready metav1.ConditionStatus, reason string, f func(deviceStatus) error) deviceStatus {
	t.Helper()
	var found deviceStatus
	eventually(t, limit, "status of claim "+claim, func() error {
		c, err := get[resourceapi.ResourceClaim]("resourceclaim", claim)
		if err != nil {
			return err
		}
		all, err := statusesOf(c)
		if err != nil {
			return err
		}
		for _, s := range all {
			found = s
		}
		if len(all) != 1 || found.Ready.Status != ready || found.Ready.Reason != reason {
			return fmt.Errorf("want Ready %s, %s; got %+v", ready, reason, all)
		}
		if f != nil {
			return f(found)
		}
		return nil
	})
	return found
}

// nicClaim returns a claim for the NIC with this name on the node. config are the
// driver's parameters in YAML's flow style.
func nicClaim(name, ifName, config string) string {
	return fmt.Sprintf(`
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: %[1]s}
spec:
  devices:
    requests:
    - name: nic
      exactly:
        deviceClassName: dra-netdev
        selectors: [{cel: {expression: 'device.attributes["dra-netdev.github.io"].ifName == "%[2]s"'}}]
    config:
    - opaque: {driver: dra-netdev.github.io, parameters: %[3]s}
---`, name, ifName, config)
}

// podFor returns a pod with these claims. fields are further fields of its spec, in
// YAML.
func podFor(name, fields string, claims ...string) string {
	var refs, uses string
	for _, c := range claims {
		refs += fmt.Sprintf("{name: %[1]s, resourceClaimName: %[1]s},", c)
		uses += fmt.Sprintf("{name: %s},", c)
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  %s
  resourceClaims: [%s]
  containers:
  - name: shell
    image: busybox:1
    command: [sleep, infinity]
    resources: {claims: [%s]}
---`, name, fields, refs, uses)
}

// eventOf waits for an event of a pod whose message contains all of the words.
func eventOf(t *testing.T, pod, reason string, words ...string) {
	t.Helper()
	uid := mustGet[corev1.Pod](t, "pod", pod).UID // an earlier pod may have had the same name
	eventually(t, eventLimit, fmt.Sprintf("event %s of pod %s with %q", reason, pod, words), func() error {
		list, err := get[corev1.EventList]("events", "--field-selector=involvedObject.kind=Pod,involvedObject.uid="+string(uid)+",reason="+reason)
		if err != nil {
			return err
		}
		err = errors.New("found none")
		for _, e := range list.Items {
			if err = hasAll(e.Message, words); err == nil {
				return nil
			}
		}
		return err
	})
}

// notStarted fails the test if a container of the pod has been started.
func notStarted(t *testing.T, pod string) {
	t.Helper()
	p := mustGet[corev1.Pod](t, "pod", pod)
	if p.Status.Phase != corev1.PodPending || p.Spec.NodeName == "" {
		t.Errorf("pod %s is %s on node %q, want it Pending on a node", pod, p.Status.Phase, p.Spec.NodeName)
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if c.State.Waiting == nil || c.LastTerminationState.Terminated != nil || c.RestartCount > 0 {
			t.Errorf("pod %s: a container was started: %+v", pod, c)
		}
	}
}
