package inventory

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// busy is a host with an interface for each rule, and some that are like them but
// offered.
func busy() *machine {
	m := newMachine(loopback(),
		with(link(2, "eth0"), uplink),
		with(with(link(3, "eth1"), worse), addresses("10.0.0.2/24")),
		with(link(4, "spare"), worse),
		virtual(5, "vlan", "vlan", 2),
		with(virtual(6, "m0", "macvlan", 3), addresses("10.0.0.3/24")),
		with(virtual(7, "br0", "bridge", 0), func(l *netdev.Link) { l.Immutable = true }),
		with(link(8, "port"), portOf(7, "bridge")),
		link(9, "lower"), virtual(10, "upper", "vlan", 9),
		with(virtual(11, "veth1", "veth", 2), far),
		virtual(12, "cali1", "dummy", 0),
		with(link(13, "eni"), func(l *netdev.Link) { l.PolicyTable = 2 }),
		with(link(14, "parent"), func(l *netdev.Link) { l.Promiscuity = 1 }),
		with(link(15, "parent2"), func(l *netdev.Link) { l.Unicast = []nic.HardwareAddr{{2, 0, 0, 0, 0, 7}} }),
		with(link(16, "promisc"), func(l *netdev.Link) { l.Promiscuous = true }),
		virtual(17, "wg0", "wireguard", 0), virtual(18, "tap0", "tun", 0),
	)
	m.opts.NodeAddresses = []netip.Addr{netip.MustParseAddr("10.0.0.3")}
	for i, u := range []struct{ name, driver, vendor string }{
		{"idrac", "cdc_ether", "413c"}, {"adapter", "r8152", "413c"}, {"phone", "rndis_host", "18d1"},
	} {
		device := string(rune('1'+i)) + "-1"
		m.device("usb", "pci0000:00/usb1/"+device, map[string]string{"idVendor": u.vendor})
		m.device("usb", "pci0000:00/usb1/"+device+"/"+device+":1.0", nil)
		m.link("devices/pci0000:00/usb1/"+device+"/"+device+":1.0/driver", "bus/usb/drivers/"+u.driver)
		m.add(with(link(30+i, u.name), func(l *netdev.Link) { l.Parent, l.ParentBus = device+":1.0", "usb" }), "pci0000:00/usb1/"+device+"/"+device+":1.0", nil)
	}
	return m
}

const (
	ownAddress = "it carries the node's address 10.0.0.3"
	eni        = "rules of the host send traffic to its default route in table 2"
	parent     = "it receives for others than the host: promiscuity 1"
	parent2    = "it receives for others than the host: hardware address 02:00:00:00:00:07"
	idrac      = "it is the host's interface to a BMC (USB vendor Dell)"
	wireguard  = "it is a tunnel of kind wireguard"
	tap        = "it is a tunnel of kind tun"
	calico     = "its name matches an interface of Calico"
)

// TestInclude checks each rule, and which of them Include overrides, also when a
// device is looked at again before it is moved.
func TestInclude(t *testing.T) {
	always := map[string]string{
		"lo": "it is a loopback", "eth0": "it carries the node's default route", "m0": ownAddress, "eth1": "it is a lower device of the node's uplink m0",
		"br0": immutable, "port": "it is a port of bridge br0", "lower": "it has upper interfaces: upper",
		"spare": "", "vlan": "", "upper": "", "promisc": "", "adapter": "", "phone": "",
	}
	optional := map[string]string{
		"veth1": farEnd, "cali1": calico, "eni": eni, "parent": parent, "parent2": parent2, "idrac": idrac, "wg0": wireguard, "tap0": tap,
	}
	tests := map[string]struct {
		include string
		offers  []string // in spite of a rule
	}{
		"nothing":       {"", nil},
		"false":         {"false", nil},
		"everything":    {"true", []string{"veth1", "cali1", "eni", "parent", "parent2", "idrac", "wg0", "tap0"}},
		"by a name":     {`device.attributes["dra-netdev.github.io"].ifName == "wg0"`, []string{"wg0"}},
		"by a type":     {`device.attributes["dra-netdev.github.io"].type == "tun"`, []string{"tap0"}},
		"no such value": {`device.attributes["dra-netdev.github.io"].nonsense`, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := busy()
			m.opts.Include = mustFilter(t, tt.include)
			skip, included := map[string]string{}, map[string]string{}
			for _, all := range []map[string]string{always, optional} {
				for name, why := range all {
					skip[name] = why
				}
			}
			for _, name := range tt.offers {
				skip[name], included[name] = "", optional[name]
			}
			devices := m.scan()
			if diff := cmp.Diff(skip, skipped(devices)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			got := map[string]string{}
			for _, d := range devices {
				if d.Included != "" {
					got[d.Link.Name] = d.Included
				}
				if why := m.opts.Reason(m.links, m.sys, d.Link.Index); why != d.Skipped {
					t.Errorf("%s looked at again: %q, want %q", d.Link.Name, why, d.Skipped)
				}
			}
			if diff := cmp.Diff(included, got); diff != "" {
				t.Errorf("included (-want +got):\n%s", diff)
			}
		})
	}
}

