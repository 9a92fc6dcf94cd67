//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// speedClaim returns a claim for a NIC with these properties and this bandwidth.
func speedClaim(name, selector, bandwidth string) string {
	return fmt.Sprintf(`
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: %s}
spec:
  devices:
    requests:
    - name: nic
      exactly:
        deviceClassName: dra-netdev
        selectors: [{cel: {expression: '%s'}}]
        capacity: {requests: {bandwidth: %s}}
---`, name, selector, bandwidth)
}

// TestSelect checks that claims get a NIC by its driver, carrier, largest MTU, speed
// and bandwidth, that none gets one that has less, and that the NIC has the same
// attributes in its slice while it is in the pod.
func TestSelect(t *testing.T) {
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	onNode(t, "n1", "ip", "link", "set", eth2.wire(), "down")
	t.Cleanup(func() { onNode(t, "n1", "ip", "link", "set", eth2.wire(), "up") })

	own := map[resourceapi.QualifiedName]any{
		v1alpha1.AttributeDriver: "veth", v1alpha1.AttributeCarrier: true, v1alpha1.AttributeSpeedMbps: int64(10000), v1alpha1.AttributeMaxMTU: int64(65535),
		v1alpha1.AttributeRDMA: false, "duplex": "full", "vlan": nil, "resource.kubernetes.io/pciBusID": nil, v1alpha1.CapacityBandwidth: "10G",
	}
	published := func(name string) func() error {
		return func() error {
			devices, err := devicesOf("n1")
			if err != nil {
				return err
			}
			got := map[resourceapi.QualifiedName]any{}
			for key := range own {
				got[key] = anyValue(devices[name], key)
			}
			want := own
			if name == "eth2" {
				want = map[resourceapi.QualifiedName]any{}
				for key, value := range own {
					want[key] = value
				}
				want[v1alpha1.AttributeCarrier] = false
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				return fmt.Errorf("attributes of %s (-want +got):\n%s", name, diff)
			}
			return nil
		}
	}
	eventually(t, publishLimit, "attributes of eth1", published("eth1"))
	eventually(t, publishLimit, "lost carrier of eth2", published("eth2"))

	// The wires have the same properties.
	const a = `device.attributes["dra-netdev.github.io"]`
	fits := fmt.Sprintf(`%[1]s.ifName.startsWith("eth") && %[1]s.driver == "veth" && %[1]s.carrier && %[1]s.maxMTU >= 9000 && %[1]s.speedMbps >= 10000 && !%[1]s.rdma && %[1]s.?vlan.orValue(0) == 0`, a)
	apply(t, speedClaim("fast", fits, "10G")+podFor("fast", "", "fast"))
	ready(t, "fast")
	if claim := mustGet[resourceapi.ResourceClaim](t, "resourceclaim", "fast"); claim.Status.Allocation.Devices.Results[0].Device != "eth1" {
		t.Errorf("the claim got %+v, want eth1, which has a carrier", claim.Status.Allocation.Devices.Results)
	}
	if err := published("eth1")(); err != nil {
		t.Errorf("while it is in a pod: %v", err)
	}
	apply(t, speedClaim("faster", a+".driver == \"veth\"", "10001M")+podFor("faster", "", "faster"))
	eventOf(t, "faster", "FailedScheduling", "cannot allocate all claims")
	apply(t, speedClaim("live", fmt.Sprintf(`%[1]s.ifName.startsWith("eth") && %[1]s.carrier`, a), "1M")+podFor("live", "", "live"))
	eventOf(t, "live", "FailedScheduling", "cannot allocate all claims")
	kubectl(t, "delete", "pod", "faster", "live")
	deletePod(t, "fast")
	kubectl(t, "delete", "resourceclaim", "fast", "faster", "live")
}

// anyValue returns an attribute or a capacity of a device, or nil if it has none of
// that name.
func anyValue(d resourceapi.Device, name resourceapi.QualifiedName) any {
	if c, ok := d.Capacity[name]; ok {
		return c.Value.String()
	}
	switch a := d.Attributes[name]; {
	case a.StringValue != nil:
		return *a.StringValue
	case a.IntValue != nil:
		return *a.IntValue
	case a.BoolValue != nil:
		return *a.BoolValue
	}
	return nil
}
