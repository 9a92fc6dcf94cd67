package netdev

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Which routes a link can have with its addresses and other routes.

func (s State) has6() bool {
	return slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Prefix.Addr().Is6() })
}

func (s State) has(a netip.Addr) bool {
	return slices.ContainsFunc(s.Addresses, func(own Address) bool { return own.Prefix.Addr() == a })
}

// routable reports whether a link in state s can have the route: it has the
// route's source address, and reaches each gateway directly.
func (r Route) routable(s State) bool {
	if r.PrefSource.IsValid() && !s.has(r.PrefSource) || s.no6(r.Destination.Addr()) != "" {
		return false
	}
	if len(r.NextHops) == 0 {
		return r.OnLink || s.reaches(r.Gateway, r.Table)
	}
	for _, h := range r.NextHops {
		if h.Link != 0 || !h.OnLink && !s.reaches(h.Gateway, r.Table) {
			return false
		}
	}
	return true
}

// reaches reports whether a gateway is on the link: the kernel requires a route to
// it without a gateway of its own.
func (s State) reaches(gateway netip.Addr, table uint32) bool {
	if !gateway.IsValid() || gateway.IsLinkLocalUnicast() && gateway.Is6() {
		return true
	}
	for _, a := range s.Addresses {
		on := a.Prefix
		if a.Peer.IsValid() {
			on = netip.PrefixFrom(a.Peer, a.Prefix.Bits())
		}
		if a.Flags&unix.IFA_F_NOPREFIXROUTE == 0 && on.Masked().Contains(gateway) {
			return true
		}
	}
	return slices.ContainsFunc(s.Routes, func(r Route) bool {
		return r.direct() && (!r.PrefSource.IsValid() || s.has(r.PrefSource)) && (r.Table == table || r.Table == s.mainTable()) && r.Destination.Contains(gateway)
	})
}

// leased reports whether a route depends on a dynamic address of the link, whose
// owner restores both.
func (r Route) leased(permanent, dynamic []Address) bool {
	if slices.ContainsFunc(dynamic, func(a Address) bool { return a.Prefix.Addr() == r.PrefSource }) {
		return true
	}
	return r.Protocol == unix.RTPROT_KERNEL && !r.belongs(permanent)
}

// belongs reports whether a route is one that the kernel, or a network manager
// in its place, adds with one of the addresses.
func (r Route) belongs(addresses []Address) bool {
	return slices.ContainsFunc(addresses, func(a Address) bool {
		return a.Prefix.Masked() == r.Destination || a.Prefix.Addr() == r.PrefSource ||
			a.Peer.IsValid() && netip.PrefixFrom(a.Peer, a.Prefix.Bits()).Masked() == r.Destination ||
			a.Peer.IsValid() && netip.PrefixFrom(a.Prefix.Addr(), a.Prefix.Bits()) == r.Destination
	})
}
