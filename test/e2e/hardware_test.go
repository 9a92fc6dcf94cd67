//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// hardwareOf returns what ethtool shows of features and channels: name → value.
func hardwareOf(out string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			all[name] = strings.TrimSpace(value)
		}
	}
	return all
}

// TestEthtool checks that a claim's features and channels apply in the pod and end
// with it, and that what the interface does
// not have is refused before the pod starts.
func TestEthtool(t *testing.T) {
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	const show = "ethtool -k NIC; ethtool -l NIC"
	onHost := func() map[string]string {
		return hardwareOf(onNode(t, "n1", "sh", "-c", strings.ReplaceAll(show, "NIC", "eth1")))
	}
	before := onHost()
	check := untouched(t, eth2)

	apply(t, nicClaim("hardware", "eth1", `{interface: {name: net1}, ethtool: {channels: {rx: 2, tx: 2}, features: {tso: false, tx-tcp6-segmentation: true, rx-gro-list: true, lro: false}}}`)+
		podFor("hardware", "", "hardware"))
	apply(t, nicClaim("no-hardware", "eth2", `{interface: {name: net1}, ethtool: {channels: {rx: 99}, features: {foo: true, rx-all: true}, rings: {rx: 512}}}`)+
		podFor("no-hardware", "", "no-hardware"))
	ready(t, "hardware")
	inPod := hardwareOf(kubectl(t, "exec", "hardware", "--", "sh", "-c", strings.ReplaceAll(show, "NIC", "net1")))
	for name, want := range map[string]string{
		"tx-tcp-segmentation": "off", "tx-tcp6-segmentation": "on", "rx-gro-list": "on", "RX": "2", "TX": "2",
	} {
		if inPod[name] != want {
			t.Errorf("%s in the pod: got %q, want %q", name, inPod[name], want)
		}
	}
	eventOf(t, "no-hardware", "FailedPrepareDynamicResources", `ethtool.channels.rx: "99": the interface takes 2 at most`,
		`ethtool.features.foo: "true": the interface has no such feature`, `ethtool.features.rx-all: "true": the interface's driver does not let it change`,
		`ethtool.rings.rx: "512": the interface has no such setting`)
	notStarted(t, "no-hardware")
	check()

	deletePod(t, "hardware")
	restored(t, eth1)
	after := onHost()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if before[name] != after[name] {
			t.Errorf("%s on the host: got %q, want %q", name, after[name], before[name])
		}
	}
}

// TestHostOnlySettings checks that what the kernel removes from an interface that leaves
// the host, and what a pod does not get, is there again when the pod has ended. With
// its FDB entry the interface is offered because test/e2e/values.yaml includes it.
func TestHostOnlySettings(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth-fdb", n: 1}
	makeNICs(t, eth1)
	onNode(t, "n1", "sh", "-ec", `
bridge fdb add 02:00:00:00:00:99 dev eth-fdb self permanent
ip maddress add 01:02:03:04:05:06 dev eth-fdb
ip neigh add proxy 192.0.2.77 dev eth-fdb
echo 99 > /proc/sys/net/ipv4/neigh/eth-fdb/gc_stale_time
ip nexthop add id 7 via 10.20.1.254 dev eth-fdb
ip rule add iif eth-fdb priority 700 table 70
`)
	t.Cleanup(func() { tryNode("n1", "ip", "rule", "del", "priority", "700") })
	const show = `bridge fdb show dev eth-fdb | grep 02:00:00; ip maddress show dev eth-fdb | grep static; ip neigh show proxy dev eth-fdb
cat /proc/sys/net/ipv4/neigh/eth-fdb/gc_stale_time; ip nexthop show dev eth-fdb; ip rule show priority 700`
	var err error // a veth with such an entry is promiscuous
	if eth1.before, err = hostState(eth1); err != nil {
		t.Fatal(err)
	}
	before := onNode(t, "n1", "sh", "-c", show)
	if strings.Count(before, "\n") != 6 {
		t.Fatalf("the host has\n%s", before)
	}
	apply(t, nicClaim("host-only", "eth-fdb", `{interface: {name: net1}}`)+podFor("host-only", "", "host-only"))
	ready(t, "host-only")
	if inPod := kubectl(t, "exec", "host-only", "--", "sh", "-c", "bridge fdb show dev net1; ip maddress show dev net1; ip neigh show proxy; ip nexthop show"); strings.Contains(inPod, "02:00:00:00:00:99") ||
		strings.Contains(inPod, "static") || strings.Contains(inPod, "proxy") || strings.Contains(inPod, "id 7") {
		t.Errorf("the pod has\n%s", inPod)
	}
	deletePod(t, "host-only")
	restored(t, eth1)
	if after := onNode(t, "n1", "sh", "-c", show); after != before {
		t.Errorf("the host has\n%s\nwant\n%s", after, before)
	}
}
