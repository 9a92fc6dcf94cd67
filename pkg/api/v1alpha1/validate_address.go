package v1alpha1

import (
	"fmt"
	"net/netip"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

func validateAddresses(c nic.Config, fault faultFunc) {
	validatePolicy(c.Interface, fault)
	seen := map[netip.Addr]bool{}
	for n, own := range c.Interface.Addresses {
		field, p := fmt.Sprintf("interface.addresses[%d]", n), own.Prefix
		switch a := p.Addr(); {
		case !p.IsValid():
			fault(field+".address", "", "required")
		case p.Bits() == 0 || !unicast(a):
			fault(field, p, "must be a unicast address with its prefix length, such as 192.0.2.1/24")
		case a.Is4() && p.Bits() < 31 && isNetworkOrBroadcast(a, p.Bits()):
			fault(field, p, "must be a host address, not that of the network or its broadcast address")
		case seen[a]:
			fault(field, p, "duplicate")
		default:
			seen[a] = true
		}
		switch {
		case own.Label != "" && p.Addr().Is6():
			fault(field+".label", own.Label, "must be absent: IPv6 addresses have no label")
		case own.NoDAD != nil && p.Addr().Is4():
			fault(field+".nodad", *own.NoDAD, "must be absent: only IPv6 has duplicate address detection")
		case own.Metric != 0 && own.NoPrefixRoute:
			fault(field+".metric", own.Metric, "must be absent: with noprefixroute there is no route")
		}
	}
}

// validatePolicy checks that the fields which say where addresses come from fit
// together.
func validatePolicy(i nic.Interface, fault faultFunc) {
	policy, given := i.AddressPolicy, len(i.Addresses) > 0 || len(i.AddressPool.Ranges) > 0
	switch {
	case (policy == nic.PolicyReplace || policy == nic.PolicyAdd) && !given:
		fault("interface.addressPolicy", policy, "needs interface.addresses or addressPool")
	case (policy == nic.PolicyKeep || policy == nic.PolicyNone) && given:
		fault("interface.addressPolicy", policy, "must be Replace or Add with interface.addresses or addressPool, or absent")
	}
	const field = "interface.addressing"
	switch i.Addressing {
	case nic.AddressingStatic:
		if !given {
			fault(field, i.Addressing, "needs interface.addresses or addressPool")
		}
		if i.WantsDHCP() {
			fault(field, i.Addressing, "must be absent with interface.dhcp")
		}
	case nic.AddressingSLAAC:
		switch {
		case i.AcceptRA != nil && !*i.AcceptRA:
			fault("interface.acceptRA", false, "must be true or absent with interface.addressing SLAAC")
		case i.WantsDHCP6():
			fault(field, i.Addressing, "must be absent with interface.dhcp6")
		case i.DisableIPv6 != nil && *i.DisableIPv6:
			fault(field, i.Addressing, "must be absent with interface.disableIPv6")
		}
	case nic.AddressingUnnumbered:
		switch {
		case given:
			fault(field, i.Addressing, "must be absent or Static with interface.addresses or addressPool")
		case policy != "" && policy != nic.PolicyNone:
			fault(field, i.Addressing, "is the same as interface.addressPolicy None, which is %q", policy)
		case i.WantsDHCP():
			fault(field, i.Addressing, "must be absent with interface.dhcp")
		}
	}
}
