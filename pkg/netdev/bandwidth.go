package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// bandwidth are the limits of a link in bytes per second, 0 for none. Egress is
// limited by a tbf as its root qdisc. So is ingress, on an ifb to which a filter
// redirects it: packets wait there instead of being dropped, as a police action
// would do, which TCP answers with a lower rate.
type bandwidth struct {
	Ingress uint64 `json:"ingress,omitempty"`
	Egress  uint64 `json:"egress,omitempty"`
}

const (
	kindTBF = "tbf"
	kindIFB = "ifb"

	// burstTime is how much may pass at once, as time at the limit: a few times what
	// a thread may wait for a CPU.
	burstTime = 0.005 // seconds
	// queueTime is how long a packet may wait: a round trip between continents would
	// need more, but all flows wait in this queue.
	queueTime = 0.05 // seconds
	// queuePackets are at least in the queue, also at a low rate.
	queuePackets = 16
	// frameHeader is what a frame has beside its packet: Ethernet with two VLAN tags.
	frameHeader = 22
)

// ifbName is the ifb of the link with this index. Of several links in a pod each
// has its own.
func ifbName(index int) string { return fmt.Sprintf("nd-in-%d", index) }

// Of struct tc_tbf_qopt: rate, peak rate (struct tc_ratespec), limit, buffer, mtu.
const (
	tbfParameters = 1 // TCA_TBF_PARMS
	tbfRate64     = 4
	tbfBurst      = 6
	tbfSize       = 36
	tbfRate       = 8
	tbfLinkLayer  = 1
	tbfLimit      = 24
)

// tbf returns the root qdisc that limits a link with this MTU to bytes per second.
func tbf(rate uint64, mtu int) tcObject {
	burst := max(2*(mtu+frameHeader), int(float64(rate)*burstTime))
	limit := max(queuePackets*(mtu+frameHeader), int(float64(rate)*queueTime)) + burst
	const most = 1 << 30 // both have 32 bits
	p := make([]byte, tbfSize)
	p[tbfLinkLayer] = 1 // TC_LINKLAYER_ETHERNET
	binary.NativeEndian.PutUint32(p[tbfRate:], uint32(min(rate, 1<<32-1)))
	binary.NativeEndian.PutUint32(p[tbfLimit:], uint32(min(limit, most)))
	options := []Attr{{tbfParameters, p}, {tbfBurst, u32Bytes(uint32(min(burst, most)))}}
	if rate >= 1<<32 {
		options = append(options, Attr{tbfRate64, binary.NativeEndian.AppendUint64(nil, rate)})
	}
	return tcObject{Type: unix.RTM_NEWQDISC, Parent: tcRoot, Kind: kindTBF, Attrs: []Attr{{unix.TCA_OPTIONS, encode(options)}}}
}

// tbfRateOf returns the rate of the root qdisc, 0 if that is none of ours.
func tbfRateOf(all []tcObject) uint64 {
	for _, o := range all {
		if o.Parent != tcRoot || o.Kind != kindTBF {
			continue
		}
		if r := find(o.options(), tbfRate64); len(r) == 8 {
			return binary.NativeEndian.Uint64(r)
		}
		if p := find(o.options(), tbfParameters); len(p) >= tbfSize {
			return uint64(u32(p[tbfRate:]))
		}
	}
	return 0
}

// redirect returns the filter at ingress that redirects all to another link.
func redirect(to int) tcObject {
	const (
		everything = 1<<tcPrefShift | 0x0300 // preference 1; ETH_P_ALL in network order
		terminal   = 1                       // TC_U32_TERMINAL
		keys       = 2                       // place of the number of keys in struct tc_u32_sel, which has 16 bytes, as a key
		selector   = 5                       // TCA_U32_SEL
		stolen     = 4                       // TC_ACT_STOLEN
		action     = 8
		redirects  = 1 // TCA_EGRESS_REDIR
	)
	sel := make([]byte, 32)
	sel[0], sel[keys] = terminal, 1 // one key that every packet has: no bit is compared
	p := make([]byte, mirredSize)
	binary.NativeEndian.PutUint32(p[action:], stolen)
	binary.NativeEndian.PutUint32(p[genSize:], redirects)
	binary.NativeEndian.PutUint32(p[mirredIndex:], uint32(to))
	one := []Attr{{actKind, []byte("mirred\x00")}, {actOptions | unix.NLA_F_NESTED, encode([]Attr{{actionKinds["mirred"].parameters[0], p}})}}
	options := []Attr{{selector, sel}, {filterKinds[kindU32].actions, encode([]Attr{{1, encode(one)}})}}
	return tcObject{Type: unix.RTM_NEWTFILTER, Parent: tcAtIngress, Info: everything, Kind: kindU32, Attrs: []Attr{{unix.TCA_OPTIONS, encode(options)}}}
}

