package driver

import (
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"

	"github.com/google/go-cmp/cmp"
)

// TestSwapped is the table of what is another interface under the old name, and
// what is the same one, made anew.
func TestSwapped(t *testing.T) {
	a, b, c, zero := nic.HardwareAddr{2, 0, 0, 0, 0, 0xa}, nic.HardwareAddr{2, 0, 0, 0, 0, 0xb}, nic.HardwareAddr{2, 0, 0, 0, 0, 0xc}, nic.HardwareAddr{0, 0, 0, 0, 0, 0}
	hardware := func(address nic.HardwareAddr) v1alpha1.HostIdentity {
		return v1alpha1.HostIdentity{Address: address, PermanentAddress: address}
	}
	virtual := func(kind string, address, lower nic.HardwareAddr) v1alpha1.HostIdentity {
		return v1alpha1.HostIdentity{Kind: kind, Address: address, LowerAddress: lower}
	}
	changed := v1alpha1.HostIdentity{Address: c, PermanentAddress: a}
	const pci, named = "pci-0000-3b-00-0", "eth1"
	for _, tt := range []struct {
		name     string
		device   string
		was, now v1alpha1.HostIdentity
		others   map[string]v1alpha1.HostIdentity
		want     string // in the error; empty: it is the same, or nothing proves the contrary
	}{
		{"the same hardware", named, hardware(a), hardware(a), map[string]v1alpha1.HostIdentity{"eth2": hardware(b)}, ""},
		{"with another address, set by hand", named, hardware(a), changed, nil, ""},
		{"nothing was recorded", named, v1alpha1.HostIdentity{}, hardware(a), nil, ""},
		{"two NICs have each other's names", named, hardware(a), hardware(b), map[string]v1alpha1.HostIdentity{"eth2": hardware(a)}, "02:00:00:00:00:0a and is now called eth2"},
		{"with an address set by hand", named, hardware(a), hardware(b), map[string]v1alpha1.HostIdentity{"eth2": changed}, "is now called eth2"},
		{"another NIC has the name of one that is gone", named, hardware(a), hardware(b), nil, "02:00:00:00:00:0a and is not on this node any more"},
		{"a virtual interface has it", named, hardware(a), virtual("dummy", b, nil), nil, "is not on this node any more"},
		{"PCI functions were numbered anew", pci, hardware(a), hardware(b), map[string]v1alpha1.HostIdentity{"eth2": hardware(a)}, "is now called eth2"},
		{"a NIC was replaced in its slot", pci, hardware(a), hardware(b), map[string]v1alpha1.HostIdentity{"eth2": hardware(c)}, ""},
		{"a virtual function got another random address", pci, virtual("", a, nil), virtual("", b, nil), nil, ""},
		{"ports that share one permanent address", pci, hardware(a), hardware(a), map[string]v1alpha1.HostIdentity{"eth2": hardware(a)}, ""},

		{"a macvlan was made anew", named, virtual("macvlan", a, c), virtual("macvlan", b, c), map[string]v1alpha1.HostIdentity{"eth0": hardware(c)}, ""},
		{"on the other NIC, which has its lower device's name now", named, virtual("macvlan", a, c), virtual("macvlan", b, zero), nil, ""},
		{"on a NIC that was replaced", named, virtual("macvlan", a, c), virtual("macvlan", b, a), nil, ""},
		{"on another NIC, while its own is there", named, virtual("macvlan", a, c), virtual("macvlan", b, nic.HardwareAddr{2, 0, 0, 0, 0, 0xd}), map[string]v1alpha1.HostIdentity{"eth3": hardware(c)}, "the lower device of that has the address 02:00:00:00:00:0c and is now called eth3"},
		{"on a bond of its NIC", named, virtual("macvlan", a, c), virtual("macvlan", b, nil), map[string]v1alpha1.HostIdentity{"eth3": hardware(c)}, ""},
		{"an address like a VRRP router's, on several", named, virtual("macvlan", a, nil), virtual("macvlan", a, nil), map[string]v1alpha1.HostIdentity{"vrrp2": virtual("macvlan", a, nil)}, ""},
		{"two pairs with set addresses have each other's names", named, virtual("veth", a, nil), virtual("veth", b, nil), map[string]v1alpha1.HostIdentity{"eth2": virtual("veth", a, nil)}, "02:00:00:00:00:0a and is now called eth2"},
		{"a pair with a random address was made anew", named, virtual("veth", a, nil), virtual("veth", b, nil), map[string]v1alpha1.HostIdentity{"eth2": virtual("veth", c, nil)}, ""},
		{"a bond has another port's address", named, virtual("bond", a, nil), virtual("bond", b, nil), map[string]v1alpha1.HostIdentity{"port": {Address: b, PermanentAddress: a}}, ""},
		{"a VLAN of a NIC that was replaced", named, virtual("vlan", a, a), virtual("vlan", b, b), nil, ""},
		{"interfaces without addresses", named, virtual("sit", zero, nil), virtual("sit", a, nil), map[string]v1alpha1.HostIdentity{"sit1": virtual("sit", zero, nil)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := namedIdentity{"eth1", tt.now}
			others := []namedIdentity{now}
			for name, o := range tt.others {
				others = append(others, namedIdentity{name, o})
			}
			err := swapped(tt.device, tt.was, now, others)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestIdentity checks what a link is known by: of a virtual one also the hardware
// at the end of its lower devices.
func TestIdentity(t *testing.T) {
	a, b := nic.HardwareAddr{2, 0, 0, 0, 0, 0xa}, nic.HardwareAddr{2, 0, 0, 0, 0, 0xb}
	link := func(index int, kind string, mac, perm nic.HardwareAddr, lower, netnsid int) netdev.Link {
		return netdev.Link{Index: index, Kind: kind, PermMAC: perm, Lower: lower, LowerNetNSID: netnsid, Settings: netdev.Settings{MAC: mac}}
	}
	links := []netdev.Link{
		link(2, "", b, a, 0, -1), link(3, "vlan", b, nil, 2, -1), link(4, "macvlan", a, nil, 3, -1), link(5, "macvlan", a, nil, 2, 7),
		link(6, "veth", a, nil, 7, -1), link(7, "veth", b, nil, 6, -1), link(8, "gre", a, nil, 8, -1),
	}
	want := []v1alpha1.HostIdentity{
		{Address: b, PermanentAddress: a}, {Kind: "vlan", Address: b, LowerAddress: a}, {Kind: "macvlan", Address: a, LowerAddress: a}, {Kind: "macvlan", Address: a},
		{Kind: "veth", Address: a}, {Kind: "veth", Address: b}, {Kind: "gre", Address: a},
	}
	var got []v1alpha1.HostIdentity
	for _, l := range links {
		got = append(got, identityOf(l, links))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNamesSwapped checks that a claim which outlives the node's records is
// refused while another interface has the device's name, also when it is asked
// for again, and served when the names are right again. An interface that was
// made anew with a random address is the same.
func TestNamesSwapped(t *testing.T) {
	w := newWorld(t, "ip link add h1 address 02:00:00:00:00:01 type veth peer name p1\nip link add h2 address 02:00:00:00:00:02 type veth peer name p2")
	w.scans()
	c := w.claim("c", "h1", `{"interface":{"name":"net1"}}`, "web")
	must(t, w.prepare(c))
	p := w.pod("web", "s1")
	must(t, w.run(p))
	reported := func(reason, message string) func() bool {
		return func() bool {
			_, got, text, data, _ := w.device(c)
			return got == reason && strings.Contains(text, message) && data.Identity.Address.String() == "02:00:00:00:00:01"
		}
	}
	w.eventually("the claim's status has the interface's identity", reported("Attached", ""))
	reboot := func(commands string) {
		w.end(p)
		w.stop()
		for _, r := range w.driver.store.All() {
			w.release(r)
		}
		w.host(commands)
		w.startDriver()
	}
	reboot("ip link set h1 name h3\nip link set h2 name h1\nip link set h3 name h2")
	for range 2 {
		if err := w.prepare(c); err == nil || !strings.Contains(err.Error(), "02:00:00:00:00:01 and is now called h2") {
			t.Errorf("got %v, want that the interface is h2 now", err)
		}
		w.eventually("the claim's status reports it and keeps the identity", reported("PrepareFailed", "is now called h2"))
	}
	w.host("ip link set h1 name h3\nip link set h2 name h1\nip link set h3 name h2")
	w.scans()
	must(t, w.prepare(c))
	p = w.pod("web", "s2")
	must(t, w.run(p))
	w.eventually("the claim's status reports the attach", reported("Attached", ""))
	reboot("ip link del h1\nip link add h1 type veth peer name p1")
	w.scans()
	must(t, w.prepare(c))
	w.unprepare(c)
	w.restored()
}

// release removes a record as the end of a boot does.
func (w *world) release(r allocation.Record) {
	w.t.Helper()
	unlock, err := w.driver.store.Lock(w.ctx)
	must(w.t, err)
	defer unlock()
	must(w.t, w.driver.store.Release(r.Key()))
	time.Sleep(100 * time.Millisecond)
}
