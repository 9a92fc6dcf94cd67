package inventory

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	defaultRoute = "it carries the node's default route"
	immutable    = "it cannot change its network namespace"
	farEnd       = "its peer is in another network namespace (probably a pod's interface)"
)

var (
	dualStack = Options{NodeAddresses: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}}

	ruleTests = map[string]struct {
		links []netdev.Link
		opts  Options
		want  map[string]string
	}{
		"loopback": {
			links: []netdev.Link{loopback()},
			want:  map[string]string{"lo": "it is a loopback"},
		},
		"default route": {
			links: []netdev.Link{with(link(2, "eth0"), uplink), link(3, "eth1")},
			want:  map[string]string{"eth0": defaultRoute, "eth1": ""},
		},
		"address of the node, either family": {
			links: []netdev.Link{with(link(2, "eth0"), addresses("192.0.2.1/24", "10.0.0.2/24")), with(link(3, "eth1"), addresses("fd00::2/64")),
				with(link(4, "eth2"), addresses("10.0.0.3/24"))},
			opts: dualStack,
			want: map[string]string{"eth0": "it carries the node's address 10.0.0.2", "eth1": "it carries the node's address fd00::2", "eth2": ""},
		},
		"bridge over VLAN over bond as the uplink": {
			links: []netdev.Link{
				with(link(2, "eth0"), portOf(4, "bond")), with(link(3, "eth1"), portOf(4, "bond")),
				with(virtual(4, "bond0", "bond", 0), func(l *netdev.Link) { l.Immutable = true }),
				with(virtual(5, "bond0.7", "vlan", 4), portOf(6, "bridge")),
				with(with(virtual(6, "br0", "bridge", 0), uplink), func(l *netdev.Link) { l.Immutable = true }),
				virtual(7, "bond0.8", "vlan", 4), link(8, "eth2"),
			},
			want: map[string]string{
				"eth0": "it is a lower device of the node's uplink br0", "eth1": "it is a lower device of the node's uplink br0",
				"bond0": "it is a lower device of the node's uplink br0", "bond0.7": "it is a lower device of the node's uplink br0",
				"br0": defaultRoute, "bond0.8": "", "eth2": "",
			},
		},
		"macvlan with the node's address": {
			links: []netdev.Link{link(2, "eth0"), with(virtual(3, "m0", "macvlan", 2), addresses("10.0.0.2/24")), virtual(4, "m1", "macvlan", 2)},
			opts:  dualStack,
			want:  map[string]string{"eth0": "it is a lower device of the node's uplink m0", "m0": "it carries the node's address 10.0.0.2", "m1": ""},
		},
		"uplink over a pair": {
			links: []netdev.Link{with(virtual(2, "v0", "veth", 3), uplink), virtual(3, "v1", "veth", 2)},
			want:  map[string]string{"v0": defaultRoute, "v1": "it is a lower device of the node's uplink v0"},
		},
		"lower link in another namespace is ignored": {
			links: []netdev.Link{link(2, "eth1"), with(with(virtual(3, "eth0", "macvlan", 2), far), uplink)},
			want:  map[string]string{"eth1": "", "eth0": defaultRoute},
		},
		"ports of hardware": {
			links: []netdev.Link{link(2, "eth1"), with(link(3, "enP1s1"), portOf(2, "")), with(link(4, "eth2"), func(l *netdev.Link) { l.Immutable = true }), with(link(5, "enP2s1"), portOf(4, ""))},
			want:  map[string]string{"eth1": "it has ports: enP1s1", "enP1s1": "it is a port of eth1", "eth2": "it cannot change its network namespace", "enP2s1": "it is a port of eth2"},
		},
		"ports": {
			links: []netdev.Link{
				with(link(2, "eth1"), portOf(10, "bridge")), with(link(3, "eth2"), portOf(11, "bond")), with(link(4, "eth3"), portOf(12, "vrf")),
				with(link(5, "eth4"), portOf(13, "openvswitch")), with(link(6, "eth5"), portOf(14, "")),
				with(virtual(10, "br0", "bridge", 0), func(l *netdev.Link) { l.Immutable = true }),
				with(virtual(11, "bond0", "bond", 0), func(l *netdev.Link) { l.Immutable = true }),
				with(virtual(12, "red", "vrf", 0), func(l *netdev.Link) { l.Immutable = true }),
				virtual(13, "ovs-system", "openvswitch", 0),
			},
			want: map[string]string{
				"eth1": "it is a port of bridge br0", "eth2": "it is a port of bond bond0", "eth3": "it is a port of vrf red",
				"eth4": "it is a port of openvswitch ovs-system", "eth5": "it is a port of interface 14",
				"br0": immutable, "bond0": immutable, "red": immutable, "ovs-system": "its name matches an interface of Open vSwitch",
			},
		},
		"lower links of others": {
			links: []netdev.Link{link(2, "eth1"), virtual(3, "eth1.5", "vlan", 2), virtual(4, "m0", "macvlan", 2),
				link(5, "eth2"), virtual(6, "d", "vlan", 5), virtual(7, "c", "vlan", 5), virtual(8, "b", "vlan", 5), virtual(9, "a", "vlan", 5)},
			want: map[string]string{"eth1": "it has upper interfaces: eth1.5, m0", "eth1.5": "", "m0": "",
				"eth2": "it has upper interfaces: a, b, c and 1 more", "a": "", "b": "", "c": "", "d": ""},
		},
		"pairs": {
			links: []netdev.Link{virtual(2, "v0", "veth", 3), virtual(3, "v1", "veth", 2), with(virtual(4, "veth1", "veth", 2), far), with(virtual(5, "nk0", "netkit", 2), far)},
			want:  map[string]string{"v0": "", "v1": "", "veth1": farEnd, "nk0": farEnd},
		},
		"one end of a pair is a device in a pod": {
			links: []netdev.Link{with(virtual(3, "v1", "veth", 7), far), with(virtual(4, "veth1", "veth", 2), far)},
			opts:  Options{Held: []Device{{Name: "v0", Link: virtual(2, "v0", "veth", 3)}}},
			want:  map[string]string{"v1": "", "veth1": farEnd},
		},
		"a device in a pod is its upper link": {
			links: []netdev.Link{link(2, "eth1"), link(3, "other")},
			opts:  Options{Held: []Device{{Name: "m0", Link: virtual(3, "m0", "macvlan", 2)}}},
			want:  map[string]string{"eth1": "it has upper interfaces: m0", "other": ""},
		},
		"known by name": {
			links: []netdev.Link{virtual(2, "flannel.1", "vxlan", 0), virtual(3, "cilium_net", "veth", 4), virtual(4, "cilium_host", "veth", 3),
				virtual(5, "kube-ipvs0", "dummy", 0), virtual(6, "nodelocaldns", "dummy", 0), virtual(7, "cali12345", "veth", 8), virtual(8, "califlower", "dummy", 0),
				virtual(9, "vxlan.calico", "vxlan", 0), virtual(10, "xcni0", "dummy", 0)},
			want: map[string]string{"flannel.1": "its name matches an interface of Flannel", "cilium_net": "its name matches an interface of Cilium",
				"cilium_host": "its name matches an interface of Cilium", "kube-ipvs0": "its name matches an interface of kube-proxy",
				"nodelocaldns": "its name matches an interface of NodeLocal DNSCache", "cali12345": "its name matches an interface of Calico",
				"califlower": "its name matches an interface of Calico", "vxlan.calico": "its name matches an interface of Calico", "xcni0": ""},
		},
	}
)

