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
	test   func(s *survey, d *Device) (what string, out bool)
}

// rules are tried in order; the first that applies gives the reason.
var rules = []rule{
	{"it is a loopback", func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Encapsulation == "loopback"
	}},
	{"it carries the node's default route", func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.HasRoute
	}},
	{"it carries the node's address %s", func(s *survey, d *Device) (string, bool) {
		addr := s.nodeAddress(d.Link)
		return addr, addr != ""
	}},
	{"it is a lower device of the node's uplink %s", func(s *survey, d *Device) (string, bool) {
		uplink, out := s.uplinks[d.Link.Index]
		return uplink, out
	}},
	{"it is a port of %s", func(s *survey, d *Device) (string, bool) {
		return s.master(d), d.Link.Master != 0
	}},
	{"it cannot change its network namespace", func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Immutable
	}},
	{"it has upper interfaces: %s", func(s *survey, d *Device) (string, bool) {
		uppers := s.uppers[d.Link.Index]
		return some(uppers), len(uppers) > 0
	}},
	{"its peer is in another network namespace (probably a pod's interface)", func(s *survey, d *Device) (string, bool) {
		return "", isPair(d.Link.Kind) && d.Link.LowerNetNSID >= 0 && !s.heldPair(d.Link)
	}},
	{"its name matches an interface of %s", func(_ *survey, d *Device) (string, bool) {
		return foreignOwner(d.Link.Name)
	}},
	{"the filter %s", func(s *survey, d *Device) (string, bool) {
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

// isPair reports whether links of a kind come in pairs, each of which is the
// other's lower device (IFLA_LINK).
func isPair(kind string) bool { return kind == "veth" || kind == "netkit" || kind == "vxcan" }

// reason returns why a device is not offered, or "" if it is.
func (s *survey) reason(d *Device) string {
	for _, r := range rules {
		what, out := r.test(s, d)
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
