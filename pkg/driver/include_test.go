package driver

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
)

// TestIncluded checks that a link that Include names is published, prepared and
// moved in spite of a rule, that inventory reports which one, and that without
// Include it is neither offered nor moved, also if it was prepared before.
func TestIncluded(t *testing.T) {
	w := newWorld(t, "")
	const need, over = "ip route add default via 192.0.2.254 dev h0 table 7\nip rule add fwmark 7 lookup 7", "ip rule del fwmark 7 lookup 7"
	const why = "rules of the host send traffic to its default route in table 7"
	w.host(need)
	t.Cleanup(func() { w.host(over) })
	w.before = w.snapshot()
	w.eventually("h0 is withdrawn", func() bool { return !slices.Contains(w.published(), "h0") })
	c := w.claim("c", "h0", net1, "web")
	refused(t, w.prepare(c), why)

	restart := func(expression string) {
		var err error
		w.include, err = inventory.NewFilter(expression)
		must(t, err)
		w.stop()
		w.startDriver()
	}
	restart(`device.attributes["dra-netdev.github.io"].ifName == "h0"`)
	w.eventually("h0 is offered", func() bool { return slices.Contains(w.published(), "h0") })
	devices, err := w.driver.cfg.Inventory(w.ctx, "", "", "")
	must(t, err)
	if i := slices.IndexFunc(devices, func(d inventory.Device) bool { return d.Name == "h0" }); devices[i].Skipped != "" || devices[i].Included != why {
		t.Errorf("h0: skipped %q, included although %q, want %q", devices[i].Skipped, devices[i].Included, why)
	}
	devices, err = w.driver.cfg.Inventory(w.ctx, "", "false", "")
	must(t, err)
	if reason, _ := skippedFor(devices, "h0"); reason != why {
		t.Errorf("with another expression h0 is not offered because of %q, want %q", reason, why)
	}
	must(t, w.prepare(c))
	restart("false")
	refused(t, w.run(w.pod("web", "s1")), "interface h0 of claim default/c stays on the host: "+why)
	restart("true")
	p := w.pod("web", "s2")
	must(t, w.create(p, c))
	w.end(p)
	w.unprepare(c)
	w.eventually("the link is restored", func() bool { return w.snapshot() == w.before })
}

// TestAddressesOutliveTheProcess checks that the node's addresses are known to the
// next process although there is no API server, and are kept when the Node
// object has none.
func TestAddressesOutliveTheProcess(t *testing.T) {
	dir, client := t.TempDir(), newClient()
	node, err := client.CoreV1().Nodes().Get(t.Context(), nodeName, metav1.GetOptions{})
	must(t, err)
	setTo := func(addrs ...corev1.NodeAddress) {
		node.Status.Addresses = addrs
		_, err = client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{})
		must(t, err)
	}
	want := []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}
	n := newNodeAddresses(client, nodeName, dir)
	must(t, n.refresh(t.Context()))
	if got := n.get(); len(got) > 0 {
		t.Errorf("a new node has the addresses %v", got)
	}
	setTo(corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "203.0.113.7"}, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "2001:db8::7"}, corev1.NodeAddress{Type: corev1.NodeHostName, Address: "n1"})
	must(t, n.refresh(t.Context()))
	setTo()
	must(t, n.refresh(t.Context()))
	for name, n := range map[string]*nodeAddresses{"this process": n, "the next one": newNodeAddresses(client, nodeName, dir)} {
		if got := n.get(); !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
	if next := newNodeAddresses(client, nodeName, dir); next.areKnown() {
		t.Error("addresses of another process count as read")
	}
}
