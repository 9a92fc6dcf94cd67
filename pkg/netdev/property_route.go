package netdev

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The routes of a link and the next hop objects that they name.
var routeProperties = []property{{
	name: "routes of all tables but local, with those that a network manager adds for addresses with `noprefixroute`",
	inPod: "as on the host, but without next hop objects, and without routes that the pod's addresses do not allow, which are named in " +
		"`data.omitted`; the config's replace those to the same destination in the same table",
	phase: linkUp,
	read: func(r *reader, s *State) error {
		routes, objects, err := r.conn.routes(s.Index)
		s.Routes = slices.DeleteFunc(routes, func(o Route) bool { return o.leased(s.Addresses, r.dynamic) })
		s.NextHopObjects = objects
		return err
	},
	want:  wantRoutes,
	check: checkRoutes,
	adapt: adaptRoutes,
	steps: routeSteps,
}, {
	name: "next hop objects, and the groups that they are in", inPod: "none", side: sideHost,
	read: func(r *reader, s *State) error {
		all, err := r.conn.nextHops()
		s.NextHopObjects = objectsOf(all, s.Index)
		return err
	},
	steps: func(Link, State, State) []step { return nil }, // the routes' steps make them, in the order of dependencies
}, {
	name: "routes without an interface (blackhole, unreachable, prohibit, throw)", inPod: "the config's", after: "removed from the pod",
	side: sidePod, phase: last,
	steps: func(_ Link, _, want State) []step {
		if len(want.Deviceless) == 0 {
			return nil
		}
		return []step{{do: func(n *NetNS) outcome { return n.addDeviceless(want.Deviceless) }}}
	},
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
	want.Routes, want.NextHopObjects, want.Deviceless = nil, nil, nil
	replaced := func(r Route) bool {
		return slices.ContainsFunc(c.Routes, func(u nic.Route) bool {
			return u.Destination == r.Destination && want.inTable(routeOf(u)).Table == r.Table
		})
	}
	for _, r := range original.Routes {
		r = want.inTable(r)
		_, brought := want.brings(r)
		drop := brought || !r.belongs(want.Addresses) || !c.Interface.KeepsAddresses()
		if !(r.Protocol == unix.RTPROT_KERNEL && drop) && !replaced(r) {
			r.Optional = true
			want.Routes = append(want.Routes, r.plain()...)
		}
	}
	for _, u := range c.Routes {
		r := want.inTable(routeOf(u))
		if a, brought := want.brings(r); r.deviceless() {
			want.Deviceless = append(want.Deviceless, r)
		} else if !brought || !a.satisfies(r) {
			want.Routes = append(want.Routes, r.plain()...)
		}
	}
	want.Routes = directFirst(want.Routes)
	kept := want.Routes[:0:0]
	for _, r := range want.Routes {
		if r.Optional && !r.routable(*want) {
			omitted = append(omitted, "route "+r.String())
			continue
		}
		kept = append(kept, r)
	}
	want.Routes = kept
	if table := sourceTable(original, c); table != 0 {
		want.Routes = want.routedBySource(table)
	}
	for i := range want.Routes {
		r := &want.Routes[i]
		// The pod's own network may have a route to the same destination.
		r.Exclusive = !slices.ContainsFunc(want.Routes[:i], func(o Route) bool {
			return o.Destination == r.Destination && o.Table == r.Table && o.Metric == r.Metric && o.TOS == r.TOS
		})
	}
	return omitted
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
