//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestNamesSwapped checks that a pod whose node comes back from a reboot with the
// names of two interfaces exchanged does not get the other one, gets an event that says why, and
// starts by itself when the names are right again.
func TestNamesSwapped(t *testing.T) {
	ownCluster(t)
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	uses := use{"known", eth1}
	apply(t, uses.manifest()+guardedPod(t, "known", uses))
	ready(t, "known")
	inPod(t, eth1, "known", "net1")
	awaitStatus(t, "known", "True", "Attached", nil)

	onNode(t, "n1", "reboot")
	// What is called eth1 now has the address, and the wire, of what was eth2.
	exchanged := eth1.again() + eth2.again() + "ip link set eth1 name other\nip link set eth2 name eth1\nip link set other name eth2\n"
	onNode(t, "n1", "sh", "-ec", exchanged)
	awaitDriver(t, nodeCount)
	words := []string{"interface eth1 is not the one that the claim was allocated to", eth1.before.mac() + " and is now called eth2"}
	awaitStatusWithin(t, recoverLimit, "known", "False", "PrepareFailed", func(s deviceStatus) error { return hasAll(s.Ready.Message, words) })
	eventOf(t, "known", "FailedPrepareDynamicResources", words...)
	if got := starts(t, "known"); got != 1 {
		t.Errorf("the container was started %d times, want once, before the reboot", got)
	}
	if now := onNode(t, "n1", "sh", "-c", "cat /sys/class/net/eth1/address"); strings.TrimSpace(now) != eth2.before.mac() {
		t.Errorf("eth1 on the node has address %s, want it there as it was", now)
	}

	unmake(t, []*nic{eth1, eth2})
	onNode(t, "n1", "sh", "-ec", eth1.again()+eth2.again())
	awaitStarts(t, "known", 2)
	ready(t, "known")
	inPod(t, eth1, "known", "net1")
	deletePod(t, "known")
}
