package inventory

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// rule is one reason not to offer a device. test reports whether the rule
// applies, and returns the text that replaces %s in reason.
type rule struct {
	reason string // a short sentence about the interface, "it"
	doc    string // what the rule withholds, for docs/configuration.md
	// yields means that the operator's Include decides: the node does not need
	// the interface itself.
	yields bool
	test   func(s *survey, d *Device) (what string, out bool)
}

// rules are tried in order; the first that applies gives the reason.
var rules = []rule{
	{reason: "it is a loopback", doc: "the loopback interface", test: func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Encapsulation == "loopback"
	}},
	{reason: "it carries the node's default route", doc: "interfaces of the best default route of IPv4 and of IPv6 (main table, lowest metric, all next hops)", test: func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.HasRoute
	}},
	{reason: "it carries the node's address %s", doc: "interfaces with an address of the node", test: func(s *survey, d *Device) (string, bool) {
		addr := s.nodeAddress(d.Link)
		return addr, addr != ""
	}},
	{reason: "it is a lower device of the node's uplink %s", doc: "all lower devices of these", test: func(s *survey, d *Device) (string, bool) {
		uplink, out := s.uplinks[d.Link.Index]
		return uplink, out
	}},
	{reason: "it is a port of %s", doc: "ports of bridges, bonds and the like", test: func(s *survey, d *Device) (string, bool) {
		return s.master(d), d.Link.Master != 0
	}},
	{reason: "it cannot change its network namespace", doc: "interfaces that cannot change their network namespace", test: func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Immutable
	}},
	{reason: "it has upper interfaces: %s", doc: "interfaces with upper devices (VLAN, macvlan, …)", test: func(s *survey, d *Device) (string, bool) {
		uppers := s.uppers[d.Link.Index]
		return some(uppers), len(uppers) > 0
	}},
	{reason: "its peer is in another network namespace (probably a pod's interface)", doc: "veth and netkit pairs whose other end is in another namespace, as pods' interfaces", yields: true, test: func(s *survey, d *Device) (string, bool) {
		return "", isPair(d.Link.Kind) && d.Link.LowerNetNSID >= 0 && !s.heldPair(d.Link)
	}},
	{reason: "its name matches an interface of %s", doc: "interfaces of CNI plugins and other software, recognized by their names", yields: true, test: func(_ *survey, d *Device) (string, bool) {
		return foreignOwner(d.Link.Name)
	}},
	{reason: "policy rules route traffic of others by it (table %s)", doc: "interfaces with a default route in another table that policy rules select, but for rules that select by the interface's own addresses", yields: true, test: func(_ *survey, d *Device) (string, bool) {
		return fmt.Sprint(d.Link.PolicyTable), d.Link.PolicyTable != 0
	}},
	{reason: "its virtual function %s is in use elsewhere", doc: "physical functions of which a virtual function is in another namespace, or belongs to vfio-pci", yields: true, test: func(s *survey, d *Device) (string, bool) {
		vf := s.functionElsewhere(d.Link)
		return vf, vf != ""
	}},
	{reason: "it receives packets for others: an interface on top of it is in another namespace, or its packets are captured", doc: "interfaces in promiscuous mode that no user set, as under a macvlan in another namespace; a capture (tcpdump) looks the same", yields: true, test: func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Promiscuity > 0 && !d.Link.Promiscuous
	}},
	{reason: "it is a tunnel of a program of the host (%s)", doc: "WireGuard, tun and tap interfaces", yields: true, test: func(_ *survey, d *Device) (string, bool) {
		return d.Link.Kind, slices.Contains([]string{"wireguard", "tun"}, d.Link.Kind)
	}},
	{reason: "it is a USB network function (driver %s), as of the node's management controller", doc: "USB interfaces with a driver that management controllers (BMC) use: cdc_ether, cdc_ncm, cdc_eem, cdc_subset, rndis_host", yields: true, test: func(s *survey, d *Device) (string, bool) {
		driver := s.usbDriver(d.Link)
		return driver, slices.Contains(bmcDrivers, driver)
	}},
	{reason: "the filter %s", doc: "interfaces that the `--filter` excludes", test: func(s *survey, d *Device) (string, bool) {
		return s.opts.Filter.excludes(d)
	}},
}

// bmcDrivers are the drivers of USB network functions that need no vendor's
// driver, as those of BMCs (Redfish host interface, DSP0270).
var bmcDrivers = []string{"cdc_ether", "cdc_ncm", "cdc_eem", "cdc_subset", "rndis_host"}

// foreign are links that other software creates and needs, recognized by their
// names. Most bridges and fallback tunnels are already excluded because they
// cannot change their namespace, but not on every kernel.
var foreign = []struct {
	owner    string
	patterns []string // as for path.Match
}{
	{"Antrea", []string{"antrea-*"}},
	{"Calico", []string{"cali*", "vxlan.calico", "vxlan-v6.calico", "wireguard.cali", "wg-v6.cali", "tunl0"}},
	{"Cilium", []string{"cilium_*", "lxc*"}},
	{"CNI plugins", []string{"cni0", "cbr0", "cni-podman*", "nerdctl*"}},
	{"Docker", []string{"docker0", "docker_gwbridge"}},
	{"Flannel", []string{"flannel.*", "flannel-*"}},
	{"kube-proxy", []string{"kube-ipvs0"}},
	{"kube-router", []string{"kube-bridge", "kube-dummy-if"}},
	{"libvirt", []string{"virbr*", "vnet*"}},
	{"NodeLocal DNSCache", []string{"nodelocaldns"}},
	{"Open vSwitch", []string{"ovs-*", "br-int", "br-ex", "genev_sys_*", "vxlan_sys_*"}},
	{"OVN-Kubernetes", []string{"ovn-k8s-*", "ovn0"}},
	{"Submariner", []string{"vx-submariner"}},
	{"Tailscale", []string{"tailscale*"}},
	{"Weave", []string{"weave", "vethwe-*", "vxlan-6784"}},
}

// foreignOwner returns the software whose links have names like this one.
func foreignOwner(ifName string) (owner string, found bool) {
	for _, f := range foreign {
		for _, pattern := range f.patterns {
			if match, _ := path.Match(pattern, ifName); match {
				return f.owner, true
			}
		}
	}
	return "", false
}

// isPair reports whether links of a kind come in pairs, each of which is the
// other's lower device (IFLA_LINK).
func isPair(kind string) bool { return kind == "veth" || kind == "netkit" || kind == "vxcan" }

// reason returns why a device is not offered, or "" if it is.
func (s *survey) reason(d *Device) string {
	for _, r := range rules {
		what, out := r.test(s, d)
		if out && r.yields && s.opts.Include.includes(d) {
			continue
		}
		switch {
		case out && strings.Contains(r.reason, "%s"):
			return fmt.Sprintf(r.reason, what)
		case out:
			return r.reason
		}
	}
	return ""
}

// master describes the bridge, bond or the like that a device is a port of, for
// example "bridge br0".
func (s *survey) master(d *Device) string {
	name := fmt.Sprintf("interface %d", d.Link.Master)
	if p := s.byIndex[d.Link.Master]; p != nil {
		name = p.link.Name
	}
	return strings.TrimSpace(d.Link.MasterKind + " " + name)
}

// some lists at most three names, sorted, and the number of the others.
func some(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}
