package netdev

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Attributes that golang.org/x/sys/unix does not name yet (linux/if_link.h).
const (
	iflaNetNSImmutable   = 67 // IFLA_NETNS_IMMUTABLE, Linux 6.15
	iflaInetConf         = 1  // IFLA_INET_CONF
	iflaInet6Conf        = 2  // IFLA_INET6_CONF
	iflaInet6Token       = 7  // IFLA_INET6_TOKEN
	iflaInet6AddrGenMode = 8  // IFLA_INET6_ADDR_GEN_MODE
	sizeofLinkStats64    = 8 * 8
	nlaTypeMask          = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
)

// operStates are the values of IFLA_OPERSTATE (RFC 2863), as ip(8) names them.
var operStates = []string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

// linkFields reads the attributes of a link message. A new fact is a new row.
var linkFields = map[uint16]func(*Link, []byte){
	unix.IFLA_IFNAME:              func(l *Link, b []byte) { l.Name = text(b) },
	unix.IFLA_IFALIAS:             func(l *Link, b []byte) { l.Alias = text(b) },
	unix.IFLA_ADDRESS:             func(l *Link, b []byte) { l.MAC = nic.HardwareAddr(b) },
	unix.IFLA_PERM_ADDRESS:        func(l *Link, b []byte) { l.PermMAC = nic.HardwareAddr(b) },
	unix.IFLA_MTU:                 func(l *Link, b []byte) { l.MTU = int(u32(b)) },
	unix.IFLA_MIN_MTU:             func(l *Link, b []byte) { l.MinMTU = int(u32(b)) },
	unix.IFLA_MAX_MTU:             func(l *Link, b []byte) { l.MaxMTU = int(u32(b)) },
	unix.IFLA_TSO_MAX_SIZE:        func(l *Link, b []byte) { l.MaxTSO = int(u32(b)) },
	unix.IFLA_TXQLEN:              func(l *Link, b []byte) { l.QueueLen = int(u32(b)) },
	unix.IFLA_GROUP:               func(l *Link, b []byte) { l.Group = u32(b) },
	unix.IFLA_LINK:                func(l *Link, b []byte) { l.Lower = int(u32(b)) },
	unix.IFLA_LINK_NETNSID:        func(l *Link, b []byte) { l.LowerNetNSID = int(int32(u32(b))) },
	unix.IFLA_PROMISCUITY:         func(l *Link, b []byte) { l.Promiscuity = u32(b) },
	unix.IFLA_MASTER:              func(l *Link, b []byte) { l.Master = int(u32(b)) },
	unix.IFLA_CARRIER:             func(l *Link, b []byte) { l.Carrier = u8(b) != 0 },
	unix.IFLA_CARRIER_CHANGES:     func(l *Link, b []byte) { l.CarrierChanges = u32(b) },
	unix.IFLA_PHYS_PORT_NAME:      func(l *Link, b []byte) { l.PortName = text(b) },
	unix.IFLA_PHYS_SWITCH_ID:      func(l *Link, b []byte) { l.SwitchID = hex.EncodeToString(b) },
	unix.IFLA_NUM_RX_QUEUES:       func(l *Link, b []byte) { l.RxQueues = int(u32(b)) },
	unix.IFLA_NUM_TX_QUEUES:       func(l *Link, b []byte) { l.TxQueues = int(u32(b)) },
	unix.IFLA_PARENT_DEV_NAME:     func(l *Link, b []byte) { l.Parent = text(b) },
	unix.IFLA_PARENT_DEV_BUS_NAME: func(l *Link, b []byte) { l.ParentBus = text(b) },
	iflaNetNSImmutable:            func(l *Link, b []byte) { l.Immutable = u8(b) != 0 },
	unix.IFLA_OPERSTATE: func(l *Link, b []byte) {
		if state := int(u8(b)); state < len(operStates) {
			l.State = operStates[state]
		}
	},
	unix.IFLA_XDP:     func(l *Link, b []byte) { l.XDP = decodeXDP(b) },
	unix.IFLA_STATS64: func(l *Link, b []byte) { l.Statistics = statistics(b) },
	unix.IFLA_PROP_LIST: func(l *Link, b []byte) {
		each(b, func(typ uint16, v []byte) {
			if typ == unix.IFLA_ALT_IFNAME {
				l.AltNames = append(l.AltNames, text(v))
			}
		})
	},
	unix.IFLA_LINKINFO: func(l *Link, b []byte) {
		each(b, func(typ uint16, v []byte) {
			switch typ {
			case unix.IFLA_INFO_KIND:
				l.Kind = text(v)
			case unix.IFLA_INFO_SLAVE_KIND:
				l.MasterKind = text(v)
			case unix.IFLA_INFO_DATA:
				each(v, func(typ uint16, v []byte) { l.KindData = append(l.KindData, Attr{typ, bytes.Clone(v)}) })
				if id := find(l.KindData, unix.IFLA_VLAN_ID); l.Kind == "vlan" && len(id) >= 2 { // the kind comes first
					l.VLAN = int(binary.NativeEndian.Uint16(id))
				}
			}
		})
	},
	unix.IFLA_AF_SPEC: func(l *Link, b []byte) {
		each(b, func(family uint16, v []byte) {
			each(v, func(typ uint16, v []byte) {
				switch {
				case family == unix.AF_INET && typ == iflaInetConf:
					l.Conf4 = decodeConf(v)
				case family == unix.AF_INET6 && typ == iflaInet6Conf:
					l.Conf6 = decodeConf(v)
				case family == unix.AF_INET6 && typ == iflaInet6Token:
					l.Token = ipAddr(v)
				case family == unix.AF_INET6 && typ == iflaInet6AddrGenMode:
					l.AddrGenMode = u8(v)
				}
			})
		})
	},
}

