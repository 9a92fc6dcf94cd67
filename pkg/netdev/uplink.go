package netdev

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// defaultRoute is a default route of one table and family.
type defaultRoute struct {
	metric uint32
	links  []int // of its next hops
	live   bool  // one of them has a carrier
}

// markRoutes fills HasRoute, Uplink and PolicyTable. own are the addresses of
// links.
func (c *conn) markRoutes(links []Link, own map[int][]netip.Addr) error {
	rules, err := c.allLookups()
	if err != nil {
		return err
	}
	with, best, seen := map[int]bool{}, map[int]bool{}, map[tableID][]defaultRoute{}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		main := tableID{fam, unix.RT_TABLE_MAIN}
		if seen[main], err = c.defaultRoutes(main); err != nil {
			return err
		}
		for _, r := range seen[main] {
			addAll(with, r.links)
		}
		for _, r := range bestRoutes(seen[main]) {
			addAll(best, r.links)
		}
	}
	for i := range links {
		links[i].HasRoute, links[i].Uplink = with[links[i].Index], best[links[i].Index]
	}
	for _, r := range rules {
		id := tableID{r.Family, r.Table}
		if r.Table == unix.RT_TABLE_UNSPEC || r.Table == unix.RT_TABLE_MAIN || r.Table == unix.RT_TABLE_LOCAL {
			continue
		}
		if _, known := seen[id]; !known {
			if seen[id], err = c.defaultRoutes(id); err != nil {
				return err
			}
		}
		for i := range links {
			l := &links[i]
			through := func(d defaultRoute) bool { return slices.Contains(d.links, l.Index) }
			if l.PolicyTable == 0 && slices.ContainsFunc(seen[id], through) && !r.only(*l, own[l.Index]) {
				l.PolicyTable = r.Table
			}
		}
	}
	return nil
}

func addAll(all map[int]bool, indices []int) {
	for _, i := range indices {
		all[i] = true
	}
}

// only reports whether the rule selects nothing but traffic that a link's own
// address or the link itself is in, as the rules that give a second NIC its own
// default route: such a route leaves with the link, and nobody misses it.
func (r policyRule) only(l Link, own []netip.Addr) bool {
	address := r.Source.IsValid() && r.Source.IsSingleIP() && slices.Contains(own, r.Source.Addr())
	return !r.Invert && (address || r.IIF == l.Name || r.OIF == l.Name)
}

// tableID is a routing table of a family.
type tableID struct {
	family uint8
	table  uint32
}

// bestRoutes returns the default routes that the kernel uses: those with the
// lowest metric, whatever their router preference, because it also takes one of
// a lower preference if the other's router does not answer. If none of them has
// a carrier the next ones may be used as well.
func bestRoutes(all []defaultRoute) []defaultRoute {
	all = slices.SortedStableFunc(slices.Values(all), func(a, b defaultRoute) int { return cmp.Compare(a.metric, b.metric) })
	live := false
	for i, r := range all {
		if live && r.metric != all[i-1].metric {
			return all[:i]
		}
		live = live || r.live
	}
	return all
}

// defaultRoutes returns the unicast default routes of a table.
func (c *conn) defaultRoutes(id tableID) ([]defaultRoute, error) {
	h := &nl.RtMsg{RtMsg: unix.RtMsg{Family: id.family}}
	payloads, err := c.dump(unix.RTM_GETROUTE, h, attr(unix.RTA_TABLE, nl.Uint32Attr(id.table)))
	if errors.Is(err, unix.ENOENT) { // there is no such table yet
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list default routes: %w", err)
	}
	var all []defaultRoute
	var objects map[uint32]nextHopObject
	for _, b := range payloads {
		r, object, err := decodeDefaultRoute(b)
		if err == nil && object != 0 && objects == nil {
			objects, err = c.nextHops()
		}
		if err != nil {
			return nil, fmt.Errorf("list default routes: %w", err)
		}
		if object != 0 {
			r.live = true // the kernel removes an object when its link goes down
			for _, hop := range behind(objects, object, 0, unix.AF_INET) {
				r.links = append(r.links, hop.Link)
			}
		}
		if len(r.links) > 0 {
			all = append(all, r)
		}
	}
	return all, nil
}

// decodeDefaultRoute reads a default route with its links, or the id of the next
// hop object where the kernel names only that. Of another route it returns no
// links.
func decodeDefaultRoute(b []byte) (r defaultRoute, object uint32, err error) {
	if len(b) < unix.SizeofRtMsg {
		return r, 0, fmt.Errorf("route message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	h := nl.DeserializeRtMsg(b)
	if h.Dst_len != 0 || h.Type != unix.RTN_UNICAST {
		return r, 0, nil
	}
	var m routeMessage
	if err := fields(b[unix.SizeofRtMsg:], &m, routeFields); err != nil {
		return r, 0, err
	}
	hops, _, err := decodeMultipath(m.hops, 0)
	r.metric, r.live = m.Metric, hasCarrier(h.Flags)
	for i, b := 0, m.hops; i < len(hops); i++ {
		nh := nl.DeserializeRtNexthop(b)
		r.links, r.live = append(r.links, hops[i].Link), i > 0 && r.live || hasCarrier(uint32(nh.RtNexthop.Flags))
		b = b[min(nlAlign(int(nh.RtNexthop.Len)), len(b)):]
	}
	switch {
	case m.oif != 0:
		r.links = append(r.links, m.oif)
	case m.NextHopID != 0 && len(hops) == 0:
		object = m.NextHopID
	}
	return r, object, err
}

// hasCarrier reports whether a next hop with these flags has a carrier.
func hasCarrier(flags uint32) bool { return flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) == 0 }

// fewLinks is up to how many links are asked for their filters one by one. Each
// dump waits for the kernel's lock of all links; one of all links has the whole
// forwarding tables of bridges too.
const fewLinks = 8

// unicastFilters returns Link.Unicast of the links that have it, by index.
func (c *conn) unicastFilters(links []Link) (map[int][]nic.HardwareAddr, error) {
	var having []int
	for _, l := range links {
		if l.Parent != "" && l.Master == 0 {
			having = append(having, l.Index)
		}
	}
	all := map[int][]nic.HardwareAddr{}
	ask := having
	if len(having) > fewLinks {
		ask = []int{0}
	}
	for _, index := range ask {
		found, err := c.unicast(index)
		if err != nil {
			return nil, err
		}
		for at, addresses := range found {
			if slices.Contains(having, at) {
				all[at] = addresses
			}
		}
	}
	return all, nil
}

// unicast returns the unicast addresses besides its own that the link with this
// index is set to receive for, or of all links for 0, by index.
func (c *conn) unicast(index int) (map[int][]nic.HardwareAddr, error) {
	payloads, err := c.dump(unix.RTM_GETNEIGH, ndMsg{family: unix.AF_BRIDGE, index: int32(index)})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) { // not an Ethernet link, or gone
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list forwarding entries: %w", err)
	}
	all := map[int][]nic.HardwareAddr{}
	for _, b := range payloads {
		at, n, _, err := decodeNeighbor(b)
		if err != nil {
			return nil, fmt.Errorf("list forwarding entries: %w", err)
		}
		if len(n.MAC) > 0 && n.MAC[0]&1 == 0 {
			all[at] = append(all[at], slices.Clone(n.MAC))
		}
	}
	for _, addresses := range all {
		slices.SortFunc(addresses, func(a, b nic.HardwareAddr) int { return slices.Compare(a, b) })
	}
	return all, nil
}
