package v1alpha1

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

func validateRules(c nic.Config, fault faultFunc) {
	if len(c.Rules) > 0 && c.Interface.VRF.Name != "" {
		fault("rules", len(c.Rules), "must be empty with interface.vrf: the VRF %s has a rule of its own, which selects its table", c.Interface.VRF.Name)
	}
	if c.Interface.RoutesBySource() && (c.Interface.WantsDHCP() || c.Interface.WantsDHCP6()) {
		fault("interface.sourceRouting", true, "must not be set with interface.dhcp or dhcp6: what is leased is set in the main table")
	}
	for i, r := range c.Rules {
		field := fmt.Sprintf("rules[%d]", i)
		validateRule(r, field, fault)
		if slices.ContainsFunc(c.Rules[:i], func(o nic.Rule) bool { return reflect.DeepEqual(o, r) }) {
			fault(field, r.Source, "duplicate")
		}
	}
}

func validateRule(r nic.Rule, field string, fault faultFunc) {
	family := r.Family
	for _, p := range []struct {
		name string
		netip.Prefix
	}{{"source", r.Source}, {"destination", r.Destination}} {
		if !p.IsValid() {
			continue
		}
		if p.Addr().Is4In6() || p.Prefix != p.Masked() {
			fault(field+"."+p.name, p.Prefix, "must be a prefix without host bits, such as %s", p.Masked())
		}
		if family != "" && family != familyOf(p.Addr()) {
			fault(field+"."+p.name, p.Prefix, "must be of the family %s, as the rest of the rule", family)
		}
		family = familyOf(p.Addr())
	}
	if n := r.SuppressPrefixLength; n != nil && *n > 32 && family == familyIPv4 {
		fault(field+".suppressPrefixLength", *n, "must be 32 or less with IPv4")
	}
	if _, _, err := r.FwMark.Parse(); err != nil && r.FwMark != "" {
		fault(field+".fwmark", r.FwMark, "%v", err)
	}
	if _, err := r.IPProto.Parse(); err != nil && r.IPProto != "" {
		fault(field+".ipProto", r.IPProto, "%v", err)
	}
	for name, ports := range map[string]nic.Ports{"sourcePorts": r.SourcePorts, "destinationPorts": r.DestinationPorts} {
		if _, _, err := ports.Parse(); err != nil && ports != "" {
			fault(field+"."+name, ports, "%v", err)
		}
	}
}

const (
	familyIPv4 = "IPv4"
	familyIPv6 = "IPv6"
)

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return familyIPv4
	}
	return familyIPv6
}
