package netdev

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The routes of a link and the next hop objects that they name.
var routeProperties = []property{{
	name: "routes of all tables but local, with those that a network manager adds for addresses with `noprefixroute`, and the next hop objects " +
		"that they name",
	inPod: "as on the host, but without next hop objects, and without routes that the pod's addresses do not allow, which are named in " +
		"`data.omitted`; the config's replace those to the same destination in the same table",
	phase: linkUp,
	read: func(r *reader, s *State) error {
		routes, objects, err := r.conn.routes(s.Index)
		s.Routes = slices.DeleteFunc(routes, func(o Route) bool { return o.leased(s.Addresses, r.dynamic) })
		s.NextHopObjects = objects
		return err
	},
	want: wantRoutes,
	check: func(_ Link, want State, c nic.Config, add fault) {
		for i, r := range c.Routes {
			checkRoute(want, fmt.Sprintf("routes[%d]", i), want.inTable(routeOf(r)), add)
		}
	},
	adapt: adaptRoutes,
	steps: routeSteps,
}}

// adaptRoutes makes all routes optional: one whose gateway the host no longer
// reaches must not make a detach fail.
func adaptRoutes(n *NetNS, l Link, want *State) outcome {
	restorable, refused, err := n.conn.restorable(l.Index, *want)
	*want = restorable
	want.Routes = slices.Clone(want.Routes)
	for i := range want.Routes {
		want.Routes[i].Optional = true
	}
	return outcome{refused: refused, err: err}
}

// wantRoutes keeps the host's routes, and replaces them by the config's. Of the
// kernel's own it keeps those that the kernel does not add with an address: a
// network manager adds them, with the kernel's protocol, for its addresses with
// noprefixroute.
func wantRoutes(want *State, original State, c nic.Config) (omitted []string) {
	want.Routes, want.NextHopObjects = nil, nil
	replaced := func(r Route) bool {
		return slices.ContainsFunc(c.Routes, func(u nic.Route) bool {
			return u.Destination == r.Destination && want.inTable(routeOf(u)).Table == r.Table
		})
	}
	for _, r := range original.Routes {
		r = want.inTable(r)
		_, brought := want.brings(r)
		drop := brought || !r.belongs(want.Addresses) || len(c.Interface.Addresses) > 0
		if !(r.Protocol == unix.RTPROT_KERNEL && drop) && !replaced(r) {
			r.Optional = true
			want.Routes = append(want.Routes, r.plain()...)
		}
	}
	for _, u := range c.Routes {
		r := want.inTable(routeOf(u))
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
	kept := want.Routes[:0:0]
	for _, r := range want.Routes {
		if r.Optional && !r.routable(*want) {
			omitted = append(omitted, "route "+r.String())
			continue
		}
		kept = append(kept, r)
	}
	want.Routes = kept
	return omitted
}

// routeOf returns a route of the config.
func routeOf(u nic.Route) Route {
	r := Route{Destination: u.Destination, Gateway: u.Gateway, PrefSource: u.Source, Table: tableOf(u), Scope: u.Scope, Protocol: unix.RTPROT_STATIC, Type: unix.RTN_UNICAST}
	if !u.Gateway.IsValid() && u.Destination.Addr().Is4() {
		r.Scope = unix.RT_SCOPE_LINK // what a route without a gateway has, and ip(8) sets
	}
	if u.Destination.Addr().Is6() {
		r.Metric = 1024 // IP6_RT_PRIO_USER, which the kernel would set
	}
	return r
}

func tableOf(r nic.Route) uint32 {
	if r.Table == 0 {
		return unix.RT_TABLE_MAIN
	}
	return r.Table
}

// checkRoute reports why a link in state s cannot have a route of the config.
func checkRoute(s State, field string, r Route, add fault) {
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

// routeSteps is listSteps in the order of dependencies: the direct routes, then the
// next hop objects, whose gateways those reach, then the other routes.
func routeSteps(l Link, have, want State) []step {
	first := slices.DeleteFunc(slices.Clone(want.Routes), func(r Route) bool {
		return (!r.direct() || r.NextHopID != 0) && !slices.ContainsFunc(have.Routes, r.equal)
	})
	return slices.Concat(listSteps(l, have.Routes, first, Route.equal, Route.message),
		nextHopSteps(l, have, want), listSteps(l, first, directFirst(want.Routes), Route.equal, Route.message))
}

// directFirst returns the routes with those first that need no other.
func directFirst(rs []Route) []Route {
	rs = slices.Clone(rs)
	slices.SortStableFunc(rs, func(a, b Route) int {
		switch {
		case a.direct() == b.direct():
			return 0
		case a.direct():
			return -1
		}
		return 1
	})
	return rs
}