func TestRules(t *testing.T) {
	for name, test := range ruleTests {
		t.Run(name, func(t *testing.T) {
			m := newMachine(test.links...)
			m.opts = test.opts
			if diff := cmp.Diff(test.want, skipped(m.scan())); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUplinkOnVirtualFunction(t *testing.T) {
	m := server()
	for i := range m.links {
		m.links[i].Uplink = m.links[i].Name == "enp175s0f1v0"
		m.links[i].HasRoute = m.links[i].Uplink
	}
	want := map[string]string{"lo": "it is a loopback", "eno1": "", "enp175s0f1": "it is a lower device of the node's uplink enp175s0f1v0", "enp175s0f1v0": defaultRoute}
	if diff := cmp.Diff(want, skipped(m.scan())); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	for i := range m.links {
		m.links[i].Uplink = m.links[i].Name == "enp175s0f1"
		m.links[i].HasRoute = m.links[i].Uplink
	}
	if got := skipped(m.scan())["enp175s0f1v0"]; got != "" {
		t.Errorf("virtual function of the uplink: got reason %q, want offered", got)
	}
}

// TestLoop checks that a scan ends even if links are each other's lower links,
// which the kernel does not allow.
func TestLoop(t *testing.T) {
	m := newMachine(with(virtual(2, "a", "vlan", 3), uplink), virtual(3, "b", "vlan", 2), virtual(4, "c", "vlan", 4))
	want := map[string]string{"a": defaultRoute, "b": "it is a lower device of the node's uplink a", "c": ""}
	if diff := cmp.Diff(want, skipped(m.scan())); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}
