package netdev

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Route is one route through a link (RTM_NEWROUTE in rtnetlink(7)).
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Source      netip.Prefix `json:"source,omitzero"` // IPv6 source routing
	Gateway     netip.Addr   `json:"gateway,omitzero"`
	PrefSource  netip.Addr   `json:"prefSource,omitzero"`
	Table       uint32       `json:"table"`
	Metric      uint32       `json:"metric,omitempty"`
	Protocol    uint8        `json:"protocol,omitempty"`
	Scope       uint8        `json:"scope,omitempty"`
	Type        uint8        `json:"type,omitempty"`
	TOS         uint8        `json:"tos,omitempty"`
	OnLink      bool         `json:"onLink,omitempty"`
	NextHops    []nextHop    `json:"nextHops,omitempty"`  // of a multipath route
	NextHopID   uint32       `json:"nextHopID,omitempty"` // object that has the gateway or next hops, on the host
	Extra       []Attr       `json:"extra,omitempty"`     // attributes kept as they are
	Optional    bool         `json:"optional,omitempty"`  // may be omitted where the link's addresses do not allow it
	Exclusive   bool         `json:"exclusive,omitempty"` // must be the only route to its destination
}

// Attr is a netlink attribute that is preserved and not interpreted.
type Attr struct {
	Type  uint16 `json:"type"`
	Value []byte `json:"value"`
}

// preservedRouteAttrs are the attributes of a route that are preserved as they are: its
// metrics (MTU, window, …), realm, router preference and encapsulation.
var preservedRouteAttrs = map[uint16]bool{
	unix.RTA_METRICS: true, unix.RTA_FLOW: true, unix.RTA_PREF: true,
	unix.RTA_ENCAP: true, unix.RTA_ENCAP_TYPE: true, unix.RTA_VIA: true,
}

type routeMessage struct {
	Route
	dst, src netip.Addr
	oif      int
	expires  uint32
	hops     []byte
}

var routeFields = map[uint16]func(*routeMessage, []byte){
	unix.RTA_DST:       func(m *routeMessage, b []byte) { m.dst = ipAddr(b) },
	unix.RTA_SRC:       func(m *routeMessage, b []byte) { m.src = ipAddr(b) },
	unix.RTA_OIF:       func(m *routeMessage, b []byte) { m.oif = int(u32(b)) },
	unix.RTA_GATEWAY:   func(m *routeMessage, b []byte) { m.Gateway = ipAddr(b) },
	unix.RTA_PREFSRC:   func(m *routeMessage, b []byte) { m.PrefSource = ipAddr(b) },
	unix.RTA_PRIORITY:  func(m *routeMessage, b []byte) { m.Metric = u32(b) },
	unix.RTA_TABLE:     func(m *routeMessage, b []byte) { m.Table = u32(b) },
	unix.RTA_MULTIPATH: func(m *routeMessage, b []byte) { m.hops = b },
	rtaNextHopID:       func(m *routeMessage, b []byte) { m.NextHopID = u32(b) },
	unix.RTA_CACHEINFO: func(m *routeMessage, b []byte) {
		if len(b) >= 12 {
			m.expires = u32(b[8:]) // struct rta_cacheinfo: clntref, lastuse, expires
		}
	},
}

