package v1alpha1

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	tableMain  = 254 // RT_TABLE_MAIN
	tableLocal = 255 // RT_TABLE_LOCAL
	protocolRA = 9   // RTPROT_RA, of routes that the kernel learns
)

func validateRoutes(c nic.Config, fault faultFunc) {
	for i, r := range c.Routes {
		field := fmt.Sprintf("routes[%d]", i)
		if !r.Destination.IsValid() || r.Destination.Addr().Is4In6() {
			fault(field+".destination", r.Destination, "must be a prefix such as 198.51.100.0/24")
			continue
		}
		validateRoute(r, field, fault)
		validateHops(r, field, fault)
		if r.Type.Deviceless() {
			validateDeviceless(r, field, fault)
		}
		if slices.ContainsFunc(c.Routes[:i], func(o nic.Route) bool {
			return o.Destination == r.Destination && o.Gateway == r.Gateway && table(o) == table(r) && o.Metric == r.Metric
		}) {
			fault(field, r.Destination, "duplicate")
		}
		if slices.ContainsFunc(c.Routes[:i], func(o nic.Route) bool {
			one := o.Type.Deviceless() || r.Type.Deviceless()
			return one && o.Gateway != r.Gateway && o.Destination == r.Destination && table(o) == table(r) && o.Metric == r.Metric
		}) {
			fault(field+".metric", r.Metric, "must differ from that of the other route to %s: one of them has the type blackhole, unreachable, prohibit or throw", r.Destination)
		}
	}
}

// table returns the number of the route's table.
func table(r nic.Route) uint32 {
	if r.Table == 0 {
		return tableMain
	}
	return r.Table
}

func validateRoute(r nic.Route, field string, fault faultFunc) {
	if r.Destination != r.Destination.Masked() {
		fault(field+".destination", r.Destination, "has host bits set; want %s", r.Destination.Masked())
	}
	checkAddr(field+".gateway", r.Gateway, false, fault)
	checkAddr(field+".source", r.Source, false, fault)
	sameFamily(r, field+".gateway", r.Gateway, fault)
	sameFamily(r, field+".source", r.Source, fault)
	if r.Scope != 0 && r.Destination.Addr().Is6() {
		fault(field+".scope", r.Scope, "must be absent: IPv6 routes have no scope")
	}
	if r.Scope != 0 && r.Gateway.IsValid() {
		fault(field+".scope", r.Scope, "must not be link: the route has the gateway %s", r.Gateway)
	}
	if r.Table == tableLocal {
		fault(field+".table", r.Table, "must not be the local table, which belongs to the kernel")
	}
	if r.MTU != 0 && r.MTU < minMTU6 && r.Destination.Addr().Is6() {
		fault(field+".mtu", r.MTU, "must be %d or more with IPv6", minMTU6)
	}
	if r.Protocol == protocolRA {
		fault(field+".protocol", r.Protocol, "must not be that of router advertisements, whose routes expire")
	}
	if r.OnLink && !r.Gateway.IsValid() {
		fault(field+".onLink", r.OnLink, "must be absent without a gateway; those in multipath have their own onLink")
	}
}

// sameFamily checks that an address of a route is of the family of its destination.
func sameFamily(r nic.Route, field string, a netip.Addr, fault faultFunc) {
	if a.IsValid() && a.Is4() != r.Destination.Addr().Is4() {
		fault(field, a, "must be of the same family as the destination %s", r.Destination)
	}
}

func validateHops(r nic.Route, field string, fault faultFunc) {
	if r.Multipath == nil {
		return
	}
	if len(r.Multipath) < 2 {
		fault(field+".multipath", len(r.Multipath), "must have two gateways or more; for one use gateway")
	}
	if r.Gateway.IsValid() {
		fault(field+".gateway", r.Gateway, "must be absent with multipath")
	}
	if r.Scope != 0 {
		fault(field+".scope", r.Scope, "must not be link: the route has gateways")
	}
	for i, h := range r.Multipath {
		name := fmt.Sprintf("%s.multipath[%d].gateway", field, i)
		checkAddr(name, h.Gateway, true, fault)
		sameFamily(r, name, h.Gateway, fault)
		if slices.ContainsFunc(r.Multipath[:i], func(o nic.NextHop) bool { return o.Gateway == h.Gateway }) {
			fault(name, h.Gateway, "duplicate")
		}
	}
}

// validateDeviceless checks a route of a type that has no next hop.
func validateDeviceless(r nic.Route, field string, fault faultFunc) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"gateway", r.Gateway.IsValid()},
		{"multipath", r.Multipath != nil},
		{"source", r.Source.IsValid()},
		{"scope", r.Scope != 0},
		{"mtu", r.MTU != 0},
		{"onLink", r.OnLink},
		{"protocol", r.Protocol != 0},
	} {
		if f.set {
			fault(field+"."+f.name, r.Type, "must be absent: a route of this type does not use it")
		}
	}
}
