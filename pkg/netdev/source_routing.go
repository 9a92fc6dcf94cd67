package netdev

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Source routing (interface.sourceRouting): traffic from the link's addresses leaves
// by the link, whatever the pod's default route is. It has a table of its own with
// the link's routes of main, and a rule for each address.

const (
	// sourceTables is the number of a link's own table less its ifindex on the host,
	// which no two links of a host share.
	sourceTables   = 100_000
	sourcePriority = 31_000 // of the rules
)

// sourceTable returns the number of the link's own table, or 0 if it has none. One
// that the link's routes and rules use otherwise is skipped.
func sourceTable(original State, c nic.Config) uint32 {
	if !c.Interface.RoutesBySource() {
		return 0
	}
	used := func(table uint32) bool {
		return slices.ContainsFunc(original.Routes, func(r Route) bool { return r.Table == table }) ||
			slices.ContainsFunc(c.Routes, func(r nic.Route) bool { return r.Table == table }) ||
			slices.ContainsFunc(c.Rules, func(r nic.Rule) bool { return r.Table == table })
	}
	table := uint32(sourceTables + original.Index)
	for used(table) {
		table += sourceTables
	}
	return table
}

// routedBySource returns the link's routes with those of main in its own table too.
// Default routes are there only: the pod's own network keeps its one.
func (s State) routedBySource(table uint32) []Route {
	var out, own []Route
	for _, r := range s.Routes {
		if r.Table != unix.RT_TABLE_MAIN {
			out = append(out, r)
			continue
		}
		if r.Destination.Bits() > 0 {
			out = append(out, r)
		}
		r.Table = table
		if r.Protocol == unix.RTPROT_KERNEL {
			r.Protocol = unix.RTPROT_STATIC
		}
		own = append(own, r)
	}
	for _, a := range s.Addresses {
		on := a.subnet()
		there := slices.ContainsFunc(own, func(r Route) bool { return r.Destination == on })
		if single := on.IsSingleIP() && !a.Peer.IsValid(); single || there || a.Flags&unix.IFA_F_NOPREFIXROUTE != 0 {
			continue
		}
		r := Route{Destination: on, Table: table, Protocol: unix.RTPROT_STATIC, Type: unix.RTN_UNICAST}
		if on.Addr().Is4() {
			r.Scope, r.PrefSource = unix.RT_SCOPE_LINK, a.Prefix.Addr()
		} else {
			r.Metric = metricUser6
		}
		own = append(own, r)
	}
	return directFirst(append(out, own...))
}

// sourceRules returns the rules for the link's addresses.
func (s State) sourceRules(table uint32) []policyRule {
	var all []policyRule
	for _, a := range s.Addresses {
		if a.global() {
			from := a.Prefix.Addr()
			all = append(all, policyRule{Family: uint8(family(from)), Priority: sourcePriority, Source: netip.PrefixFrom(from, from.BitLen()), Table: table})
		}
	}
	return all
}

// noDefault returns, in words, the families of source routing in which the link has
// no default route.
func (s State) noDefault(rules []policyRule, table uint32) (notes []string) {
	for _, f := range []struct {
		number int
		name   string
	}{{unix.AF_INET, "IPv4"}, {unix.AF_INET6, "IPv6"}} {
		ruled := slices.ContainsFunc(rules, func(r policyRule) bool { return int(r.Family) == f.number })
		routed := slices.ContainsFunc(s.Routes, func(r Route) bool {
			return r.Table == table && r.Destination.Bits() == 0 && family(r.Destination.Addr()) == f.number
		})
		if ruled && !routed {
			notes = append(notes, fmt.Sprintf("interface.sourceRouting: the interface has no %s default route, so its addresses send to other networks by the pod's", f.name))
		}
	}
	return notes
}

// checkSourceRouting reports an interface without an address to route by.
func checkSourceRouting(_ Link, want State, c nic.Config, add fault) {
	if c.Interface.RoutesBySource() && !slices.ContainsFunc(want.Addresses, Address.global) {
		add("interface.sourceRouting", true, "the interface has no address that is valid beyond its link")
	}
}
