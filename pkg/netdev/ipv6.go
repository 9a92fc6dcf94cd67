package netdev

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// IPv6 of a link in the pod: whether it is on, and whether routers configure it.

const (
	disableIPv6 = "net.ipv6.conf.IFNAME.disable_ipv6"
	acceptRA    = "net.ipv6.conf.IFNAME.accept_ra"

	// Places in the array of IPv6 settings (DEVCONF_ in linux/ipv6.h).
	confForwarding, confDisableIPv6 = 0, 26

	// addrGenNone is IN6_ADDR_GEN_MODE_NONE, which NetworkManager sets.
	addrGenNone = 1

	ipv6Off = "IPv6 is switched off in the pod by interface.disableIPv6"
)

// withoutIPv6 reports whether the config switches IPv6 off.
func (s State) withoutIPv6() bool { return s.Sysctls[disableIPv6] == "1" }

// no6 returns why the link cannot have an address, or a route to it, in the pod, or
// "".
func (s State) no6(a netip.Addr) string {
	switch {
	case !a.Is6():
		return ""
	case s.MTU < minMTUIPv6:
		return fmt.Sprintf("IPv6 needs an MTU of %d or more, the interface has %d", minMTUIPv6, s.MTU)
	case s.withoutIPv6():
		return ipv6Off
	}
	return ""
}

// checkIPv6 reports what of a config needs the IPv6 that the link does not have.
func checkIPv6(want State, i nic.Interface, add fault) {
	no6 := want.no6(netip.IPv6Unspecified())
	if no6 == "" {
		return
	}
	if want.withoutIPv6() {
		for n, a := range i.Addresses {
			if a.Prefix.Addr().Is6() {
				add(fmt.Sprintf("interface.addresses[%d]", n), a, "%s", no6)
			}
		}
		if i.WantsDHCP6() {
			add("interface.dhcp6", true, "%s", no6)
		}
	} else if i.DisableIPv6 != nil && !*i.DisableIPv6 {
		add("interface.disableIPv6", false, "%s", no6)
	}
	if want.SLAAC {
		add("interface.addressing", nic.AddressingSLAAC, "%s", no6)
	}
	if i.AcceptRA != nil && *i.AcceptRA {
		add("interface.acceptRA", true, "%s", no6)
	}
}

// ignoreRAs makes a link ignore router advertisements unless the config says what it
// does: a router of another network must add no address and no default route beside
// those of the pod's own.
func (s *State) ignoreRAs(original State) {
	has6 := s.MTU >= minMTUIPv6 && (len(original.Conf6) > 0 || original.MTU < minMTUIPv6)
	if _, set := s.Sysctls[acceptRA]; !set && has6 && known(acceptRA) {
		s.setSysctl(acceptRA, "0")
	}
}

// setSysctl changes a copy of the wanted sysctls: the original's may be shared.
func (s *State) setSysctl(name, value string) {
	if s.Sysctls = maps.Clone(s.Sysctls); s.Sysctls == nil {
		s.Sysctls = map[string]string{}
	}
	s.Sysctls[name] = value
}

// fitIPv6 fits the wanted state to the namespace's own defaults, which l, found
// there, shows: a CNI plugin may switch IPv6 off in the whole pod, and a pod that
// forwards ignores router advertisements. It returns in words what it switched on.
func (s *State) fitIPv6(l Link) (notes []string) {
	if len(l.Conf6) <= confDisableIPv6 {
		return nil
	}
	_, set := s.Sysctls[disableIPv6]
	if l.Conf6[confDisableIPv6] != 0 && !set && (s.has6() || s.SLAAC) {
		s.setSysctl(disableIPv6, "0")
		notes = append(notes, "the pod has IPv6 switched off: it is on for this interface, for its IPv6 addresses; interface.disableIPv6: true leaves them out")
	}
	if s.Sysctls[acceptRA] == "1" && l.Conf6[confForwarding] != 0 {
		s.setSysctl(acceptRA, "2")
	}
	return notes
}
