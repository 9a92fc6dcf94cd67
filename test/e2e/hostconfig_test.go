//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestUsualHostConfig checks a pod with two NICs that are set up as on usual hosts:
// one as NetworkManager does it, with link-local addresses and an altname that is
// the other NIC's name in the pod, and one to which the claim gives link-local
// addresses.
func TestUsualHostConfig(t *testing.T) {
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	onNode(t, "n1", "sh", "-ec", `
ip link property add dev eth1 altname net2
ip address add 169.254.7.7/16 dev eth1
ip address add fe80::7/64 dev eth1 nodad
ip address add 192.0.2.7/24 dev eth1 noprefixroute
ip route add 192.0.2.0/24 dev eth1 proto kernel scope link src 192.0.2.7 metric 100
ip address add 2001:db8:7::7/64 dev eth1 nodad noprefixroute
ip route add 2001:db8:7::/64 dev eth1 proto kernel metric 100
ip route add 10.5.0.0/16 via 192.0.2.1 dev eth1 proto static metric 100
ip address add 192.0.2.1/24 dev wire1
ip address add 2001:db8:7::1/64 dev wire1 nodad
ip address add 10.5.0.1/32 dev wire1
ip address add 169.254.10.2/30 dev wire2`)
	for _, n := range []*nic{eth1, eth2} {
		var err error
		if n.before, err = hostState(n); err != nil {
			t.Fatal(err)
		}
	}

	apply(t, nicClaim("as-it-is", "eth1", `{interface: {name: net1}}`)+
		nicClaim("link-local", "eth2", `{interface: {name: net2, addresses: [169.254.10.1/30, "fe80::5/64"]}}`)+
		podFor("usual", "", "as-it-is", "link-local"))
	ready(t, "usual")
	for _, to := range []string{"192.0.2.1", "2001:db8:7::1", "10.5.0.1"} {
		ping(t, "usual", "net1", to, 1)
	}
	ping(t, "usual", "net2", "169.254.10.2", 1)
	shown := kubectl(t, "exec", "usual", "--", "ip", "address", "show")
	for _, want := range []string{"inet 169.254.7.7/16", "inet6 fe80::7/64", "inet 169.254.10.1/30", "inet6 fe80::5/64"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the pod lacks %q:\n%s", want, shown)
		}
	}
	awaitStatus(t, "as-it-is", "True", "Attached", func(s deviceStatus) error {
		return hasAll(strings.Join(s.Data.Omitted, "\n"), []string{"altname net2"})
	})
	awaitStatus(t, "link-local", "True", "Attached", func(s deviceStatus) error {
		if s.NetworkData == nil || len(s.NetworkData.IPs) > 0 { // the API does not allow link-local addresses
			return fmt.Errorf("networkData is %+v", s.NetworkData)
		}
		return nil
	})
	deletePod(t, "usual")
	restored(t, eth1)
	restored(t, eth2)
}