// redirectsTo returns the index of the link to which a filter redirects, or 0.
func (o tcObject) redirectsTo() int {
	actions, _ := rawAttrs(find(o.options(), filterKinds[o.Kind].actions))
	for _, a := range actions {
		one, _ := rawAttrs(a.Value)
		options, _ := rawAttrs(find(one, actOptions))
		if p := find(options, actionKinds["mirred"].parameters[0]); text(find(one, actKind)) == "mirred" && len(p) >= mirredSize {
			return int(u32(p[mirredIndex:]))
		}
	}
	return 0
}

// bandwidth returns the limits that a link has.
func (n *NetNS) bandwidth(index int) (b bandwidth, err error) {
	all, _, err := n.conn.trafficControl(index)
	if err != nil {
		return b, err
	}
	b.Egress = tbfRateOf(all)
	ifb, err := n.conn.linkByName(ifbName(index))
	if errors.Is(err, ErrNotFound) || err == nil && (ifb.Kind != kindIFB || !ifb.Up) {
		return b, nil
	}
	for _, o := range all {
		if err == nil && o.Type == unix.RTM_NEWTFILTER && o.Parent == tcAtIngress && o.redirectsTo() == ifb.Index {
			var there []tcObject
			there, _, err = n.conn.trafficControl(ifb.Index)
			b.Ingress = tbfRateOf(there)
		}
	}
	return b, err
}

// limit sets the limits of a link, which has none or those of an attach that was cut
// off.
func (n *NetNS) limit(index int, b bandwidth, mtu int) error {
	replace := func(m message) message {
		m.flags, m.optional = unix.NLM_F_CREATE|unix.NLM_F_REPLACE, false
		return m
	}
	var ms []message
	if b.Egress != 0 {
		ms = append(ms, replace(tbf(b.Egress, mtu).message(index)))
	}
	if b.Ingress != 0 {
		if err := n.unlimit(index); err != nil {
			return err
		}
		name := ifbName(index)
		if _, err := n.conn.do(message{what: "add " + name, typ: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: []nl.NetlinkRequestData{
			ifi(0), attr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)), nested(unix.IFLA_LINKINFO, attr(unix.IFLA_INFO_KIND, nl.ZeroTerminated(kindIFB))),
		}}); err != nil {
			return err
		}
		ifb, err := n.conn.linkByName(name)
		if err != nil {
			return err
		}
		clsact := tcObject{Type: unix.RTM_NEWQDISC, Handle: tcIngress & tcMajor, Parent: tcIngress, Kind: kindClsact}.message(index)
		clsact.optional = false
		ms = append(ms, replace(tbf(b.Ingress, mtu).message(ifb.Index)))
		ms = append(ms, setFlag(ifb.Index, false, true, unix.IFF_UP, "up "+name)...)
		filter := redirect(ifb.Index).message(index)
		filter.optional = false
		ms = append(ms, clsact, filter)
	}
	_, err := n.conn.do(ms...)
	return err
}

// unlimit removes what an attach that was cut off made for the limit of ingress.
func (n *NetNS) unlimit(index int) error {
	all, _, err := n.conn.trafficControl(index)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Type == unix.RTM_NEWQDISC && o.Parent == tcIngress {
			if _, err := n.conn.do(o.deletion(index)); err != nil {
				return err
			}
		}
	}
	return n.removeIFB(index)
}

// removeIFB deletes the ifb of the link with this index. None there is success.
func (n *NetNS) removeIFB(index int) error {
	ifb, err := n.conn.linkByName(ifbName(index))
	if errors.Is(err, ErrNotFound) || err == nil && ifb.Kind != kindIFB {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = n.conn.do(message{what: "delete " + ifb.Name, typ: unix.RTM_DELLINK, body: []nl.NetlinkRequestData{ifi(ifb.Index)}})
	return err
}
