package nic

import "net/netip"

// Route is a route through the interface. It replaces a host route to the same
// destination in the same table.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway,omitzero"`
	Source      netip.Addr   `json:"source,omitzero"` // preferred source address
	// Scope as in rtnetlink(7): 0 is universe, 253 is link.
	Scope uint8 `json:"scope,omitempty"`
	// Table is the routing table; 0 means main (254).
	Table  uint32    `json:"table,omitempty"`
	Metric uint32    `json:"metric,omitempty"` // 0: the kernel's
	MTU    int       `json:"mtu,omitempty"`    // in bytes; 0: the interface's
	OnLink bool      `json:"onLink,omitempty"` // the gateways are on the link, whatever its addresses are
	Type   RouteType `json:"type,omitempty"`   // empty: unicast
	// Protocol is who made the route (/etc/iproute2/rt_protos); 0 means static (4).
	Protocol  uint8     `json:"protocol,omitempty"`
	Multipath []NextHop `json:"multipath,omitempty"` // in place of Gateway
}

// RoutesBySource reports whether traffic from the interface's addresses leaves by
// the interface.
func (i Interface) RoutesBySource() bool { return i.SourceRouting != nil && *i.SourceRouting }

// NextHop is one of several gateways of a route.
type NextHop struct {
	Gateway netip.Addr `json:"gateway"`
	Weight  int        `json:"weight,omitempty"` // 1 to 256; 0 is 1
	OnLink  bool       `json:"onLink,omitempty"`
}

// RouteType is what a route does with a packet. All types but unicast drop it, or
// go on with the next rule, and belong to no interface.
type RouteType string

// The types of route, as ip-route(8) names them.
const (
	Unicast     RouteType = "unicast"
	Blackhole   RouteType = "blackhole"
	Unreachable RouteType = "unreachable"
	Prohibit    RouteType = "prohibit"
	Throw       RouteType = "throw"
)

// Deviceless reports whether a route of the type has no interface.
func (t RouteType) Deviceless() bool { return t != "" && t != Unicast }
