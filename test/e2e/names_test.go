//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// testAddressPool checks that two pods of one template get addresses of their own
// from the pool of their class, and that a new pod gets one that became free.
func testAddressPool(t *testing.T) {
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	t.Cleanup(func() { kubectl(t, "delete", "deviceclass", "address-pool", "--ignore-not-found") })
	example(t, "09-address-pool.yaml")
	want := []string{"198.51.100.10/24 2001:db8:5::10/64", "198.51.100.11/24 2001:db8:5::11/64"}
	addresses := func() (got []string) {
		for _, p := range replicas(t, 2, "app=address-pool") {
			inside := podState(t, p.Name, "net0")
			got = append(got, strings.Join(inside.global(), " "))
			if route := "203.0.113.0/24 gateway=198.51.100.1"; !slices.Contains(words(inside.wanted("net0").Routes, "dst", "gateway"), route) {
				t.Errorf("pod %s has no route %s", p.Name, route)
			}
		}
		slices.Sort(got)
		return got
	}
	if diff := gocmp.Diff(want, addresses()); diff != "" {
		t.Errorf("addresses of the pods (-want +got):\n%s", diff)
	}
	deletePod(t, replicas(t, 2, "app=address-pool")[0].Name)
	if diff := gocmp.Diff(want, addresses()); diff != "" {
		t.Errorf("addresses after one pod was made anew (-want +got):\n%s", diff)
	}
	kubectl(t, "scale", "deployment/address-pool", "--replicas=0")
	eventually(t, podLimit, "deletion of the pods and their claims", nothingLeft)
}

// testSeveralNICs checks that all interfaces of a request get names from one
// template.
func testSeveralNICs(t *testing.T) {
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	example(t, "10-several-nics.yaml")
	ready(t, "several-nics")
	inPod(t, eth1, "several-nics", "net0")
	inPod(t, eth2, "several-nics", "net1")
}
