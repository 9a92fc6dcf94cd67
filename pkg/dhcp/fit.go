package dhcp

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	maxRoutes  = 32
	maxIgnored = 16
	// wide is the prefix length below which a route is as good as a default
	// route: 0.0.0.0/1 and 128.0.0.0/1 together cover everything.
	wide = 8
)

// Fit returns the lease without what would take traffic from the pod's other
// interfaces, given all destinations that are reached through those. An address
// in one of their networks is an error: nothing is left of such a lease. A route
// to everything is kept if the pod has none of its family.
func (l Lease) Fit(taken []netip.Prefix) (Lease, error) {
	hits := func(p netip.Prefix) (netip.Prefix, bool) {
		i := slices.IndexFunc(taken, func(t netip.Prefix) bool { return t.Bits() > 0 && t.Overlaps(p) })
		if i < 0 {
			return netip.Prefix{}, false
		}
		return taken[i], true
	}
	if t, hit := hits(l.Address.Masked()); hit {
		return l, fmt.Errorf("server %s leases %s, which is in the network %s of another interface of the pod", l.Server, l.Address, t)
	}
	routes := l.Routes
	l.Routes, l.Ignored = nil, slices.Clone(l.Ignored)
	for _, r := range routes {
		t, hit := hits(r.Destination)
		everything := slices.ContainsFunc(taken, func(t netip.Prefix) bool {
			return t.Bits() == 0 && t.Addr().Is4() == r.Destination.Addr().Is4()
		})
		switch {
		case r.Destination.Bits() < wide && everything:
			l.ignore("route to %s: the pod has a default route", r.Destination)
		case r.Destination.Bits() < wide && r.Destination.Bits() > 0 && hit:
			l.ignore("route to %s: it covers the network %s of another interface of the pod", r.Destination, t)
		case hit && r.Destination.Bits() > 0:
			l.ignore("route to %s: it is in the network %s of another interface of the pod", r.Destination, t)
		case !l.reaches(r.Gateway):
			l.ignore("route to %s: its gateway %s is not on the interface", r.Destination, r.Gateway)
		default:
			l.Routes = append(l.Routes, r)
		}
	}
	return l, nil
}

// reaches reports whether a gateway is on the interface: in the lease's network,
// or in that of a route without a gateway.
func (l Lease) reaches(gateway netip.Addr) bool {
	return !gateway.IsValid() || l.Address.Masked().Contains(gateway) ||
		slices.ContainsFunc(l.Routes, func(r nic.Route) bool { return !r.Gateway.IsValid() && r.Destination.Contains(gateway) })
}

// ignore notes something that the server sent and that is not used. The values
// are typed: no text of the server's gets in.
func (l *Lease) ignore(format string, args ...any) {
	if len(l.Ignored) < maxIgnored {
		l.Ignored = append(l.Ignored, fmt.Sprintf(format, args...))
	}
}
