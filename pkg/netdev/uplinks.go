package netdev

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// uplinks are the links by which traffic leaves that is not for a network of the
// host's own.
type uplinks struct {
	main     map[int]bool // by the best default route of a family
	policies []policy
}

// policy is a rule that selects a table with default routes.
type policy struct {
	rule  policyRule
	links map[int]bool // of the table's default routes
}

// uplinks reads the default routes of the main table, and of those tables that
// policy rules look up. The kernel tries a family's default routes by metric, so
// only the best matter: a NIC with a worse one, as DHCP or a router advertisement
// gives to each, is a spare.
func (c *conn) uplinks() (uplinks, error) {
	found := uplinks{main: map[int]bool{}}
	objects := &objectCache{conn: c}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		routes, err := c.defaultRoutes(fam, unix.RT_TABLE_MAIN)
		if err != nil {
			return found, fmt.Errorf("list default routes: %w", err)
		}
		if err := objects.addLinks(found.main, best(routes)); err != nil {
			return found, fmt.Errorf("list default routes: %w", err)
		}
	}
	rules, err := c.lookups()
	if err != nil {
		return found, err
	}
	type table struct {
		family uint8
		id     uint32
	}
	tables := map[table]map[int]bool{} // several rules may look up one
	for _, r := range rules {
		if slices.Contains([]uint32{unix.RT_TABLE_UNSPEC, unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL}, r.Table) {
			continue
		}
		t := table{r.Family, r.Table}
		links, known := tables[t]
		if !known {
			links = map[int]bool{}
			routes, err := c.defaultRoutes(r.Family, r.Table)
			if err == nil {
				err = objects.addLinks(links, routes)
			}
			if err != nil {
				return found, fmt.Errorf("list default routes of table %d: %w", r.Table, err)
			}
			tables[t] = links
		}
		if len(links) > 0 {
			found.policies = append(found.policies, policy{r.policyRule, links})
		}
	}
	return found, nil
}

// policyTable returns a table with a default route by the link that is used for
// more than the link itself; 0 for none. A rule that selects packets from the
// link's addresses, or that arrived by it, only serves the link: it is what people
// write for a second NIC.
func (u uplinks) policyTable(l Link) uint32 {
	for _, p := range u.policies {
		own := p.rule.IIF == l.Name || p.rule.OIF == l.Name
		for _, a := range l.Addresses {
			own = own || p.rule.Source.IsValid() && p.rule.Source.IsSingleIP() && p.rule.Source.Addr() == a.Addr() ||
				p.rule.Source.IsValid() && p.rule.Source == a.Masked()
		}
		if p.links[l.Index] && (!own || p.rule.Invert) {
			return p.rule.Table
		}
	}
	return 0
}

// defaultRoute is a default route, and where it leads.
type defaultRoute struct {
	metric uint32
	dead   bool   // its interface is down or has no carrier
	links  []int  // ifindices
	object uint32 // id of the next hop object, where the kernel names only that
}

const unusable = unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN

// best returns the routes of the lowest metric, and those of a lower one that are
// dead.
func best(routes []defaultRoute) []defaultRoute {
	lowest := ^uint32(0)
	for _, r := range routes {
		if !r.dead {
			lowest = min(lowest, r.metric)
		}
	}
	return slices.DeleteFunc(slices.Clone(routes), func(r defaultRoute) bool { return r.metric > lowest })
}

// defaultRoutes returns the default routes of a table; none if there is no such
// table.
func (c *conn) defaultRoutes(fam uint8, table uint32) ([]defaultRoute, error) {
	h := &nl.RtMsg{RtMsg: unix.RtMsg{Family: fam}}
	payloads, err := c.dump(unix.RTM_GETROUTE, h, attr(unix.RTA_TABLE, nl.Uint32Attr(table)))
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var routes []defaultRoute
	for _, b := range payloads {
		r, ok, err := decodeDefaultRoute(b)
		if err != nil {
			return nil, err
		}
		if ok {
			routes = append(routes, r)
		}
	}
	return routes, nil
}

func decodeDefaultRoute(b []byte) (r defaultRoute, ok bool, err error) {
	if len(b) < unix.SizeofRtMsg {
		return r, false, fmt.Errorf("route message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	h := nl.DeserializeRtMsg(b)
	if h.Dst_len != 0 || h.Type != unix.RTN_UNICAST {
		return r, false, nil
	}
	var m routeMessage
	if err := fields(b[unix.SizeofRtMsg:], &m, routeFields); err != nil {
		return r, false, err
	}
	hops, _, err := decodeMultipath(m.hops, 0)
	r = defaultRoute{metric: m.Metric, dead: h.Flags&unusable != 0}
	for _, h := range hops {
		r.links = append(r.links, h.Link)
	}
	switch {
	case m.oif != 0:
		r.links = append(r.links, m.oif)
	case m.NextHopID != 0 && len(hops) == 0:
		r.object = m.NextHopID
	}
	return r, true, err
}

// objectCache reads the next hop objects when the first is asked for.
type objectCache struct {
	conn *conn
	all  map[uint32]nextHopObject
}

// addLinks adds the links of the routes.
func (o *objectCache) addLinks(links map[int]bool, routes []defaultRoute) (err error) {
	for _, r := range routes {
		for _, index := range r.links {
			links[index] = true
		}
		if r.object == 0 {
			continue
		}
		if o.all == nil {
			if o.all, err = o.conn.nextHops(); err != nil {
				return err
			}
		}
		for _, hop := range behind(o.all, r.object, 0, unix.AF_INET) {
			links[hop.Link] = true
		}
	}
	return nil
}
