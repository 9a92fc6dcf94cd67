package netdev

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Neighbor is a permanent ARP or NDP entry of a link (RTM_NEWNEIGH in
// rtnetlink(7)).
type Neighbor struct {
	Address  netip.Addr       `json:"address"`
	MAC      nic.HardwareAddr `json:"mac,omitempty"`
	Flags    uint8            `json:"flags,omitempty"`    // NTF_ROUTER
	Optional bool             `json:"optional,omitempty"` // may be omitted
}

const (
	sizeofNdMsg       = 12 // struct ndmsg: family, padding, ifindex, state, flags, type
	ntfSettable       = unix.NTF_ROUTER
	neighborPermanent = unix.NUD_PERMANENT
)

// ndMsg is struct ndmsg of linux/neighbour.h.
type ndMsg struct {
	family uint8
	index  int32
	state  uint16
	flags  uint8
}

func (m ndMsg) Len() int { return sizeofNdMsg }

func (m ndMsg) Serialize() []byte {
	b := make([]byte, sizeofNdMsg)
	b[0], b[10] = m.family, m.flags
	binary.NativeEndian.PutUint32(b[4:], uint32(m.index))
	binary.NativeEndian.PutUint16(b[8:], m.state)
	return b
}

var neighborFields = map[uint16]func(*Neighbor, []byte){
	unix.NDA_DST:    func(n *Neighbor, b []byte) { n.Address = ipAddr(b) },
	unix.NDA_LLADDR: func(n *Neighbor, b []byte) { n.MAC = b },
}

// decodeNeighbor reads an RTM_NEWNEIGH payload. It reports whether the entry is
// permanent.
func decodeNeighbor(b []byte) (index int, n Neighbor, kept bool, err error) {
	if len(b) < sizeofNdMsg {
		return 0, n, false, fmt.Errorf("neighbor message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	n.Flags = b[10] & ntfSettable
	kept = binary.NativeEndian.Uint16(b[8:])&neighborPermanent != 0
	err = fields(b[sizeofNdMsg:], &n, neighborFields)
	return int(int32(binary.NativeEndian.Uint32(b[4:]))), n, kept && n.Address.IsValid(), err
}

func (n Neighbor) message(index int, add bool) message {
	h := ndMsg{family: uint8(family(n.Address)), index: int32(index), state: neighborPermanent, flags: n.Flags}
	body := []nl.NetlinkRequestData{h, attr(unix.NDA_DST, n.Address.AsSlice())}
	if !add {
		return message{what: "remove neighbor " + n.Address.String(), typ: unix.RTM_DELNEIGH, body: body}
	}
	body = append(body, attr(unix.NDA_LLADDR, n.MAC))
	return message{
		what: "add neighbor " + n.Address.String(), typ: unix.RTM_NEWNEIGH,
		flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, body: body, optional: n.Optional,
	}
}

func (n Neighbor) equal(o Neighbor) bool {
	return n.Address == o.Address && string(n.MAC) == string(o.MAC) && n.Flags == o.Flags
}

// neighbors returns the permanent neighbors of the link with this index.
func (c *conn) neighbors(index int) ([]Neighbor, error) {
	var all []Neighbor
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		payloads, err := c.dump(unix.RTM_GETNEIGH, ndMsg{family: fam}, attr(unix.NDA_IFINDEX, nl.Uint32Attr(uint32(index))))
		if err != nil {
			return nil, fmt.Errorf("list neighbors: %w", err)
		}
		for _, b := range payloads {
			at, n, kept, err := decodeNeighbor(b)
			if err != nil {
				return nil, fmt.Errorf("list neighbors: %w", err)
			}
			if kept && at == index {
				all = append(all, n)
			}
		}
	}
	return all, nil
}
