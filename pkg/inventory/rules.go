package inventory

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// rule is one reason not to offer a device. test reports whether the rule
// applies, and returns the text that replaces %s in reason.
type rule struct {
	reason string // a short sentence about the interface, "it"
	doc    string // what it recognizes, for docs/configuration.md; empty: the reason says all
	always bool   // also for interfaces that --include names
	test   func(s *survey, d *Device) (what string, out bool)
}

// rules are tried in order; the first that applies gives the reason. After a
// change, rewrite docs/configuration.md with go test ./pkg/inventory -update.
var rules = []rule{
	{"it is a loopback", "", true, func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Encapsulation == "loopback"
	}},
	{"it carries the node's default route", "of the main table, for IPv4 or IPv6, the one with the lowest metric: all its next hops, and all routes of that metric whatever their router preference; while none of those has a carrier, also the routes with the next metric", true, func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Uplink
	}},
	{"it carries the node's address %s", "an address of the Node object", true, func(s *survey, d *Device) (string, bool) {
		addr := s.nodeAddress(d.Link)
		return addr, addr != ""
	}},
	{"it has a default route, and the node's addresses are not known", "any default route of the main table, as long as the Node object has no address or was not read since the node's boot", true, func(s *survey, d *Device) (string, bool) {
		return "", s.mayBeUplink(d.Link)
	}},
	{"it is a lower device of the node's uplink %s", "of an interface that one of the rules above keeps, at any depth; also the physical function of a virtual function", true, func(s *survey, d *Device) (string, bool) {
		uplink, out := s.uplinks[d.Link.Index]
		return uplink, out
	}},
	{"it is a port of %s", "of a bridge, bond, team, VRF, Open vSwitch, …", true, func(s *survey, d *Device) (string, bool) {
		return s.master(d), d.Link.Master != 0
	}},
	{"it cannot change its network namespace", "as bridges, bonds and fallback tunnels", true, func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Immutable
	}},
	{"it has upper interfaces: %s", "VLAN, macvlan, … of the host, and those of them that are in pods as devices of the driver", true, func(s *survey, d *Device) (string, bool) {
		uppers := s.uppers[d.Link.Index]
		return some(uppers), len(uppers) > 0
	}},
	{"its peer is in another network namespace (probably a pod's interface)", "one end of a veth, netkit or vxcan pair", false, func(s *survey, d *Device) (string, bool) {
		return "", isPair(d.Link.Kind) && d.Link.LowerNetNSID >= 0 && !s.heldPair(d.Link)
	}},
	{"its name matches an interface of %s", "interfaces of CNI plugins and other software: " + foreignOwners(), false, func(_ *survey, d *Device) (string, bool) {
		return foreignOwner(d.Link.Name)
	}},
	{"rules of the host send traffic to its default route in table %s", "as for the secondary interfaces of AWS VPC CNI. A rule that selects only by the interface itself (`iif`, `oif`) or by one of its own addresses does not count", false, func(_ *survey, d *Device) (string, bool) {
		return strconv.FormatUint(uint64(d.Link.PolicyTable), 10), d.Link.PolicyTable != 0
	}},
	{"it has ports: %s", "of what can change its namespace: the synthetic interface of a VM on Azure, whose port is a virtual function (accelerated networking). Newer kernels move that with it, and some crash when the namespace ends", false, func(s *survey, d *Device) (string, bool) {
		ports := s.ports[d.Link.Index]
		return some(ports), d.Link.Index != 0 && len(ports) > 0
	}},
	{"its virtual functions are used elsewhere: %s", "those that have a driver (vfio-pci for one) but no interface on the host", false, func(s *survey, d *Device) (string, bool) {
		used := s.usedElsewhere(s.probeOf(d))
		return some(used), len(used) > 0
	}},
	{"its physical function %s is in another network namespace", "which sets what the virtual function may do", false, func(s *survey, d *Device) (string, bool) {
		return awayPF(s, s.probeOf(d))
	}},
	{"it receives for others than the host: %s", "interfaces with a `promiscuity` (`ip -d link`) that nobody has switched on as `promisc`, and NICs with further unicast addresses (`bridge fdb show`): the lower device of a macvlan in another network namespace (the kernel does not show an ipvlan), or a capture", false, func(_ *survey, d *Device) (string, bool) {
		return receivers(d.Link)
	}},
	{"it is a tunnel of kind %s", "WireGuard, whose keys a pod could read, and tun and tap interfaces, which belong to a process", false, func(_ *survey, d *Device) (string, bool) {
		return d.Link.Kind, d.Link.Kind == "wireguard" || d.Link.Kind == "tun"
	}},
	{"it is the host's interface to a BMC (USB vendor %s)", bmcDoc(), false, func(s *survey, d *Device) (string, bool) {
		return s.probeOf(d).bmcVendor()
	}},
	{"it is in no IOMMU group", "without an interface: a function that is bound to vfio-pci", true, func(s *survey, d *Device) (string, bool) {
		return "", d.Function.VFIO() && d.Function.Group == ""
	}},
	{"its IOMMU group also has %s", "without an interface: the group of a function that is bound to vfio-pci has other functions with a driver, whatever that is; bridges do not count", true, func(s *survey, d *Device) (string, bool) {
		mates := s.groupMates(d)
		return some(mates), len(mates) > 0
	}},
	{"it has %s virtual functions", "without an interface: a physical function that is bound to vfio-pci", true, func(s *survey, d *Device) (string, bool) {
		n := s.probeOf(d).vfs
		return strconv.Itoa(n), !d.HasLink() && n > 0
	}},
	{"no IOMMU keeps it from the node's memory", "without an interface: VFIO's `noiommu` mode. A pod that gets it can read and write all memory of the node", false, func(_ *survey, d *Device) (string, bool) {
		return "", d.Function.NoIOMMU
	}},
	{"the filter %s", "`--filter` is false for it, or cannot be evaluated", true, func(s *survey, d *Device) (string, bool) {
		return s.opts.Filter.excludes(d)
	}},
}

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

// foreignOwners lists them.
func foreignOwners() string {
	var owners []string
	for _, f := range foreign {
		owners = append(owners, f.owner)
	}
	return strings.Join(owners, ", ")
}

// isPair reports whether links of a kind come in pairs, each of which is the
// other's lower device (IFLA_LINK).
func isPair(kind string) bool { return kind == "veth" || kind == "netkit" || kind == "vxcan" }

// decide returns why a device is not offered, or "" if it is, and in that case
// why it would not be without --include.
func (s *survey) decide(d *Device) (skipped, included string) {
	for _, r := range rules {
		what, out := r.test(s, d)
		if !out {
			continue
		}
		why := r.reason
		if strings.Contains(why, "%s") {
			why = fmt.Sprintf(why, what)
		}
		if r.always || !s.opts.Include.matches(d) {
			return why, ""
		}
		if included == "" {
			included = why
		}
	}
	return "", included
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
