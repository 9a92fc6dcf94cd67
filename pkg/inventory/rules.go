package inventory

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// rule leaves a device out. test returns what the reason is to name.
type rule struct {
	reason string // a short sentence of which "it" is the link; %s is what test names
	test   func(s *survey, d *Device) (what string, out bool)
}

// rules are tried in order; the first that holds is the reason given.
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
	{"the node's uplink %s stands on it", func(s *survey, d *Device) (string, bool) {
		uplink, out := s.uplinks[d.Link.Index]
		return uplink, out
	}},
	{"it is a port of %s", func(s *survey, d *Device) (string, bool) {
		return s.master(d), d.Link.Master != 0
	}},
	{"it cannot change its network namespace", func(_ *survey, d *Device) (string, bool) {
		return "", d.Link.Immutable
	}},
	{"other links stand on it: %s", func(s *survey, d *Device) (string, bool) {
		uppers := s.uppers[d.Link.Index]
		return some(uppers), len(uppers) > 0
	}},
	{"its other end is in another network namespace, as of a pod's link", func(s *survey, d *Device) (string, bool) {
		return "", isPair(d.Link.Kind) && d.Link.LowerNetNSID >= 0 && !s.heldPair(d.Link)
	}},
	{"it is a link of %s by its name", func(_ *survey, d *Device) (string, bool) {
		return foreignOwner(d.Link.Name)
	}},
	{"the filter %s", func(s *survey, d *Device) (string, bool) {
		return s.opts.Filter.leavesOut(d)
	}},
}

// foreign are links that others make and need, known by name where the kernel
// does not tell. Most bridges and fallback tunnels are refused as immutable
// before, but not on every kernel.
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

// isPair says whether links of a kind come in pairs, each the other's lower.
func isPair(kind string) bool { return kind == "veth" || kind == "netkit" || kind == "vxcan" }

// reason says why a device is not offered; empty if it is.
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

// master describes the link that a device is a port of: "bridge br0".
func (s *survey) master(d *Device) string {
	name := fmt.Sprintf("link %d", d.Link.Master)
	if p := s.byIndex[d.Link.Master]; p != nil {
		name = p.link.Name
	}
	return strings.TrimSpace(d.Link.MasterKind + " " + name)
}

// some lists names in order, the first three of them.
func some(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}
