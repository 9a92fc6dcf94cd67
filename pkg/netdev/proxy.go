package netdev

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// proxyNeighbor is an address for which a link answers ARP or NDP requests (`ip
// neigh add proxy`).
type proxyNeighbor struct {
	Address  netip.Addr `json:"address"`
	Flags    uint8      `json:"flags,omitempty"` // NTF_ROUTER
	Protocol []byte     `json:"protocol,omitempty"`
}

const ndaProtocol = 12 // NDA_PROTOCOL of linux/neighbour.h

// proxyNeighbors returns those of the link with this index.
func (c *conn) proxyNeighbors(index int) ([]proxyNeighbor, error) {
	var all []proxyNeighbor
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		payloads, err := c.dump(unix.RTM_GETNEIGH, ndMsg{family: fam, flags: unix.NTF_PROXY}, attr(unix.NDA_IFINDEX, nl.Uint32Attr(uint32(index))))
		if err != nil {
			return nil, fmt.Errorf("list proxy neighbors: %w", err)
		}
		for _, b := range payloads {
			if len(b) < sizeofNdMsg {
				return nil, fmt.Errorf("neighbor message of %d bytes: %w", len(b), unix.EBADMSG)
			}
			n := proxyNeighbor{Flags: b[10] & ntfSettable}
			err := each(b[sizeofNdMsg:], func(typ uint16, v []byte) {
				switch typ {
				case unix.NDA_DST:
					n.Address = ipAddr(v)
				case ndaProtocol:
					n.Protocol = bytes.Clone(v)
				}
			})
			if err != nil {
				return nil, fmt.Errorf("list proxy neighbors: %w", err)
			}
			if int(int32(u32(b[4:]))) == index && b[10]&unix.NTF_PROXY != 0 && n.Address.IsValid() {
				all = append(all, n)
			}
		}
	}
	return all, nil
}

func (n proxyNeighbor) equal(o proxyNeighbor) bool {
	return n.Address == o.Address && n.Flags == o.Flags && bytes.Equal(n.Protocol, o.Protocol)
}

func (n proxyNeighbor) message(index int) message {
	h := ndMsg{family: uint8(family(n.Address)), index: int32(index), flags: unix.NTF_PROXY | n.Flags}
	body := []nl.NetlinkRequestData{h, attr(unix.NDA_DST, n.Address.AsSlice())}
	if n.Protocol != nil {
		body = append(body, attr(ndaProtocol, n.Protocol))
	}
	return message{what: "add proxy neighbor " + n.Address.String(), typ: unix.RTM_NEWNEIGH, flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, body: body}
}
