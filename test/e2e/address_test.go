//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestAddresses checks addresses with their settings in the pod, after duplicate
// address detection, and that routers are ignored there.
func TestAddresses(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	apply(t, nicClaim("addresses", "eth1", `{interface: {name: net1, addressPolicy: Replace, waitForDAD: true, addresses: [198.51.100.10/24,
		{address: 198.51.100.11/32, label: "net1:web"}, {address: 203.0.113.10/24, metric: 77}, 2001:db8:5::10/64]}}`)+podFor("addresses", "", "addresses"))
	ready(t, "addresses")
	inside := kubectl(t, "exec", "addresses", "--", "sh", "-c", "ip addr show net1; ip route; cat /proc/sys/net/ipv6/conf/net1/accept_ra")
	for _, want := range []string{"198.51.100.10/24", "net1:web", "203.0.113.0/24 dev net1", "metric 77", "inet6 2001:db8:5::10/64 scope global"} {
		if !strings.Contains(inside, want) {
			t.Errorf("the pod lacks %q:\n%s", want, inside)
		}
	}
	if strings.Contains(inside, "tentative") || !strings.HasSuffix(strings.TrimSpace(inside), "\n0") {
		t.Errorf("an address is tentative, or routers are not ignored:\n%s", inside)
	}
	deletePod(t, "addresses")
	restored(t, eth1)
}
