//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// makeRoutedNIC creates a NIC whose wire is that of a router, its node, and a host
// behind that, 203.0.113.2 and 2001:db8:77::2, in a namespace of its own.
func makeRoutedNIC(t *testing.T, n *nic) {
	t.Helper()
	// It changes settings and addresses of all links, so it is done before the NIC is
	// made, and undone after it is deleted.
	const forwarding = "net.ipv6.conf.all.forwarding"
	was := strings.TrimSpace(onNode(t, n.node, "sysctl", "-n", forwarding))
	t.Cleanup(func() { onNode(t, n.node, "sysctl", "-qw", forwarding+"="+was) })
	onNode(t, n.node, "sysctl", "-qw", forwarding+"=1", "net.ipv4.ip_forward=1")
	makeNICs(t, n)
	t.Cleanup(func() { onNode(t, n.node, "ip", "netns", "delete", "far") })
	onNode(t, n.node, "sh", "-ec", strings.ReplaceAll(`
ip address add 198.51.100.1/24 dev WIRE
ip address add 198.51.100.2/24 dev WIRE
ip address add 2001:db8:5::1/64 dev WIRE nodad
ip netns add far
ip link add tofar type veth peer name far netns far
ip address add 203.0.113.1/24 dev tofar
ip address add 2001:db8:77::1/64 dev tofar nodad
ip link set tofar up
ip -n far address add 203.0.113.2/24 dev far
ip -n far address add 2001:db8:77::2/64 dev far nodad
ip -n far link set far up
ip -n far route add default via 203.0.113.1
ip -n far route add default via 2001:db8:77::1`, "WIRE", n.wire()))
}

// leavesBy fails the test unless the pod sends what is asked for by the interface.
func leavesBy(t *testing.T, pod, dev string, to ...string) {
	t.Helper()
	out := kubectl(t, append([]string{"exec", pod, "--", "ip", "route", "get"}, to...)...)
	if !strings.Contains(out, "dev "+dev+" ") {
		t.Errorf("ip route get %q in pod %s: want dev %s in\n%s", to, pod, dev, out)
	}
}

// testSourceRouting checks that a pod with a second NIC answers and sends from the NIC's
// addresses through a router by the NIC, and all else by its own network.
func testSourceRouting(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeRoutedNIC(t, eth1)
	example(t, "12-source-routing.yaml")
	ready(t, "source-routing")
	leavesBy(t, "source-routing", "net1", "203.0.113.2", "from", "198.51.100.10")
	leavesBy(t, "source-routing", "eth0", "203.0.113.2")
	leavesBy(t, "source-routing", "net1", "2001:db8:77::2", "from", "2001:db8:5::10")
	for from, to := range map[string]string{"198.51.100.10": "203.0.113.2", "2001:db8:5::10": "2001:db8:77::2"} {
		ping(t, "source-routing", from, to, 3)
		onNode(t, "n1", "ip", "netns", "exec", "far", "busybox", "ping", "-c", "3", "-i", "0.2", "-W", "2", from)
	}
	shown := kubectl(t, "exec", "source-routing", "--", "ip", "route", "show")
	if strings.Count(shown, "default") != 1 || !strings.Contains(shown, "dev eth0") {
		t.Errorf("want the default route of the pod's network only:\n%s", shown)
	}
	awaitStatus(t, "source-routing", "True", "Attached", nil)
}

// testPolicyRouting checks rules, routes with several gateways and routes without an
// interface in a pod.
func testPolicyRouting(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeRoutedNIC(t, eth1)
	example(t, "13-policy-routing.yaml")
	ready(t, "policy-routing")
	leavesBy(t, "policy-routing", "net1", "203.0.113.2", "from", "198.51.100.10")
	leavesBy(t, "policy-routing", "eth0", "203.0.113.2")
	ping(t, "policy-routing", "198.51.100.10", "203.0.113.2", 3)
	if out, err := tryKubectl("exec", "policy-routing", "--", "ip", "route", "get", "192.0.2.1", "from", "198.51.100.10"); err == nil {
		t.Errorf("what the table has no route for is not refused:\n%s", out)
	}
	for command, wants := range map[string][]string{
		"ip rule":                 {"1000:\tfrom 198.51.100.10 lookup 100", "1001:\tfrom all to 203.0.113.0/24 ipproto", "dport 2049 lookup 100"},
		"ip route show table 100": {"203.0.113.0/24 proto static mtu 1400", "nexthop via 198.51.100.1 dev net1 weight 2", "nexthop via 198.51.100.2 dev net1 weight 1", "unreachable default"},
	} {
		shown := kubectl(t, append([]string{"exec", "policy-routing", "--"}, strings.Fields(command)...)...)
		for _, want := range wants {
			if !strings.Contains(shown, want) {
				t.Errorf("%s lacks %q:\n%s", command, want, shown)
			}
		}
	}
}
