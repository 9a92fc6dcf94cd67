//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// testBandwidth checks that the pod has the limits of its claim and none of the
// host's traffic control, which is restored with its classes and filters.
func testBandwidth(t *testing.T) {
	eth1 := &nic{node: "n1", name: "eth1", n: 1}
	makeNICs(t, eth1)
	onNode(t, "n1", "sh", "-ec", `tc qdisc add dev eth1 root handle 1: htb default 20
tc class add dev eth1 parent 1: classid 1:1 htb rate 800mbit
tc class add dev eth1 parent 1:1 classid 1:20 htb rate 300mbit ceil 800mbit
tc qdisc add dev eth1 parent 1:20 handle 20: pfifo limit 55
tc filter add dev eth1 parent 1: protocol ip pref 5 u32 match ip dport 80 0xffff flowid 1:20
tc qdisc add dev eth1 clsact
tc filter add dev eth1 ingress protocol all pref 7 u32 match u32 0 0 action mirred ingress mirror dev lo`)
	onHost := func() string {
		return onNode(t, "n1", "sh", "-ec", `tc qdisc show dev eth1 | sed 's/refcnt [0-9]*//; s/direct_packets_stat [0-9]*//'
tc class show dev eth1
tc filter show dev eth1 parent 1:
tc filter show dev eth1 ingress | grep -v -e used_hw -e index || true`)
	}
	before := onHost()

	example(t, "14-bandwidth.yaml")
	ready(t, "bandwidth")
	inside := kubectl(t, "exec", "bandwidth", "--", "sh", "-c", "tc qdisc show | sed 's/refcnt [0-9]* //'; tc filter show dev net1 ingress")
	for _, want := range []string{"dev net1 root rate 50Mbit", "root rate 100Mbit", "mirred (Egress Redirect to device nd-in-"} {
		if !strings.Contains(inside, want) {
			t.Errorf("the pod lacks %q:\n%s", want, inside)
		}
	}
	if strings.Contains(inside, "htb") {
		t.Errorf("the pod has the host's:\n%s", inside)
	}
	ping(t, "bandwidth", "net1", eth1.far4(), 2)
	deletePod(t, "bandwidth")
	eventually(t, restoreLimit, "restored traffic control", func() error {
		if now, err := tryNode("n1", "ip", "link", "show", "eth1"); err != nil {
			return fmt.Errorf("%s: %w", now, err)
		}
		if diff := gocmp.Diff(strings.Split(before, "\n"), strings.Split(onHost(), "\n")); diff != "" {
			return fmt.Errorf("(-before +now):\n%s", diff)
		}
		return nil
	})
	onNode(t, "n1", "sh", "-ec", "tc qdisc del dev eth1 root; tc qdisc del dev eth1 clsact")
	restored(t, eth1)
}
