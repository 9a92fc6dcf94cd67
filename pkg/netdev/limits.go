package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// fixedMAC are the kinds of link whose hardware address cannot be set.
var fixedMAC = map[string]bool{"ifb": true, "ipvlan": true, "ipvtap": true}

// atMostLower are the kinds of link whose MTU is at most that of their lower
// device, though their own limit is higher.
var atMostLower = map[string]bool{"macvlan": true, "macvtap": true, "vlan": true}

// oneMACEach are the kinds of which no two on one lower device may have the same
// hardware address, nor that of the lower device.
var oneMACEach = map[string]bool{"macvlan": true, "macvtap": true}

// fault adds a reason why a link cannot be as a config wants it.
type fault func(field string, value any, format string, args ...any)

// check returns every reason why the link cannot have state s, which the config
// requests, in a pod: what the kernel would refuse only there.
func (s State) check(l Link, c v1alpha1.NetDeviceConfig) error {
	var errs []error
	add := func(field string, value any, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %q: %w", field, fmt.Sprint(value), fmt.Errorf(format, args...)))
	}
	if err := v1alpha1.CheckName(s.Name); err != nil {
		add("interface.name", s.Name, "%w: the name on the host is kept when none is set; set interface.name", err)
	}
	s.checkMTU(l, c, add)
	if mac := c.Interface.HardwareAddr; len(mac) > 0 && !bytes.Equal(mac, l.MAC) {
		switch {
		case l.Encapsulation != "ether" || fixedMAC[l.Kind]:
			add("interface.hardwareAddr", mac, "the hardware address of this kind of interface (%s) cannot be set", kindOrType(l))
		case len(mac) != len(l.MAC):
			add("interface.hardwareAddr", mac, "must have %d bytes as the interface's own, has %d", len(l.MAC), len(mac))
		case slices.ContainsFunc(l.TakenMACs, func(o v1alpha1.HardwareAddr) bool { return bytes.Equal(o, mac) }):
			add("interface.hardwareAddr", mac, "the lower device of this %s, or another interface on that, has it", l.Kind)
		}
	}
	for i, r := range c.Routes {
		s.checkRoute(fmt.Sprintf("routes[%d]", i), routeOf(r), add)
	}
	for i, n := range c.Neighbors {
		field := fmt.Sprintf("neighbors[%d]", i)
		if len(n.HardwareAddr) != len(l.MAC) {
			add(field+".hardwareAddr", n.HardwareAddr, "must have %d bytes as the interface's own, has %d", len(l.MAC), len(n.HardwareAddr))
		}
		if n.Destination.Is6() && s.MTU < minMTUIPv6 {
			add(field+".destination", n.Destination, "IPv6 needs an MTU of %d or more, the interface has %d", minMTUIPv6, s.MTU)
		}
	}
	return errors.Join(errs...)
}

func kindOrType(l Link) string {
	if l.Kind != "" {
		return l.Kind
	}
	return l.Encapsulation
}

func (s State) checkMTU(l Link, c v1alpha1.NetDeviceConfig, add fault) {
	mtu := c.Interface.MTU
	switch {
	case s.has6() && s.MTU < minMTUIPv6:
		add("interface.mtu", s.MTU, "the interface has IPv6 addresses, which need %d or more", minMTUIPv6)
	case mtu == 0 || mtu == l.MTU: // it has this MTU, whatever the driver's limits are
	case mtu < l.MinMTU:
		add("interface.mtu", mtu, "the interface takes %d or more", l.MinMTU)
	case l.MaxMTU != 0 && mtu > l.MaxMTU:
		add("interface.mtu", mtu, "the interface takes %d at most", l.MaxMTU)
	}
}

// checkRoute reports why a link in state s cannot have a route of the config.
func (s State) checkRoute(field string, r Route, add fault) {
	address, brought := s.brings(r)
	switch {
	case r.Destination.Addr().Is6() && s.MTU < minMTUIPv6:
		add(field+".destination", r.Destination, "IPv6 needs an MTU of %d or more, the interface has %d", minMTUIPv6, s.MTU)
	case r.PrefSource.IsValid() && !s.has(r.PrefSource):
		add(field+".source", r.PrefSource, "the interface does not have this address")
	case brought && !address.satisfies(r):
		add(field+".destination", r.Destination, "the kernel adds this route with the interface's address %s", address.Prefix)
	case !s.reaches(r.Gateway, r.Table):
		add(field+".gateway", r.Gateway, "the interface's addresses do not reach the gateway")
	default:
		if why := s.noGateway(r); why != "" {
			add(field+".gateway", r.Gateway, "%s", why)
		}
	}
}

// ofLower adds the limits that the lower device sets for links of some kinds: its
// MTU at most, and a hardware address that neither it nor another link on it has.
func (n *NetNS) ofLower(l Link) (Link, error) {
	if !atMostLower[l.Kind] || l.Lower == 0 || l.LowerNetNSID != -1 {
		return l, nil
	}
	links, err := n.conn.links()
	for _, o := range links {
		lower := o.Index == l.Lower
		if lower && (l.MaxMTU == 0 || o.MTU < l.MaxMTU) {
			l.MaxMTU = o.MTU
		}
		sibling := o.Index != l.Index && o.Lower == l.Lower && o.LowerNetNSID == -1
		if oneMACEach[l.Kind] && (lower || sibling && oneMACEach[o.Kind]) {
			l.TakenMACs = append(l.TakenMACs, o.MAC)
		}
	}
	return l, err
}