// decodeLink reads the payload of an RTM_NEWLINK message.
func decodeLink(b []byte) (Link, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Link{}, fmt.Errorf("link message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	h := nl.DeserializeIfInfomsg(b)
	l := Link{Index: int(h.Index), Encapsulation: h.EncapType(), LowerNetNSID: -1, Settings: Settings{
		Up: h.Flags&unix.IFF_UP != 0, Promiscuous: h.Flags&unix.IFF_PROMISC != 0, AllMulticast: h.Flags&unix.IFF_ALLMULTI != 0,
		NoARP: h.Flags&unix.IFF_NOARP != 0, Multicast: h.Flags&unix.IFF_MULTICAST != 0, Flags: h.Flags & preservedFlags,
	}}
	each(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		if preservedLinkAttrs[typ] != "" {
			l.Preserved = append(l.Preserved, Attr{typ, bytes.Clone(v)})
		}
	})
	err := fields(b[unix.SizeofIfInfomsg:], &l, linkFields)
	if l.Promiscuous && l.Promiscuity > 0 {
		l.Promiscuity--
	}
	return l, err
}

// statistics reads struct rtnl_link_stats64, whose first eight members are
// rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped
// and tx_dropped.
func statistics(b []byte) nic.Statistics {
	if len(b) < sizeofLinkStats64 {
		return nic.Statistics{}
	}
	at := func(i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
	return nic.Statistics{
		RxPackets: at(0), TxPackets: at(1), RxBytes: at(2), TxBytes: at(3),
		RxErrors: at(4), TxErrors: at(5), RxDropped: at(6), TxDropped: at(7),
	}
}

// fields decodes each attribute in b by its row in the table. Attributes without
// a row are ignored.
func fields[T any](b []byte, into *T, table map[uint16]func(*T, []byte)) error {
	return each(b, func(typ uint16, value []byte) {
		if set := table[typ]; set != nil {
			set(into, value)
		}
	})
}

// each calls f for every attribute in b (struct rtattr of rtnetlink(7)), up to
// the first broken one, which is an error. The library's own parser panics on
// a truncated attribute.
func each(b []byte, f func(typ uint16, value []byte)) error {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return fmt.Errorf("attribute of %d bytes in %d: %w", n, len(b), unix.EBADMSG)
		}
		f(binary.NativeEndian.Uint16(b[2:])&nlaTypeMask, b[unix.SizeofRtAttr:n])
		b = b[min(nlAlign(n), len(b)):]
	}
	return nil
}

func u8(b []byte) uint8 {
	if len(b) < 1 {
		return 0
	}
	return b[0]
}

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func ipAddr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// text reads a string that may end with a NUL.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
