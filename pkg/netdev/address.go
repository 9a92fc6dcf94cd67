package netdev

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Address is one permanent address of a link, with all that can be set of it
// (RTM_NEWADDR in rtnetlink(7)). Its text form is that of ip(8).
type Address struct {
	Prefix    netip.Prefix `json:"prefix"`
	Peer      netip.Addr   `json:"peer,omitzero"`      // other end of a point-to-point link
	Broadcast netip.Addr   `json:"broadcast,omitzero"` // IPv4
	Label     string       `json:"label,omitempty"`    // IPv4; empty means the link's name
	Scope     uint8        `json:"scope,omitempty"`
	Flags     uint32       `json:"flags,omitempty"`  // IFA_F_ flags that can be set
	Metric    uint32       `json:"metric,omitempty"` // of the route to Prefix
	Protocol  uint8        `json:"protocol,omitempty"`
	Late      bool         `json:"late,omitempty"` // link-local, newer than the kernel's own: set once the link is up
	// Detect means that the address goes through duplicate address detection in
	// the pod, and the attach waits for it.
	Detect bool `json:"detect,omitempty"`
	// DADFailed means that duplicate address detection failed: another node had
	// the address. The link must not use it before a new detection.
	DADFailed bool `json:"dadFailed,omitempty"`
	// Preferred is how long the address is preferred, in seconds, 0 being
	// deprecated; nil means forever.
	Preferred *uint32 `json:"preferred,omitempty"`
}

const (
	ifaProto      = 11 // IFA_PROTO, Linux 5.18
	protoKernelLL = 3  // IFAPROT_KERNEL_LL: a link-local address the kernel made itself
	forever       = ^uint32(0)
)

// settableFlags are the IFA_F_ flags that RTM_NEWADDR takes, by family. The
// others are set by the kernel.
var settableFlags = map[uint8]uint32{
	unix.AF_INET: unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN,
	unix.AF_INET6: unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS | unix.IFA_F_MANAGETEMPADDR |
		unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN | unix.IFA_F_OPTIMISTIC,
}

// addressMessage is an RTM_NEWADDR payload in parts.
type addressMessage struct {
	Address
	address, local netip.Addr
	index          int
	flags          uint32
	valid, prefer  uint32
}

var addressFields = map[uint16]func(*addressMessage, []byte){
	unix.IFA_ADDRESS:     func(m *addressMessage, b []byte) { m.address = ipAddr(b) },
	unix.IFA_LOCAL:       func(m *addressMessage, b []byte) { m.local = ipAddr(b) },
	unix.IFA_BROADCAST:   func(m *addressMessage, b []byte) { m.Broadcast = ipAddr(b) },
	unix.IFA_LABEL:       func(m *addressMessage, b []byte) { m.Label = text(b) },
	unix.IFA_FLAGS:       func(m *addressMessage, b []byte) { m.flags = u32(b) },
	unix.IFA_RT_PRIORITY: func(m *addressMessage, b []byte) { m.Metric = u32(b) },
	ifaProto:             func(m *addressMessage, b []byte) { m.Protocol = u8(b) },
	unix.IFA_CACHEINFO: func(m *addressMessage, b []byte) {
		if len(b) >= 8 {
			m.prefer, m.valid = u32(b), u32(b[4:])
		}
	},
}

