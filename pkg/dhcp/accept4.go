package dhcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The bounds of what a server may lease.
const (
	minValid  = 10 * time.Second
	maxValid  = 365 * 24 * time.Hour // also of one without an end, which the kernel would take for permanent
	minRenew  = 5 * time.Second      // a server cannot make us ask more often
	minMask   = 8                    // bits; a shorter one would be the whole Internet
	minMTU4   = 576                  // RFC 2132, 3.8
	maxMTU    = 65535
	maxDNS    = 8
	maxSearch = 8
	maxName   = 253 // bytes of a domain's name (RFC 1035)
)

// accept4 makes a lease of an OFFER or ACK, or an error if it cannot be used. Of
// the rest it keeps what can be used.
func accept4(a answer4, since time.Duration) (Lease, error) {
	l := Lease{Family: IPv4, Server: addr4(a.ServerIdentifier()), ServerMAC: a.from, Since: since}
	if !unicast(l.Server) {
		return l, fmt.Errorf("a DHCP server that does not name itself has answered")
	}
	own := addr4(a.YourIPAddr)
	if !unicast(own) || own.IsLinkLocalUnicast() {
		return l, fmt.Errorf("server %s offers %q, which is no address of an interface", l.Server, own)
	}
	mask := a.SubnetMask()
	if mask == nil {
		mask = net.IP(own.AsSlice()).DefaultMask()
	}
	bits, size := mask.Size()
	if size != 32 || bits < minMask {
		return l, fmt.Errorf("server %s offers %s with the mask %q, want 8 bits or more", l.Server, own, net.IP(mask))
	}
	l.Address = netip.PrefixFrom(own, bits)
	if bits < 31 && (own == l.Address.Masked().Addr() || own == nic.Broadcast(l.Address)) {
		return l, fmt.Errorf("server %s offers %s, which is the network or its broadcast address", l.Server, l.Address)
	}
	seconds := a.IPAddressLeaseTime(0)
	if seconds < minValid {
		return l, fmt.Errorf("server %s offers %s for %s, want %s or more", l.Server, l.Address, seconds, minValid)
	}
	l = l.timed(seconds, seconds, a.IPAddressRenewalTime(0), a.IPAddressRebindingTime(0))
	l.Routes = l.routes4(a)
	if b := a.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 {
		l.MTU = l.mtu(int(binary.BigEndian.Uint16(b)))
	}
	for _, ip := range a.DNS() {
		l.DNS = l.addDNS(addr4(ip))
	}
	if labels := a.DomainSearch(); labels != nil {
		l.Search = names(labels.Labels)
	} else {
		l.Search = names([]string{a.DomainName()})
	}
	return l, nil
}

// timed returns the lease with its times, bounded and in order.
func (l Lease) timed(preferred, valid, t1, t2 time.Duration) Lease {
	l.Valid = min(valid, maxValid)
	l.Preferred = min(preferred, l.Valid)
	base := l.Valid
	if l.Preferred > 0 {
		base = l.Preferred
	}
	if t1 <= 0 || t2 <= 0 || t1 > t2 || t2 > base {
		t1, t2 = base/2, base*7/8
	}
	l.T1 = max(t1, minRenew)
	l.T2 = max(t2, l.T1)
	return l
}

// routes4 returns the routes of a message: the classless ones or, without those,
// one to everything through the first router. One without a gateway comes first:
// others may need it.
func (l *Lease) routes4(a answer4) (rs []nic.Route) {
	if all := a.ClasslessStaticRoute(); len(a.Options.Get(dhcpv4.OptionClasslessStaticRoute)) > 0 {
		for _, r := range all {
			bits, _ := r.Dest.Mask.Size()
			to, gateway := netip.PrefixFrom(addr4(r.Dest.IP), bits).Masked(), addr4(r.Router)
			if gateway.IsUnspecified() || gateway == l.Address.Addr() {
				gateway = netip.Addr{}
			}
			rs = l.addRoute(rs, nic.Route{Destination: to, Gateway: gateway})
		}
	} else if routers := a.Router(); len(routers) > 0 {
		gateway := addr4(routers[0])
		if l.Address.Bits() == 32 && unicast(gateway) { // its network has nothing but the client
			rs = append(rs, nic.Route{Destination: netip.PrefixFrom(gateway, 32)})
		}
		rs = l.addRoute(rs, nic.Route{Destination: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: gateway})
	}
	slices.SortStableFunc(rs, func(a, b nic.Route) int {
		switch {
		case a.Gateway.IsValid() == b.Gateway.IsValid():
			return 0
		case b.Gateway.IsValid():
			return -1
		}
		return 1
	})
	return rs
}

// addRoute appends a route that an interface can have.
func (l *Lease) addRoute(rs []nic.Route, r nic.Route) []nic.Route {
	to := r.Destination.Addr()
	switch {
	case to.IsMulticast() || to.IsLoopback() || r.Destination.Bits() > 0 && !unicast(to) || r.Gateway.IsValid() && !unicast(r.Gateway):
		l.ignore("route to %s through %s: no unicast route", r.Destination, r.Gateway)
	case r.Destination == l.Address.Masked() && !r.Gateway.IsValid(): // comes with the address
	case slices.ContainsFunc(rs, func(o nic.Route) bool { return o.Destination == r.Destination }):
		l.ignore("route to %s through %s: a second one", r.Destination, r.Gateway)
	case len(rs) >= maxRoutes:
		l.ignore("route to %s: only the first %d are used", r.Destination, maxRoutes)
	default:
		return append(rs, r)
	}
	return rs
}

// mtu returns the MTU that a server sends, or 0 if no interface should have it.
func (l *Lease) mtu(mtu int) int {
	if mtu < minMTU4 || mtu > maxMTU {
		l.ignore("MTU %d: want %d or more", mtu, minMTU4)
		return 0
	}
	return mtu
}

func (l *Lease) addDNS(a netip.Addr) []netip.Addr {
	if !unicast(a) || len(l.DNS) >= maxDNS || slices.Contains(l.DNS, a) {
		return l.DNS
	}
	return append(l.DNS, a)
}

// domain is the name of a domain, as resolvers take it.
var domain = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)

// names returns those that are names of domains.
func names(all []string) (ok []string) {
	for _, n := range all {
		if n = trimDot(n); len(n) <= maxName && domain.MatchString(n) && len(ok) < maxSearch && !slices.Contains(ok, n) {
			ok = append(ok, n)
		}
	}
	return ok
}

func trimDot(name string) string {
	if len(name) > 1 && name[len(name)-1] == '.' {
		return name[:len(name)-1]
	}
	return name
}

// reserved4 is what no interface can have as its address, beside multicast and
// loopback (RFC 6890).
var reserved4 = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4")}

// unicast reports whether an interface, or a neighbor of it, can have the
// address.
func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback() &&
		!slices.ContainsFunc(reserved4, func(p netip.Prefix) bool { return p.Contains(a) })
}
