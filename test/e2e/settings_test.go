//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// testKernelSettings checks settings of the kernel for one interface in the pod,
// and that the host's are restored.
func testKernelSettings(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	const sysctls = `cd /proc/sys/net; grep -s . ipv4/conf/NIC/* ipv6/conf/NIC/* | grep -v stable_secret`
	onHost := func() string { return onNode(t, "n1", "sh", "-c", strings.ReplaceAll(sysctls, "NIC", "eth1")) }
	onNode(t, "n1", "sh", "-ec", "cd /proc/sys/net; echo 1 > ipv4/conf/eth1/rp_filter; echo 77 > ipv6/conf/eth1/hop_limit; echo 2 > ipv4/conf/eth1/arp_ignore")
	before := onHost()

	example(t, "11-kernel-settings.yaml")
	ready(t, "kernel-settings")
	inside := kubectl(t, "exec", "kernel-settings", "--", "sh", "-c", `cd /proc/sys/net
grep . ipv?/conf/net1/forwarding ipv4/conf/net1/arp_* ipv4/conf/net1/rp_filter ipv6/conf/net1/accept_ra_defrtr ipv4/neigh/net1/gc_stale_time ipv4/conf/eth0/arp_ignore`)
	for _, want := range []string{
		"ipv4/conf/net1/forwarding:1", "ipv6/conf/net1/forwarding:1", "ipv4/conf/net1/arp_ignore:1", "ipv4/conf/net1/arp_announce:2",
		"ipv4/conf/net1/rp_filter:2", "ipv6/conf/net1/accept_ra_defrtr:0", "ipv4/neigh/net1/gc_stale_time:120", "ipv4/conf/eth0/arp_ignore:0",
	} {
		if !strings.Contains(inside, want+"\n") {
			t.Errorf("the pod lacks %s:\n%s", want, inside)
		}
	}
	link := podState(t, "kernel-settings", "net1").Link
	if got := fmt.Sprint(link["gso_max_size"], link["gro_max_size"], link["txqlen"]); got != "32768 131072 2000" {
		t.Errorf("gso_max_size, gro_max_size, txqlen in the pod: got %s", got)
	}
	deletePod(t, "kernel-settings")
	restored(t, eth1)
	if after := onHost(); after != before {
		t.Errorf("sysctls on the host: got\n%s\nwant\n%s", after, before)
	}
}

// TestSettingsRefused checks that what the node's kernel does not take is refused
// before the pod starts.
func TestSettingsRefused(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	check := untouched(t, eth1)
	apply(t, nicClaim("no-settings", "eth1", `{interface: {name: net1, gsoMaxSize: 524280, sysctls: {
		net.ipv4.conf.IFNAME.no_such_thing: "1", net.ipv6.conf.IFNAME.addr_gen_mode: "9", net.ipv4.conf.IFNAME.rp_filter: "1"}}}`)+podFor("no-settings", "", "no-settings"))
	eventOf(t, "no-settings", "FailedPrepareDynamicResources", `interface.sysctls.net.ipv4.conf.IFNAME.no_such_thing: "1": the node's kernel has no such setting`,
		`interface.sysctls.net.ipv6.conf.IFNAME.addr_gen_mode: "9": the node's kernel refuses it: invalid argument`)
	notStarted(t, "no-settings")
	check()
}

// TestPodVRF checks an interface in a VRF, or on a kernel without VRFs that the claim
// is refused before the pod starts.
func TestPodVRF(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	_, noVRF := tryNode("n1", "unshare", "--net", "ip", "link", "add", "blue", "type", "vrf", "table", "100")
	check := untouched(t, eth1)
	apply(t, nicClaim("vrf", "eth1", `{interface: {name: net1, vrf: {name: blue, table: 100}}}`)+podFor("vrf", "", "vrf"))
	if noVRF != nil {
		eventOf(t, "vrf", "FailedPrepareDynamicResources", `interface.vrf.name: "blue": the node's kernel has no VRF`)
		notStarted(t, "vrf")
		check()
		return
	}
	ready(t, "vrf")
	for _, to := range []string{eth1.far4(), eth1.far6()} {
		kubectl(t, "exec", "vrf", "--", "ping", "-c1", "-W2", "-I", "blue", to)
	}
	deletePod(t, "vrf")
	restored(t, eth1)
}
