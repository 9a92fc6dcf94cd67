package netdev

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nextHop is one next hop of a multipath route.
type nextHop struct {
	Link    int        `json:"link,omitempty"` // ifindex of another link; 0 for the route's own
	Gateway netip.Addr `json:"gateway,omitzero"`
	Weight  int        `json:"weight,omitempty"` // 0 and 1 are the same
	OnLink  bool       `json:"onLink,omitempty"`
	Extra   []Attr     `json:"extra,omitempty"`
}

// perNextHop returns a route for each of the link's own next hops.
func (r Route) perNextHop(hops []nextHop) []Route {
	var all []Route
	for _, hop := range hops {
		if hop.Link != 0 {
			continue
		}
		one := r
		one.Gateway, one.OnLink, one.NextHops = hop.Gateway, hop.OnLink, nil
		one.Extra = slices.Concat(r.Extra, hop.Extra)
		if hop.Weight > 1 {
			one.NextHops, one.Gateway, one.OnLink, one.Extra = []nextHop{hop}, netip.Addr{}, false, r.Extra
		}
		all = append(all, one)
	}
	return all
}

// decodeMultipath reads RTA_MULTIPATH, a list of struct rtnexthop with attributes.
// It reports whether one of the next hops is the link's.
func decodeMultipath(b []byte, index int) (hops []nextHop, mine bool, err error) {
	for len(b) >= unix.SizeofRtNexthop {
		nh := nl.DeserializeRtNexthop(b)
		n := int(nh.RtNexthop.Len)
		if n < unix.SizeofRtNexthop || n > len(b) {
			return nil, false, fmt.Errorf("next hop of %d bytes: %w", n, unix.EBADMSG)
		}
		hop := nextHop{Link: int(nh.Ifindex), Weight: int(nh.Hops) + 1, OnLink: nh.RtNexthop.Flags&unix.RTNH_F_ONLINK != 0}
		if hop.Link == index {
			hop.Link, mine = 0, true
		}
		each(b[unix.SizeofRtNexthop:n], func(typ uint16, v []byte) {
			switch {
			case typ == unix.RTA_GATEWAY:
				hop.Gateway = ipAddr(v)
			case preservedRouteAttrs[typ]:
				hop.Extra = append(hop.Extra, Attr{typ, bytes.Clone(v)})
			}
		})
		hops = append(hops, hop)
		b = b[min(nlAlign(n), len(b)):]
	}
	return hops, mine, nil
}

func encodeMultipath(hops []nextHop, index int) []byte {
	var out []byte
	for _, hop := range hops {
		nh := nl.RtNexthop{RtNexthop: unix.RtNexthop{Ifindex: int32(hop.Link), Hops: uint8(max(hop.Weight, 1) - 1)}}
		if hop.Link == 0 {
			nh.Ifindex = int32(index)
		}
		if hop.OnLink {
			nh.RtNexthop.Flags = unix.RTNH_F_ONLINK
		}
		if hop.Gateway.IsValid() {
			nh.Children = append(nh.Children, attr(unix.RTA_GATEWAY, hop.Gateway.AsSlice()))
		}
		for _, a := range hop.Extra {
			nh.Children = append(nh.Children, attr(int(a.Type), a.Value))
		}
		out = append(out, nh.Serialize()...)
	}
	return out
}
