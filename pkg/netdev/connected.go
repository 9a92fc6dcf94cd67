package netdev

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// metric6 is the metric of a route that the kernel adds with an IPv6 address,
// IP6_RT_PRIO_ADDRCONF.
const metric6 = 256

// metricUser6 is the metric that the kernel gives to an IPv6 route without one,
// IP6_RT_PRIO_USER.
const metricUser6 = 1024

// siteLocal are the addresses of a scope that RFC 3879 has deprecated.
var siteLocal = netip.MustParsePrefix("fec0::/10")

// listed returns the addresses in the order in which the kernel lists them
// when they are added in the order of as: of IPv4 the first of each subnet
// before the others, of IPv6 the narrower scope first.
func listed(as []Address) []Address {
	subnets := map[netip.Prefix]bool{}
	type ranked struct {
		Address
		rank int
	}
	all := make([]ranked, 0, len(as))
	for _, a := range as {
		r := ranked{a, int(unix.RT_SCOPE_NOWHERE) - int(a.Scope)}
		if on := a.subnet(); on.Addr().Is4() {
			r.rank = 0
			if subnets[on] {
				r.rank = 1
			}
			subnets[on] = true
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return a.rank - b.rank })
	out := make([]Address, 0, len(all))
	for _, r := range all {
		out = append(out, r.Address)
	}
	return out
}

// subnet is what is reached through the address.
func (a Address) subnet() netip.Prefix {
	if a.Peer.IsValid() {
		return netip.PrefixFrom(a.Peer, a.Prefix.Bits()).Masked()
	}
	return a.Prefix.Masked()
}

// scopeOf returns the scope that the kernel gives an address. Of IPv4 it is the
// user's to choose, and ip(8) chooses this.
func scopeOf(a netip.Addr) uint8 {
	switch {
	case a.Is6() && a.IsLinkLocalUnicast():
		return unix.RT_SCOPE_LINK
	case siteLocal.Contains(a):
		return unix.RT_SCOPE_SITE
	}
	return unix.RT_SCOPE_UNIVERSE
}

// brings returns the address with which the kernel adds a route to the same
// destination, in the same table and with the same metric.
func (s State) brings(r Route) (a Address, found bool) {
	if r.Table != s.mainTable() {
		return a, false
	}
	subnets := map[netip.Prefix]bool{}
	for _, a := range s.Addresses {
		on, metric := a.subnet(), a.Metric
		switch {
		case on.Addr().Is6():
			if metric == 0 {
				metric = metric6
			}
			peer := a.Peer.IsValid() && r.Destination == netip.PrefixFrom(a.Peer, a.Peer.BitLen())
			own := a.Flags&unix.IFA_F_NOPREFIXROUTE == 0 && (r.Destination == on || r.Destination == a.Prefix.Masked())
			if (peer || own) && r.Metric == metric {
				return a, true
			}
		case subnets[on]: // a secondary address
		default:
			subnets[on] = true
			single := on.Bits() == on.Addr().BitLen() && !a.Peer.IsValid()
			if !single && a.Flags&unix.IFA_F_NOPREFIXROUTE == 0 && r.Destination == on && r.Metric == metric {
				return a, true
			}
		}
	}
	return a, false
}

// satisfies reports whether the route that the kernel adds with the address does
// the same as r.
func (a Address) satisfies(r Route) bool {
	return r.direct() && (!r.PrefSource.IsValid() || r.PrefSource == a.Prefix.Addr())
}

// noGateway returns why an address that is reachable cannot be the route's
// gateway, or "".
func (s State) noGateway(r Route) string {
	g := r.Gateway
	if !g.IsValid() {
		return ""
	}
	if (g.Is6() || r.OnLink) && (s.has(g) || s.AddrGenMode == 0 && g == linkLocal(s.MAC)) {
		return "is the interface's own address"
	}
	for _, a := range s.Addresses {
		if on := a.subnet(); on.Addr().Is4() && on.Bits() < 31 && g == nic.Broadcast(on) {
			return "is the broadcast address of " + on.String()
		}
	}
	if g.Is4() || g.IsLinkLocalUnicast() || r.OnLink {
		return ""
	}
	best := netip.Prefix{}
	for _, a := range s.Addresses {
		if a.Flags&unix.IFA_F_NOPREFIXROUTE == 0 && a.subnet().Contains(g) && a.Prefix.Bits() > best.Bits() {
			best = a.subnet()
		}
	}
	through := netip.Addr{}
	for _, o := range s.Routes {
		if (o.Table == r.Table || o.Table == s.mainTable()) && o.Destination.Contains(g) && o.Destination.Bits() > best.Bits() {
			best, through = o.Destination, o.Gateway
		}
	}
	if through.IsValid() {
		return "is itself behind the gateway " + through.String()
	}
	return ""
}

// linkLocal returns the address that the kernel makes from a hardware address
// of 6 bytes (RFC 4291, appendix A), or of the 20 of InfiniBand (RFC 4391, 8), or
// none.
func linkLocal(mac nic.HardwareAddr) netip.Addr {
	a := [16]byte{0xfe, 0x80}
	switch len(mac) {
	case 6:
		copy(a[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	case infinibandAddrLen:
		copy(a[8:], mac[12:])
		a[8] |= 2
	default:
		return netip.Addr{}
	}
	return netip.AddrFrom16(a)
}

// infinibandAddrLen is INFINIBAND_ALEN: 4 bytes of a queue pair and the port's GID.
const infinibandAddrLen = 20