// decodeAddressMessage reads an RTM_NEWADDR payload.
func decodeAddressMessage(b []byte) (m addressMessage, err error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return m, fmt.Errorf("address message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	h := nl.DeserializeIfAddrmsg(b)
	m = addressMessage{index: int(h.Index), flags: uint32(h.Flags), valid: forever, prefer: forever}
	m.Scope = h.Scope
	if err := fields(b[unix.SizeofIfAddrmsg:], &m, addressFields); err != nil {
		return m, err
	}
	if !m.local.IsValid() {
		m.local = m.address
	}
	if m.address != m.local {
		m.Peer = m.address
	}
	m.Prefix = netip.PrefixFrom(m.local, int(h.Prefixlen))
	if !m.Prefix.IsValid() || family(m.local) != int(h.Family) {
		return m, fmt.Errorf("address %v/%d of family %d: %w", m.local, h.Prefixlen, h.Family, unix.EBADMSG)
	}
	return m, nil
}

// decodeAddress reads an RTM_NEWADDR payload. It reports whether the address is
// permanent and kept by us: dynamic ones are renewed by their owner, and the
// kernel makes its own link-local ones anew.
func decodeAddress(b []byte) (index int, a Address, kept bool, err error) {
	m, err := decodeAddressMessage(b)
	if err != nil {
		return 0, a, false, err
	}
	is6 := m.local.Is6()
	m.Address.Flags = m.flags & settableFlags[b[0]]
	m.DADFailed = is6 && m.flags&unix.IFA_F_DADFAILED != 0
	if m.prefer != forever {
		m.Preferred = &m.prefer
	}
	// In IPv4 the bit of IFA_F_TEMPORARY means a secondary address.
	temporary := is6 && m.flags&unix.IFA_F_TEMPORARY != 0
	// Kernels before 5.18 mark only those that they make from a secret or a random
	// number.
	made := m.Protocol == protoKernelLL || m.flags&unix.IFA_F_STABLE_PRIVACY != 0
	kept = m.flags&unix.IFA_F_PERMANENT != 0 && !temporary && !made
	return m.index, m.Address, kept, nil
}

// message returns the request that adds the address, or that removes it.
func (a Address) message(index int, add bool) message {
	h := nl.NewIfAddrmsg(family(a.Prefix.Addr()))
	h.Prefixlen, h.Scope, h.Index = uint8(a.Prefix.Bits()), a.Scope, uint32(index)
	far := a.Prefix.Addr()
	if a.Peer.IsValid() {
		far = a.Peer
	}
	body := []nl.NetlinkRequestData{h, attr(unix.IFA_LOCAL, a.Prefix.Addr().AsSlice()), attr(unix.IFA_ADDRESS, far.AsSlice())}
	if !add {
		return message{what: fmt.Sprintf("remove address %s", a.Prefix), typ: unix.RTM_DELADDR, body: body}
	}
	body = append(body, attr(unix.IFA_FLAGS, nl.Uint32Attr(a.Flags)))
	if a.Broadcast.IsValid() {
		body = append(body, attr(unix.IFA_BROADCAST, a.Broadcast.AsSlice()))
	}
	if a.Label != "" {
		body = append(body, attr(unix.IFA_LABEL, nl.ZeroTerminated(a.Label)))
	}
	if a.Metric != 0 {
		body = append(body, attr(unix.IFA_RT_PRIORITY, nl.Uint32Attr(a.Metric)))
	}
	if a.Protocol != 0 {
		body = append(body, attr(ifaProto, nl.Uint8Attr(a.Protocol)))
	}
	if a.Preferred != nil {
		info := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Prefered: *a.Preferred, Valid: forever}}
		body = append(body, attr(unix.IFA_CACHEINFO, info.Serialize()))
	}
	return message{what: fmt.Sprintf("add address %s", a.Prefix), typ: unix.RTM_NEWADDR, flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, body: body}
}

// global reports whether the address can be reached from beyond the link.
func (a Address) global() bool {
	return a.Scope == unix.RT_SCOPE_UNIVERSE && !a.Prefix.Addr().IsLinkLocalUnicast()
}

// linkLocal6 reports whether the address is an IPv6 link-local one, which the
// kernel also makes by itself.
func (a Address) linkLocal6() bool {
	return a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast()
}

// staysOut returns why a permanent address of the host is not set in a pod, or "".
func (a Address) staysOut() string {
	switch {
	case a.Scope >= unix.RT_SCOPE_HOST:
		return "is of host scope"
	case a.DADFailed:
		return "duplicate address detection has failed: another node has it"
	}
	return ""
}

func (a Address) equal(b Address) bool {
	pa, pb := a.Preferred, b.Preferred
	// How much of a finite time is left changes as it is read.
	same := pa == nil && pb == nil || pa != nil && pb != nil && (*pa == 0) == (*pb == 0)
	a.Preferred, b.Preferred = nil, nil
	a.Late, b.Late = false, false // when it is set, not what it is
	a.DADFailed, b.DADFailed = false, false
	if a.Detect || b.Detect { // the pod's own settings may make it an optimistic one
		a.Flags, b.Flags = a.Flags&^unix.IFA_F_OPTIMISTIC, b.Flags&^unix.IFA_F_OPTIMISTIC
	}
	a.Detect, b.Detect = false, false
	return same && a == b
}

// addresses returns the addresses of every link, by index, in the order in
// which they were added: those we keep, and the others.
func (c *conn) addresses() (kept, others map[int][]Address, err error) {
	kept, others = map[int][]Address{}, map[int][]Address{}
	made := map[int]bool{} // a link-local address of the kernel's own was seen
	for _, fam := range []int{unix.AF_INET, unix.AF_INET6} {
		// AF_UNSPEC would wait for the kernel's lock of all links; one family
		// alone does not.
		payloads, err := c.dump(unix.RTM_GETADDR, nl.NewIfAddrmsg(fam))
		if err != nil {
			return nil, nil, fmt.Errorf("list addresses: %w", err)
		}
		if fam == unix.AF_INET6 {
			slices.Reverse(payloads)
		}
		for _, b := range payloads {
			index, a, ours, err := decodeAddress(b)
			if err != nil {
				return nil, nil, fmt.Errorf("list addresses: %w", err)
			}
			into := others
			if ours {
				into = kept
				a.Late = a.linkLocal6() && made[index]
			}
			made[index] = made[index] || a.linkLocal6() && !ours
			into[index] = append(into[index], a)
		}
	}
	return kept, others, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
