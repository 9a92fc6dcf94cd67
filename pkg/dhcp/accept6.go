package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

const maxDUID = 130 // bytes (RFC 8415, 11.1)

// refuses reports whether a server says that the client does not have the address:
// it does not know of it, or the address's time is up.
func (c client6) refuses(a answer6, own netip.Addr) bool {
	ia := c.association(a)
	if ia == nil {
		return false
	}
	if s := ia.Options.Status(); s != nil && (s.StatusCode == iana.StatusNoBinding || s.StatusCode == iana.StatusNotOnLink || s.StatusCode == iana.StatusNoAddrsAvail) {
		return true
	}
	return slices.ContainsFunc(ia.Options.Addresses(), func(o *dhcpv6.OptIAAddress) bool {
		return addr6(o.IPv6Addr) == own && o.ValidLifetime == 0
	})
}

// association returns what a message has of the client's association, or nil.
func (c client6) association(a answer6) *dhcpv6.OptIANA {
	for _, ia := range a.Options.IANA() {
		if ia.IaId == c.iaid() {
			return ia
		}
	}
	return nil
}

// accept makes a lease of an ADVERTISE or REPLY, or an error if it cannot be used.
func (c client6) accept(a answer6, since time.Duration) (Lease, error) {
	l := Lease{Family: IPv6, Server: a.from, Since: since}
	id := a.Options.ServerID()
	if id == nil || len(id.ToBytes()) > maxDUID {
		return l, errors.New("a DHCPv6 server that does not name itself has answered")
	}
	l.ServerID = id.ToBytes()
	ia := c.association(a)
	if ia == nil {
		return l, fmt.Errorf("server %s offers no address", l.Server)
	}
	for _, o := range ia.Options.Addresses() {
		own := addr6(o.IPv6Addr)
		if !unicast(own) || own.IsLinkLocalUnicast() || o.PreferredLifetime > o.ValidLifetime || o.ValidLifetime < minValid {
			continue
		}
		l.Address = netip.PrefixFrom(own, own.BitLen())
		l = l.timed(o.PreferredLifetime, o.ValidLifetime, ia.T1, ia.T2)
		break
	}
	if !l.Address.IsValid() {
		return l, fmt.Errorf("server %s offers no unicast address for %s or more", l.Server, minValid)
	}
	for _, ip := range a.Options.DNS() {
		l.DNS = l.addDNS(addr6(ip))
	}
	if labels := a.Options.DomainSearchList(); labels != nil {
		l.Search = names(labels.Labels)
	}
	return l, nil
}

// addr6 returns an IPv6 address, or none.
func addr6(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	if a.Is4() || a.Is4In6() {
		return netip.Addr{}
	}
	return a
}
