package netdev

import (
	"context"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestVRF checks that a config with a VRF is refused by a kernel that has none; on
// any other TestVMVRF's checks are made.
func TestVRF(t *testing.T) {
	if tryVRF() == nil {
		testVRF(t)
		return
	}
	w := newWorld(t, "ip link set h0 up", "")
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal(err)
	}
	original, l, err := Read(context.Background(), w.host, Identify(l, "nd-test-0"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := v1alpha1.Decode(v1alpha1.Parameters{Raw: []byte(`{"interface":{"vrf":{"name":"blue"}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Desired(l, original, c)
	if want := `interface.vrf.name: "blue": the node's kernel has no VRF: `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
	w.asBefore()
}

// testVRF checks that links are put into a VRF with all their addresses and routes,
// that two share one, and that both namespaces are as before when they have left.
func testVRF(t *testing.T) {
	const more = rich + "\nip link add h1 type veth peer name p1\nip link set p1 up\nip link set h1 up\nip addr add 10.11.0.1/24 dev h1"
	w := newWorld(t, more, "")
	p0 := w.plan("h0", `{"interface":{"name":"net0","vrf":{"name":"blue","table":77}},
		"routes":[{"destination":"10.8.0.0/16","gateway":"192.0.2.254"},{"destination":"10.7.0.0/16"},{"destination":"10.6.0.0/16","gateway":"10.7.0.9"},{"destination":"2001:db8:77::/48","gateway":"2001:db8::fe"}]}`)
	p1 := w.plan("h1", `{"interface":{"name":"net1","vrf":{"name":"blue","table":77}}}`)
	for _, plans := range [][]Plan{{p0, p1}, {p1, p0}} {
		for i, a := range w.attach(plans...) {
			if len(a.Omitted) > 0 || a.State.VRF == nil || *a.State.VRF != (vrf{"blue", 77}) {
				t.Errorf("%s: omitted %q, VRF %v", plans[i].Want.Name, a.Omitted, a.State.VRF)
			}
		}
		w.attach(plans...) // as the next process does
		got := w.Pod.Snapshot()
		for _, want := range []string{
			"inet6 2001:db8::1/64", "inet6 2001:db8:1::1/64", "inet 192.0.2.1/24", "10.8.0.0/16 via 192.0.2.254 dev net0 table 77", "10.6.0.0/16 via 10.7.0.9 dev net0 table 77",
			"2001:db8:77::/48 via 2001:db8::fe dev net0 table 77", "10.1.0.0/16 via 192.0.2.254 dev net0 table 77",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("the pod lacks %q", want)
			}
		}
		if t.Failed() {
			t.Log(got)
		}
		for command, want := range map[string]string{
			"ip -br link show master blue": "net1", "ip -d link show blue": "vrf table 77",
			"ip rule": "l3mdev", "ip -6 rule": "l3mdev", "sysctl net.ipv4.tcp_l3mdev_accept net.ipv4.udp_l3mdev_accept": "tcp_l3mdev_accept = 1",
			"ip route get 10.11.0.9 vrf blue": "net1", "ip -6 route get 2001:db8::9 vrf blue": "net0", "ip route show table main": "",
		} {
			if got := w.Pod.Run(command); !strings.Contains(got, want) {
				t.Errorf("%s: got %q, want %q", command, got, want)
			}
		}
		w.detach(plans[0])
		if got := w.Pod.Run("ip -br link show type vrf"); !strings.Contains(got, "blue") {
			t.Errorf("the VRF is gone while an interface is in it: %q", got)
		}
		w.detach(plans[1])
		w.asBefore()
		if got := w.Pod.Run("sysctl net.ipv4.tcp_l3mdev_accept net.ipv4.udp_l3mdev_accept"); strings.Contains(got, "= 1") {
			t.Errorf("in the pod afterwards: %s", got)
		}
	}
	testVRFRefused(t, w, p0)
}

// testVRFRefused checks what the pod has in the way of a VRF, and that everything is
// as before then.
func testVRFRefused(t *testing.T, w *world, p Plan) {
	for _, tt := range []struct{ inPod, undo, want string }{
		{"ip link add blue type vrf table 5", "ip link del blue", `interface.vrf: "blue": the VRF of this name in the pod has the table 5, not 77`},
		{"ip link add red type vrf table 77", "ip link del red", `interface.vrf: "blue": the VRF red of the pod has its table 77`},
		{"ip link add blue type veth peer name red", "ip link del blue", `interface.vrf: "blue": `},
	} {
		w.Pod.Lines(tt.inPod)
		before := w.Pod.Settled()
		_, err := Attach(context.Background(), w.host, w.pod, []Plan{p})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", tt.inPod, err, tt.want)
		}
		w.Pod.Same(before, "the pod")
		w.Host.Same(w.hostBefore, "the host")
		w.Pod.Lines(tt.undo)
	}
	// One that the pod made is used, and stays.
	w.Pod.Lines("ip link add blue type vrf table 77")
	w.attach(p)
	w.detach(p)
	if got := w.Pod.Run("ip -br link show type vrf"); !strings.Contains(got, "blue") {
		t.Errorf("the pod's own VRF is gone: %q", got)
	}
}