// decodeRoute reads an RTM_NEWROUTE payload as a route of the link with this
// index, or as none if it is not ours to keep: of the local table, expiring or
// learned from the network, or the kernel's own link-local one, which the kernel
// adds and removes with the link's state and which is recognized by its metric.
//
// An IPv6 route with several next hops is several routes that the kernel shows
// as one: those of the link are returned one by one, unless they come from an
// object. A route that only names an object is taken for the link's.
func decodeRoute(b []byte, index int) (rs []Route, err error) {
	if len(b) < unix.SizeofRtMsg {
		return nil, fmt.Errorf("route message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	h := nl.DeserializeRtMsg(b)
	m := routeMessage{Route: Route{Table: uint32(h.Table), Protocol: h.Protocol, Scope: h.Scope, Type: h.Type, TOS: h.Tos, OnLink: h.Flags&unix.RTNH_F_ONLINK != 0}}
	if err := fields(b[unix.SizeofRtMsg:], &m, routeFields); err != nil {
		return nil, err
	}
	each(b[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		usual := typ == unix.RTA_PREF && u8(v) == 0 // the kernel adds it to every IPv6 route
		if preservedRouteAttrs[typ] && !usual {
			m.Extra = append(m.Extra, Attr{typ, bytes.Clone(v)})
		}
	})
	m.Destination = prefix(m.dst, h.Dst_len, h.Family)
	if h.Src_len > 0 {
		m.Source = prefix(m.src, h.Src_len, h.Family)
	}
	learned := m.expires != 0 || m.Protocol == unix.RTPROT_RA || m.Protocol == unix.RTPROT_REDIRECT || h.Flags&unix.RTM_F_CLONED != 0
	linkLocal := m.Protocol == unix.RTPROT_KERNEL && m.Metric == metric6 && m.Destination.Addr().IsLinkLocalUnicast() && !m.Destination.Addr().Is4()
	valid := m.Destination.IsValid() && (h.Src_len == 0 || m.Source.IsValid())
	if learned || linkLocal || m.Table == unix.RT_TABLE_LOCAL || !valid {
		return nil, nil
	}
	if m.hops == nil {
		if m.oif != index && (m.oif != 0 || m.NextHopID == 0) {
			return nil, nil
		}
		return []Route{m.Route}, nil
	}
	hops, mine, err := decodeMultipath(m.hops, index)
	if err != nil || !mine {
		return nil, err
	}
	if h.Family == unix.AF_INET6 && m.NextHopID == 0 {
		return m.Route.perNextHop(hops), nil
	}
	m.OnLink, m.NextHops = false, hops
	return []Route{m.Route}, nil
}

func prefix(a netip.Addr, bits uint8, fam uint8) netip.Prefix {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
		if fam == unix.AF_INET6 {
			a = netip.IPv6Unspecified()
		}
	}
	return netip.PrefixFrom(a, int(bits))
}

// message returns the request that adds the route to the link, or removes it.
func (r Route) message(index int, add bool) message {
	text := r.String()
	if r.NextHopID != 0 {
		r = r.byID()
	}
	h := nl.NewRtMsg()
	h.Family = uint8(family(r.Destination.Addr()))
	h.Dst_len, h.Tos, h.Protocol, h.Scope, h.Type = uint8(r.Destination.Bits()), r.TOS, r.Protocol, r.Scope, r.Type
	h.Table, h.Flags = unix.RT_TABLE_UNSPEC, 0
	if r.OnLink {
		h.Flags = unix.RTNH_F_ONLINK
	}
	body := []nl.NetlinkRequestData{h, attr(unix.RTA_DST, r.Destination.Addr().AsSlice()), attr(unix.RTA_TABLE, nl.Uint32Attr(r.Table))}
	add1 := func(ok bool, typ int, data []byte) {
		if ok {
			body = append(body, attr(typ, data))
		}
	}
	if r.Source.IsValid() {
		h.Src_len = uint8(r.Source.Bits())
		add1(true, unix.RTA_SRC, r.Source.Addr().AsSlice())
	}
	add1(r.Gateway.IsValid(), unix.RTA_GATEWAY, r.Gateway.AsSlice())
	add1(r.PrefSource.IsValid(), unix.RTA_PREFSRC, r.PrefSource.AsSlice())
	add1(r.Metric != 0, unix.RTA_PRIORITY, nl.Uint32Attr(r.Metric))
	for _, a := range r.Extra {
		add1(true, int(a.Type), a.Value)
	}
	switch {
	case r.NextHopID != 0:
		add1(true, rtaNextHopID, nl.Uint32Attr(r.NextHopID))
	case len(r.NextHops) > 0:
		add1(true, unix.RTA_MULTIPATH, encodeMultipath(r.NextHops, index))
	default:
		add1(!r.deviceless(), unix.RTA_OIF, nl.Uint32Attr(uint32(index)))
	}
	if !add {
		return message{what: "remove route " + text, typ: unix.RTM_DELROUTE, body: body}
	}
	// Routes to one destination through several gateways can coexist. Without
	// NLM_F_EXCL only the same route conflicts: the kernel may be adding that of
	// an address by itself while the link comes up.
	m := message{what: "add route " + text, typ: unix.RTM_NEWROUTE, flags: unix.NLM_F_CREATE | unix.NLM_F_APPEND, already: unix.EEXIST, body: body, optional: r.Optional}
	if r.Exclusive {
		m.flags, m.already = unix.NLM_F_CREATE|unix.NLM_F_EXCL, nil
	}
	return m
}

// String is the route as ip(8) writes it, in short.
func (r Route) String() string {
	var b strings.Builder
	if r.deviceless() {
		b.WriteString(string(typeNames[r.Type]) + " ")
	}
	b.WriteString(r.Destination.String())
	if r.Gateway.IsValid() {
		fmt.Fprintf(&b, " via %s", r.Gateway)
	}
	for _, h := range r.NextHops {
		fmt.Fprintf(&b, " nexthop via %s", h.Gateway)
	}
	if r.PrefSource.IsValid() {
		fmt.Fprintf(&b, " src %s", r.PrefSource)
	}
	if r.Table != unix.RT_TABLE_MAIN {
		fmt.Fprintf(&b, " table %d", r.Table)
	}
	return b.String()
}

func (r Route) equal(o Route) bool {
	if r.NextHopID != 0 && r.NextHopID == o.NextHopID {
		r, o = r.byID(), o.byID()
	}
	sameAttrs := func(a, b []Attr) bool { return slices.EqualFunc(a, b, Attr.equal) }
	return r.Destination == o.Destination && r.Source == o.Source && r.Gateway == o.Gateway && r.PrefSource == o.PrefSource &&
		r.Table == o.Table && r.Metric == o.Metric && r.Protocol == o.Protocol && r.Scope == o.Scope && r.Type == o.Type &&
		r.TOS == o.TOS && r.NextHopID == o.NextHopID && r.OnLink == o.OnLink && sameAttrs(r.Extra, o.Extra) &&
		slices.EqualFunc(r.NextHops, o.NextHops, func(a, b nextHop) bool {
			return a.Link == b.Link && a.Gateway == b.Gateway && max(a.Weight, 1) == max(b.Weight, 1) && a.OnLink == b.OnLink && sameAttrs(a.Extra, b.Extra)
		})
}

// deviceless reports whether the route drops packets, or goes on with the next rule:
// such a route has no link.
func (r Route) deviceless() bool { return r.Type >= unix.RTN_BLACKHOLE && r.Type <= unix.RTN_THROW }

// direct reports whether a route needs no other route of the link.
func (r Route) direct() bool { return !r.Gateway.IsValid() && len(r.NextHops) == 0 }

// routes returns the kept routes of the link with this index, and the next hop
// objects that they name.
func (c *conn) routes(index int) ([]Route, []nextHopObject, error) {
	var all []Route
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		h := &nl.RtMsg{RtMsg: unix.RtMsg{Family: fam}}
		payloads, err := c.dump(unix.RTM_GETROUTE, h, attr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
		if err != nil {
			return nil, nil, fmt.Errorf("list routes: %w", err)
		}
		for _, b := range payloads {
			rs, err := decodeRoute(b, index)
			if err != nil {
				return nil, nil, fmt.Errorf("list routes: %w", err)
			}
			all = append(all, rs...)
		}
	}
	return c.resolve(all, index)
}
