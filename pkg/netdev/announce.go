package netdev

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Neighbors on the network may know the addresses of a link from another pod or
// another node, with that one's hardware address, for tens of seconds. The kernel
// announces addresses only with its settings arp_notify and ndisc_notify, which are
// the pod's, and only as a link is set up, when it may have no carrier yet. So the
// packets are our own.

const (
	etherHeader = 14
	protoICMPv6 = 58
	// naOverride and naRouter are flags of a neighbor advertisement (RFC 4861, 4.4).
	naOverride, naRouter = 0x20, 0x80
)

// Announce sends a gratuitous ARP request (RFC 5227, 2.3) for each IPv4 address of
// the link with this index, and an unsolicited neighbor advertisement (RFC 4861,
// 7.2.6) for each IPv6 address. It reports whether it did: not without a carrier. A
// link that has no neighbor tables has nothing to announce.
func (n *NetNS) Announce(index int) (sent bool, err error) {
	l, err := n.conn.linkByIndex(index)
	switch {
	case err != nil:
		return false, err
	case l.Encapsulation != "ether" || len(l.MAC) != 6 || l.NoARP:
		return true, nil
	case !l.Up || !l.Carrier:
		return false, nil
	}
	all, err := n.conn.onLink(index)
	if err != nil || len(all) == 0 {
		return true, err
	}
	var frames [][]byte
	for _, m := range all {
		switch a := m.Prefix.Addr(); {
		case m.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && a.Is6(): // it may be another node's
		case m.Scope >= unix.RT_SCOPE_HOST:
		case a.Is4():
			frames = append(frames, arpAnnouncement(l.MAC, a))
		default:
			frames = append(frames, advertisement(l.MAC, a, len(l.Conf6) > 0 && l.Conf6[0] != 0))
		}
	}
	return true, n.transmit(index, frames)
}

// onLink returns the addresses of a link.
func (c *conn) onLink(index int) (all []addressMessage, err error) {
	for _, fam := range []int{unix.AF_INET, unix.AF_INET6} {
		payloads, err := c.dump(unix.RTM_GETADDR, nl.NewIfAddrmsg(fam))
		if err != nil {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		for _, b := range payloads {
			m, err := decodeAddressMessage(b)
			if err != nil {
				return nil, fmt.Errorf("list addresses: %w", err)
			}
			if m.index == index {
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// transmit sends frames through a link.
func (n *NetNS) transmit(index int, frames [][]byte) error {
	fd, made := -1, error(nil)
	err := n.Within(func() { // protocol 0: it receives nothing
		fd, made = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	})
	if err = join(err, made); err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer unix.Close(fd)
	var errs []error
	for _, f := range frames {
		if err := unix.Sendto(fd, f, unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
			errs = append(errs, fmt.Errorf("announce an address: %w", err))
		}
	}
	return join(errs...)
}

// frame returns an Ethernet frame.
func frame(to, from []byte, protocol uint16, payload []byte) []byte {
	f := make([]byte, 0, etherHeader+len(payload))
	f = append(append(f, to...), from...)
	return append(binary.BigEndian.AppendUint16(f, protocol), payload...)
}

// arpAnnouncement returns an ARP request for the sender's own address.
func arpAnnouncement(mac nic.HardwareAddr, a netip.Addr) []byte {
	p := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, lengths of the addresses, request
	p = append(append(p, mac...), a.AsSlice()...)
	p = append(append(p, make([]byte, 6)...), a.AsSlice()...)
	return frame([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, unix.ETH_P_ARP, p)
}

// advertisement returns a neighbor advertisement to all nodes, which replaces what
// they know.
func advertisement(mac nic.HardwareAddr, a netip.Addr, router bool) []byte {
	flags := byte(naOverride)
	if router {
		flags |= naRouter
	}
	all := netip.MustParseAddr("ff02::1")
	icmp := append([]byte{136, 0, 0, 0, flags, 0, 0, 0}, a.AsSlice()...)
	icmp = append(append(icmp, 2, 1), mac...) // option: target link-layer address, 8 bytes
	pseudo := slices.Concat(a.AsSlice(), all.AsSlice(), []byte{0, 0, 0, byte(len(icmp)), 0, 0, 0, protoICMPv6})
	binary.BigEndian.PutUint16(icmp[2:], checksum(pseudo, icmp))
	ip := []byte{0x60, 0, 0, 0, 0, byte(len(icmp)), protoICMPv6, 255} // hop limit 255: not from beyond the link
	ip = slices.Concat(ip, a.AsSlice(), all.AsSlice(), icmp)
	return frame([]byte{0x33, 0x33, 0, 0, 0, 1}, mac, unix.ETH_P_IPV6, ip)
}

// checksum is that of the Internet protocols (RFC 1071) over parts of even length.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
