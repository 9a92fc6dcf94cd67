package netdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nextHopObject is a next hop object, or a group of them (`ip nexthop`,
// linux/nexthop.h), that a route names by its id. The kernel deletes objects when
// their link leaves the namespace.
type nextHopObject struct {
	ID       uint32 `json:"id"`
	Family   uint8  `json:"family,omitempty"`
	Protocol uint8  `json:"protocol,omitempty"`
	Flags    uint32 `json:"flags,omitempty"`
	Attrs    []Attr `json:"attrs,omitempty"` // gateway and encapsulation, or the group's members
	Link     int    `json:"-"`               // ifindex; 0 for a group
	Reduced  bool   `json:"-"`               // a group that is still on the host, without the link's members
}

const (
	sizeofNhMsg  = 8 // struct nhmsg: family, scope, protocol, reserved, flags
	rtaNextHopID = 30
	nhaResGroup  = 12 // NHA_RES_GROUP, of a resilient group
	sizeofMember = 8  // struct nexthop_grp: id, weight - 1, its high byte, reserved
)

// Attributes in NHA_RES_GROUP.
const (
	resGroupBuckets         = 1
	resGroupUnbalancedTimer = 3
)

// nextHopAttrs are the attributes of an object that are kept as they are.
var nextHopAttrs = map[uint16]bool{
	unix.NHA_GROUP: true, unix.NHA_GROUP_TYPE: true, unix.NHA_GATEWAY: true, unix.NHA_ENCAP: true, unix.NHA_ENCAP_TYPE: true,
}

// nhMsg is struct nhmsg.
type nhMsg struct {
	family, protocol uint8
	flags            uint32
}

func (m nhMsg) Len() int { return sizeofNhMsg }

func (m nhMsg) Serialize() []byte {
	return binary.NativeEndian.AppendUint32([]byte{m.family, 0, m.protocol, 0}, m.flags)
}

// decodeNextHop reads an RTM_NEWNEXTHOP payload.
func decodeNextHop(b []byte) (h nextHopObject, err error) {
	if len(b) < sizeofNhMsg {
		return h, fmt.Errorf("next hop message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	h.Family, h.Protocol, h.Flags = b[0], b[2], u32(b[4:])&unix.RTNH_F_ONLINK
	err = each(b[sizeofNhMsg:], func(typ uint16, v []byte) {
		switch {
		case typ == unix.NHA_ID:
			h.ID = u32(v)
		case typ == unix.NHA_OIF:
			h.Link = int(u32(v))
		case typ == nhaResGroup:
			h.Attrs = append(h.Attrs, Attr{typ, resilience(v)})
		case nextHopAttrs[typ]:
			h.Attrs = append(h.Attrs, Attr{typ, bytes.Clone(v)})
		}
	})
	return h, err
}

// resilience returns what can be set of NHA_RES_GROUP: not how long the group is out of
// balance.
func resilience(b []byte) []byte {
	var kept []byte
	each(b, func(typ uint16, v []byte) {
		if typ >= resGroupBuckets && typ <= resGroupUnbalancedTimer {
			kept = append(kept, attr(int(typ), v).Serialize()...)
		}
	})
	return kept
}

func (h nextHopObject) attr(typ uint16) []byte {
	for _, a := range h.Attrs {
		if a.Type == typ {
			return a.Value
		}
	}
	return nil
}

// members returns the ids of a group's objects with their weights.
func (h nextHopObject) members() (ids []uint32, weights []int) {
	for b := h.attr(unix.NHA_GROUP); len(b) >= sizeofMember; b = b[sizeofMember:] {
		ids = append(ids, u32(b))
		weights = append(weights, int(b[4])+int(b[5])<<8+1)
	}
	return ids, weights
}

// message returns the request that makes the object on the link. Objects are never
// removed or replaced: those that are not wanted belong to others.
func (h nextHopObject) message(index int) message {
	body := []nl.NetlinkRequestData{nhMsg{h.Family, h.Protocol, h.Flags}, attr(unix.NHA_ID, nl.Uint32Attr(h.ID))}
	if h.attr(unix.NHA_GROUP) == nil {
		body = append(body, attr(unix.NHA_OIF, nl.Uint32Attr(uint32(index))))
	}
	for _, a := range h.Attrs {
		typ := int(a.Type)
		if a.Type == nhaResGroup {
			typ |= unix.NLA_F_NESTED
		}
		body = append(body, attr(typ, a.Value))
	}
	flags := unix.NLM_F_CREATE | unix.NLM_F_EXCL
	if h.Reduced {
		flags = unix.NLM_F_REPLACE
	}
	return message{what: h.add(), typ: unix.RTM_NEWNEXTHOP, flags: flags, body: body, optional: true}
}

func (h nextHopObject) add() string { return fmt.Sprintf("add next hop id %d", h.ID) }

func (h nextHopObject) equal(o nextHopObject) bool {
	return h.ID == o.ID && h.Family == o.Family && h.Protocol == o.Protocol && h.Flags == o.Flags && slices.EqualFunc(h.Attrs, o.Attrs, Attr.equal)
}

func nextHopSteps(l Link, have, want State) []step {
	var ms []message
	for _, w := range want.NextHopObjects {
		if !slices.ContainsFunc(have.NextHopObjects, w.equal) {
			ms = append(ms, w.message(l.Index))
		}
	}
	return messages(ms...)
}

// nextHops returns all next hop objects of the namespace by their ids.
func (c *conn) nextHops() (map[uint32]nextHopObject, error) {
	payloads, err := c.dump(unix.RTM_GETNEXTHOP, nhMsg{})
	if errors.Is(err, unix.EOPNOTSUPP) { // before Linux 5.3
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list next hops: %w", err)
	}
	all := map[uint32]nextHopObject{}
	for _, b := range payloads {
		h, err := decodeNextHop(b)
		if err != nil {
			return nil, fmt.Errorf("list next hops: %w", err)
		}
		all[h.ID] = h
	}
	return all, nil
}

// behind returns the object with this id, or those of the group, as the next
// hops of a route of the family. Those of the link with this index have link 0.
func behind(all map[uint32]nextHopObject, id uint32, index int, fam int) []nextHop {
	ids, weights := all[id].members()
	if ids == nil {
		ids, weights = []uint32{id}, []int{1}
	}
	var hops []nextHop
	for i, id := range ids {
		h, ok := all[id]
		if !ok || h.Link == 0 {
			continue
		}
		hop := nextHop{Link: h.Link, Weight: weights[i], OnLink: h.Flags&unix.RTNH_F_ONLINK != 0}
		if hop.Link == index {
			hop.Link = 0
		}
		hop.Gateway = ipAddr(h.attr(unix.NHA_GATEWAY))
		if hop.Gateway.Is6() && fam == unix.AF_INET {
			hop.Extra = append(hop.Extra, Attr{unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), hop.Gateway.AsSlice()...)})
			hop.Gateway = ipAddr(nil)
		}
		for _, as := range [][2]uint16{{unix.NHA_ENCAP, unix.RTA_ENCAP}, {unix.NHA_ENCAP_TYPE, unix.RTA_ENCAP_TYPE}} {
			if v := h.attr(as[0]); v != nil {
				hop.Extra = append(hop.Extra, Attr{as[1], v})
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

// resolve adds to routes that name a next hop object the object's next hops, which
// the kernel omits with net.ipv4.nexthop_compat_mode=0, and returns the link's
// objects if there are such routes.
func (c *conn) resolve(routes []Route, index int) ([]Route, []nextHopObject, error) {
	if !slices.ContainsFunc(routes, func(r Route) bool { return r.NextHopID != 0 }) {
		return routes, nil, nil
	}
	all, err := c.nextHops()
	if err != nil {
		return nil, nil, err
	}
	var out []Route
	for _, r := range routes {
		id := r.NextHopID
		hops := behind(all, id, index, family(r.Destination.Addr()))
		if id != 0 && !slices.ContainsFunc(hops, func(h nextHop) bool { return h.Link == 0 }) {
			continue // deleted meanwhile, or another link's
		}
		if id != 0 {
			r = r.through(hops)
		}
		out = append(out, r)
	}
	return out, objectsOf(all, index), nil
}

// objectsOf returns the objects of the link with this index and the groups that they
// are in, the groups last.
func objectsOf(all map[uint32]nextHopObject, index int) []nextHopObject {
	var single, groups []nextHopObject
	for _, id := range slices.Sorted(maps.Keys(all)) {
		h := all[id]
		members, _ := h.members()
		switch {
		case h.Link == index:
			single = append(single, h)
		case slices.ContainsFunc(members, func(m uint32) bool { return all[m].Link == index }):
			groups = append(groups, h)
		}
	}
	return append(single, groups...)
}

// through returns the route with these next hops in place of its own.
func (r Route) through(hops []nextHop) Route {
	r = r.byID()
	if len(hops) > 1 {
		r.NextHops = hops
		return r
	}
	r.Gateway, r.OnLink, r.Extra = hops[0].Gateway, hops[0].OnLink, slices.Concat(r.Extra, hops[0].Extra)
	return r
}

// byID returns the route without its next hop object's gateway and next hops.
func (r Route) byID() Route {
	r.Gateway, r.OnLink, r.NextHops = ipAddr(nil), false, nil
	r.Extra = slices.DeleteFunc(slices.Clone(r.Extra), func(a Attr) bool {
		return a.Type == unix.RTA_ENCAP || a.Type == unix.RTA_ENCAP_TYPE || a.Type == unix.RTA_VIA
	})
	return r
}

// plain returns the routes that do the same without a next hop object; of IPv6 one
// for each next hop.
func (r Route) plain() []Route {
	r.NextHopID = 0
	if r.Destination.Addr().Is6() && len(r.NextHops) > 0 {
		return r.perNextHop(r.NextHops)
	}
	return []Route{r}
}
