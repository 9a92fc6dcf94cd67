package netdev

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

const (
	labelLen   = 15 // IFNAMSIZ less the NUL
	minMTUIPv6 = 1280
)

// Desired applies the config to the original state and returns the state that the
// link is to have in the pod: what the config does not set stays as it was. It
// also returns, in words, the host addresses that stay out of the pod and the host
// routes that are not routable there; they are no error. A config that the link
// cannot have is one. It changes nothing.
func Desired(l Link, original State, c v1alpha1.NetDeviceConfig) (want State, omitted []string, err error) {
	want = original
	want.Up = true
	for _, a := range aspects {
		if a.want != nil {
			a.want(&want, original, c)
		}
	}
	for _, a := range original.Addresses {
		if why := a.staysOut(); why != "" && len(c.Interface.Addresses) == 0 {
			omitted = append(omitted, fmt.Sprintf("address %s: %s", a.Prefix, why))
		}
	}
	kept := want.Routes[:0:0]
	for _, r := range want.Routes {
		switch {
		case !r.Optional || r.routable(want):
			kept = append(kept, r)
		default:
			omitted = append(omitted, "route "+r.String())
		}
	}
	want.Routes = kept
	return want, omitted, want.check(l, c)
}

func (s State) has6() bool {
	return slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Prefix.Addr().Is6() })
}

func (s State) has(a netip.Addr) bool {
	return slices.ContainsFunc(s.Addresses, func(own Address) bool { return own.Prefix.Addr() == a })
}

// routable reports whether a link in state s can have the route: it has the
// route's source address, and reaches each gateway directly.
func (r Route) routable(s State) bool {
	if r.PrefSource.IsValid() && !s.has(r.PrefSource) || r.Destination.Addr().Is6() && s.MTU < minMTUIPv6 {
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
		return r.direct() && (!r.PrefSource.IsValid() || s.has(r.PrefSource)) && (r.Table == table || r.Table == unix.RT_TABLE_MAIN) && r.Destination.Contains(gateway)
	})
}

// wantAddresses keeps the host's permanent addresses, or takes the config's. It
// omits the one that the kernel makes from the hardware address, in the pod too.
func wantAddresses(want *State, original State, c v1alpha1.NetDeviceConfig) {
	want.Addresses = nil
	for _, a := range original.Addresses {
		kernels := a.Prefix.Addr() == linkLocal(original.MAC) && original.AddrGenMode == 0
		if a.staysOut() != "" || kernels || len(c.Interface.Addresses) > 0 {
			continue
		}
		if rest, ok := strings.CutPrefix(a.Label, original.Name); ok {
			a.Label = want.Name + rest
		}
		if len(a.Label) > labelLen {
			a.Label = ""
		}
		want.Addresses = append(want.Addresses, podAddress(a))
	}
	var own []Address
	for _, p := range c.Interface.Addresses {
		a := Address{Prefix: p, Scope: scopeOf(p.Addr())}
		if p.Addr().Is4() && p.Bits() < 31 {
			a.Broadcast = v1alpha1.Broadcast(p)
		}
		a.Late = a.linkLocal6() // the pod is to send from it, not from the kernel's own
		own = append(own, podAddress(a))
	}
	want.Addresses = append(want.Addresses, listed(own)...)
}

// podAddress skips duplicate address detection, which would keep IPv6 addresses
// unusable for two seconds: a pod's containers start sooner.
func podAddress(a Address) Address {
	if a.Prefix.Addr().Is6() {
		a.Flags = a.Flags&^unix.IFA_F_OPTIMISTIC | unix.IFA_F_NODAD
	}
	return a
}

// wantRoutes keeps the host's routes, and replaces them by the config's. Of the
// kernel's own it keeps those that the kernel does not add with an address: a
// network manager adds them, with the kernel's protocol, for its addresses with
// noprefixroute.
func wantRoutes(want *State, original State, c v1alpha1.NetDeviceConfig) {
	want.Routes, want.NextHopObjects = nil, nil
	replaced := func(r Route) bool {
		return slices.ContainsFunc(c.Routes, func(u v1alpha1.Route) bool {
			return u.Destination == r.Destination && tableOf(u) == r.Table
		})
	}
	for _, r := range original.Routes {
		_, brought := want.brings(r)
		drop := brought || !r.belongs(want.Addresses) || len(c.Interface.Addresses) > 0
		if !(r.Protocol == unix.RTPROT_KERNEL && drop) && !replaced(r) {
			r.Optional = true
			want.Routes = append(want.Routes, r.plain()...)
		}
	}
	for _, u := range c.Routes {
		r := routeOf(u)
		if a, brought := want.brings(r); !brought || !a.satisfies(r) {
			want.Routes = append(want.Routes, r)
		}
	}
	want.Routes = directFirst(want.Routes)
	for i := range want.Routes {
		r := &want.Routes[i]
		// The pod's own network may have a route to the same destination.
		r.Exclusive = !slices.ContainsFunc(want.Routes[:i], func(o Route) bool {
			return o.Destination == r.Destination && o.Table == r.Table && o.Metric == r.Metric && o.TOS == r.TOS
		})
	}
}

// routeOf returns a route of the config.
func routeOf(u v1alpha1.Route) Route {
	r := Route{Destination: u.Destination, Gateway: u.Gateway, PrefSource: u.Source, Table: tableOf(u), Scope: u.Scope, Protocol: unix.RTPROT_STATIC, Type: unix.RTN_UNICAST}
	if !u.Gateway.IsValid() && u.Destination.Addr().Is4() {
		r.Scope = unix.RT_SCOPE_LINK // what a route without a gateway has, and ip(8) sets
	}
	if u.Destination.Addr().Is6() {
		r.Metric = 1024 // IP6_RT_PRIO_USER, which the kernel would set
	}
	return r
}

func tableOf(r v1alpha1.Route) uint32 {
	if r.Table == 0 {
		return unix.RT_TABLE_MAIN
	}
	return r.Table
}

// wantNeighbors keeps the host's permanent neighbors, and replaces them by the
// config's.
func wantNeighbors(want *State, original State, c v1alpha1.NetDeviceConfig) {
	want.Neighbors = nil
	for _, n := range original.Neighbors {
		if !slices.ContainsFunc(c.Neighbors, func(u v1alpha1.Neighbor) bool { return u.Destination == n.Address }) {
			n.Optional = true
			want.Neighbors = append(want.Neighbors, n)
		}
	}
	for _, u := range c.Neighbors {
		want.Neighbors = append(want.Neighbors, Neighbor{Address: u.Destination, MAC: u.HardwareAddr})
	}
}
