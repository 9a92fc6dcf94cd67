package netdev

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// SetDynamic gives the link with this index what it has for a limited time in
// place of what it had so before. The address has a lifetime in the kernel, which
// removes it at its end, and the routes have the address as their source, with
// which they go: nothing of both is part of a State. It keeps its MTU if it cannot
// have another one. On an error the rest is set.
func (n *NetNS) SetDynamic(index int, before, now nic.Dynamic) error {
	var ms []message
	kept := dynamicRoutes(now)
	for _, r := range dynamicRoutes(before) {
		if !slices.ContainsFunc(kept, r.equal) {
			m := r.message(index, false)
			m.already = unix.ESRCH
			ms = append(ms, m)
		}
	}
	if before.Address.IsValid() && before.Address != now.Address {
		m := dynamicAddress(before).message(index, false)
		m.already = unix.EADDRNOTAVAIL
		ms = append(ms, m)
	}
	if now.MTU != 0 {
		ms = append(ms, set(true, index, fmt.Sprintf("set mtu %d", now.MTU), attr(unix.IFLA_MTU, nl.Uint32Attr(uint32(now.MTU))))...)
		ms[len(ms)-1].optional = true // its driver, or its lower device, may not allow it
	}
	if now.Address.IsValid() {
		m := dynamicAddress(now).message(index, true)
		life := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Prefered: seconds(now.Preferred), Valid: seconds(now.Valid)}}
		m.body = append(m.body, attr(unix.IFA_CACHEINFO, life.Serialize()))
		ms = append(ms, m)
	}
	for _, r := range kept {
		m := r.message(index, true)
		m.flags, m.already = unix.NLM_F_CREATE|unix.NLM_F_EXCL, unix.EEXIST // another route to the same is not replaced
		ms = append(ms, m)
	}
	_, err := n.conn.do(ms...)
	return err
}

// seconds returns a duration as an address's lifetime, which has an end.
func seconds(d time.Duration) uint32 {
	return uint32(min(int64((d+time.Second-1)/time.Second), int64(forever)-1))
}

func dynamicAddress(d nic.Dynamic) Address {
	a := Address{Prefix: d.Address, Scope: scopeOf(d.Address.Addr())}
	if d.Address.Addr().Is4() && d.Address.Bits() < 31 {
		a.Broadcast = nic.Broadcast(d.Address)
	}
	return podAddress(a)
}

// dynamicRoutes returns the routes that belong to the address.
func dynamicRoutes(d nic.Dynamic) (rs []Route) {
	for _, r := range d.Routes {
		out := routeOf(r)
		out.PrefSource, out.Protocol = d.Address.Addr(), unix.RTPROT_DHCP
		rs = append(rs, out)
	}
	return rs
}

// Reached returns what a pod reaches through its links, except those with these
// indices: the links' addresses, and the destinations of the main table's
// routes. A default route is among them as 0.0.0.0/0 or ::/0.
func (n *NetNS) Reached(except []int) ([]netip.Prefix, error) {
	var all []netip.Prefix
	kept, dynamic, err := n.conn.addresses()
	if err != nil {
		return nil, err
	}
	for _, byIndex := range []map[int][]Address{kept, dynamic} {
		for index, as := range byIndex {
			for _, a := range as {
				if index != loopbackIndex && !slices.Contains(except, index) && !a.linkLocal6() {
					all = append(all, netip.PrefixFrom(a.Prefix.Addr(), a.Prefix.Addr().BitLen()))
				}
			}
		}
	}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		payloads, err := n.conn.dump(unix.RTM_GETROUTE, &nl.RtMsg{RtMsg: unix.RtMsg{Family: fam}})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, b := range payloads {
			p, err := destination(b, except)
			if err != nil {
				return nil, fmt.Errorf("list routes: %w", err)
			}
			if p.IsValid() {
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all), nil
}

// destination reads an RTM_NEWROUTE payload and returns the route's destination,
// or none if it is not of the main table, through one of the links, or not to be
// compared with others: of multicast and the links' own.
func destination(b []byte, except []int) (none netip.Prefix, err error) {
	if len(b) < unix.SizeofRtMsg {
		return none, fmt.Errorf("route message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	h := nl.DeserializeRtMsg(b)
	m := routeMessage{Route: Route{Table: uint32(h.Table)}}
	if err := fields(b[unix.SizeofRtMsg:], &m, routeFields); err != nil {
		return none, err
	}
	p := prefix(m.dst, h.Dst_len, h.Family)
	cached := h.Flags&unix.RTM_F_CLONED != 0
	if m.Table != unix.RT_TABLE_MAIN || cached || slices.Contains(except, m.oif) || m.oif == loopbackIndex ||
		p.Addr().IsMulticast() || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
		return none, nil
	}
	return p, nil
}