// TestIncludeAndFilter checks that the filter also decides on what is included,
// and that of two rules the first is named.
func TestIncludeAndFilter(t *testing.T) {
	m := newMachine(virtual(2, "wg-v6.cali", "wireguard", 0), virtual(3, "wg1", "wireguard", 0))
	m.opts.Include = mustFilter(t, "true")
	m.opts.Filter = mustFilter(t, `device.attributes["dra-netdev.github.io"].ifName != "wg1"`)
	devices := m.scan()
	want := map[string]string{"wg-v6.cali": "", "wg1": "the filter excludes it"}
	if diff := cmp.Diff(want, skipped(devices)); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	for _, d := range devices {
		if want := map[string]string{"wg-v6.cali": calico}[d.Link.Name]; d.Included != want {
			t.Errorf("%s: included although %q, want %q", d.Link.Name, d.Included, want)
		}
	}
}

// TestAddressesUnknown checks that each default route keeps its interface while no
// address of the node is known.
func TestAddressesUnknown(t *testing.T) {
	m := newMachine(with(link(2, "eth0"), worse), virtual(3, "m0", "macvlan", 4), with(virtual(5, "m1", "macvlan", 4), worse), link(4, "eth1"))
	const unknown = "it has a default route, and the node's addresses are not known"
	m.opts.Include = mustFilter(t, "true")
	want := map[string]string{"eth0": unknown, "m1": unknown, "eth1": "it is a lower device of the node's uplink m1", "m0": ""}
	if diff := cmp.Diff(want, skipped(m.scan())); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	m.opts.NodeAddresses = []netip.Addr{netip.MustParseAddr("10.0.0.3")}
	want = map[string]string{"eth0": "", "m1": "", "eth1": "it has upper interfaces: m0, m1", "m0": ""}
	if diff := cmp.Diff(want, skipped(m.scan())); diff != "" {
		t.Errorf("with the addresses: reasons (-want +got):\n%s", diff)
	}
}

// TestVirtualFunctionsElsewhere checks which virtual functions keep their physical
// function on the host.
func TestVirtualFunctionsElsewhere(t *testing.T) {
	const vf0, vf1 = "devices/pci0000:ae/0000:ae:00.0/0000:af:01.2", "devices/pci0000:ae/0000:ae:00.0/0000:af:01.3"
	tests := map[string]struct {
		change func(*machine)
		want   string
	}{
		"one on the host, one without a driver": {func(*machine) {}, ""},
		"one bound to vfio": {func(m *machine) { m.link(vf1+"/driver", "bus/pci/drivers/vfio-pci") },
			"its virtual functions are used elsewhere: 0000:af:01.3 (vfio-pci)"},
		"one in another namespace": {func(m *machine) { m.links = m.links[:len(m.links)-1] },
			"its virtual functions are used elsewhere: 0000:af:01.2 (mlx5_core)"},
		"both": {func(m *machine) {
			m.links = m.links[:len(m.links)-1]
			m.link(vf1+"/driver", "bus/pci/drivers/vfio-pci")
		}, "its virtual functions are used elsewhere: 0000:af:01.2 (mlx5_core), 0000:af:01.3 (vfio-pci)"},
		"none any more": {func(m *machine) {
			m.links = m.links[:len(m.links)-1]
			m.file("devices/pci0000:ae/0000:ae:00.0/0000:af:00.1/sriov_numvfs", "0\n")
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := server()
			pf := "devices/pci0000:ae/0000:ae:00.0/0000:af:00.1"
			m.device("pci", "pci0000:ae/0000:ae:00.0/0000:af:01.3", nil)
			m.link(pf+"/virtfn0", vf0)
			m.link(pf+"/virtfn1", vf1)
			m.link(vf0+"/driver", "bus/pci/drivers/mlx5_core")
			tt.change(m)
			if got := skipped(m.scan())["enp175s0f1"]; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			m.opts.Include = mustFilter(t, `device.attributes["dra-netdev.github.io"].sriovVfs == 2`)
			if got := skipped(m.scan())["enp175s0f1"]; got != "" {
				t.Errorf("included: got %q", got)
			}
		})
	}
}

// TestEveryRule checks that the table of rules is complete.
func TestEveryRule(t *testing.T) {
	for _, r := range rules {
		if r.reason == "" || r.test == nil || r.doc == "" && r.reason != "it is a loopback" {
			t.Errorf("rule %+q lacks something", r.reason)
		}
	}
}
