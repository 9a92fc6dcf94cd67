package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// tcObject is a qdisc, a class, a chain or a filter of traffic control (tc(8),
// linux/pkt_sched.h, linux/pkt_cls.h), as a request that makes it has it.
type tcObject struct {
	Type   uint16 `json:"type"` // RTM_NEWQDISC, RTM_NEWTCLASS, RTM_NEWCHAIN or RTM_NEWTFILTER
	Handle uint32 `json:"handle,omitempty"`
	Parent uint32 `json:"parent,omitempty"`
	Block  bool   `json:"block,omitempty"` // Parent is the index of a shared block, which other links may have too
	Info   uint32 `json:"info,omitempty"`  // of a filter: its preference and protocol
	Kind   string `json:"kind,omitempty"`
	Attrs  []Attr `json:"attrs,omitempty"` // their types with NLA_F_ flags
}

// Handles and parents of linux/pkt_sched.h.
const (
	tcRoot        = 0xFFFFFFFF // TC_H_ROOT
	tcIngress     = 0xFFFFFFF1 // TC_H_INGRESS, TC_H_CLSACT
	tcMajor       = 0xFFFF0000 // TC_H_MAJ_MASK
	tcAtIngress   = 0xFFFFFFF2 // where clsact has filters
	tcAtEgress    = 0xFFFFFFF3
	tcBlockIndex  = -1 // TCM_IFINDEX_MAGIC_BLOCK
	sizeofTcMsg   = 20 // struct tcmsg: family, 3 bytes, ifindex, handle, parent, info
	maxTCObjects  = 4096
	actPolice     = "police"
	kindClsact    = "clsact"
	kindU32       = "u32"
	kindBPF       = "bpf"
	kindFlower    = "flower"
	tcPrefShift   = 16
	tcHandleShift = 16
)

// tcMsg is struct tcmsg.
type tcMsg struct {
	index                int
	handle, parent, info uint32
}

func (m tcMsg) Len() int { return sizeofTcMsg }

func (m tcMsg) Serialize() []byte {
	b := make([]byte, 4, sizeofTcMsg)
	for _, v := range []uint32{uint32(m.index), m.handle, m.parent, m.info} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// decodeTC reads the payload of an answer, and returns the index of its link too.
func decodeTC(typ uint16, b []byte) (o tcObject, index int, err error) {
	if len(b) < sizeofTcMsg {
		return o, 0, fmt.Errorf("traffic control message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	o = tcObject{Type: typ, Handle: u32(b[8:]), Parent: u32(b[12:]), Info: u32(b[16:])}
	index = int(int32(u32(b[4:])))
	o.Block = index == tcBlockIndex
	attrs, err := rawAttrs(b[sizeofTcMsg:])
	for _, a := range attrs {
		if a.is(unix.TCA_KIND) {
			o.Kind = text(a.Value)
		} else {
			o.Attrs = append(o.Attrs, a)
		}
	}
	return o, index, err
}

// message returns the request that makes the object on the link.
func (o tcObject) message(index int) message {
	m := tcMsg{index, o.Handle, o.Parent, o.Info}
	if o.Block {
		m.index = tcBlockIndex
	}
	body := []nl.NetlinkRequestData{m}
	if o.Kind != "" {
		body = append(body, attr(unix.TCA_KIND, nl.ZeroTerminated(o.Kind)))
	}
	for _, a := range o.Attrs {
		body = append(body, attr(int(a.Type), a.Value))
	}
	return message{what: "add " + o.String(), typ: int(o.Type), flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: body, optional: true}
}

// deletion returns the request that deletes a qdisc with all on it.
func (o tcObject) deletion(index int) message {
	return message{what: "delete " + o.String(), typ: unix.RTM_DELQDISC, body: []nl.NetlinkRequestData{tcMsg{index, o.Handle, o.Parent, 0}}}
}

func (o tcObject) equal(p tcObject) bool {
	return o.Type == p.Type && o.Handle == p.Handle && o.Parent == p.Parent && o.Block == p.Block && o.Info == p.Info && o.Kind == p.Kind &&
		slices.EqualFunc(o.Attrs, p.Attrs, Attr.equal)
}

// made reports whether somebody made the qdisc, or the kernel by itself: it gives
// those no handle, and replaces them.
func (o tcObject) made() bool { return o.Handle != 0 }

// String returns an object as tc(8) names it.
func (o tcObject) String() string {
	id := func(h uint32) string {
		if h&^tcMajor == 0 {
			return fmt.Sprintf("%x:", h>>tcHandleShift)
		}
		return fmt.Sprintf("%x:%x", h>>tcHandleShift, h&^tcMajor)
	}
	at := "parent " + id(o.Parent)
	if o.Block {
		at = fmt.Sprintf("block %d", o.Parent)
	}
	switch o.Type {
	case unix.RTM_NEWQDISC:
		return "qdisc " + o.Kind + " " + id(o.Handle)
	case unix.RTM_NEWTCLASS:
		return "class " + o.Kind + " " + id(o.Handle)
	case unix.RTM_NEWCHAIN:
		return fmt.Sprintf("chain %d of %s", u32(find(o.Attrs, unix.TCA_CHAIN)), at)
	}
	return fmt.Sprintf("filter %s %s pref %d handle %#x", o.Kind, at, o.Info>>tcPrefShift, o.Handle)
}

// tcDump returns all objects of this type that the link has. A kernel without
// traffic control has none.
func (c *conn) tcDump(typ uint16, index int, parent uint32) (all []tcObject, err error) {
	payloads, err := c.dump(int(typ)+2, tcMsg{index: index, parent: parent}) // RTM_GET… is RTM_NEW… + 2
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, fmt.Errorf("list traffic control (%d): %w", typ, err)
	}
	for _, b := range payloads {
		o, of, err := decodeTC(typ, b)
		if err != nil {
			return nil, err
		}
		if of == index || o.Block {
			all = append(all, o)
		}
	}
	return all, nil
}

// rawAttrs returns all attributes of b with their flags.
func rawAttrs(b []byte) (all []Attr, err error) {
	err = each(b, func(uint16, []byte) {})
	for err == nil && len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		all = append(all, Attr{binary.NativeEndian.Uint16(b[2:]), slices.Clone(b[unix.SizeofRtAttr:n])})
		b = b[min(nlAlign(n), len(b)):]
	}
	return all, err
}

// is reports whether the attribute has this type, whatever its flags.
func (a Attr) is(typ uint16) bool { return a.Type&nlaTypeMask == typ }

// find returns the value of the first attribute of this type, or nil.
func find(attrs []Attr, typ uint16) []byte {
	for _, a := range attrs {
		if a.is(typ) {
			return a.Value
		}
	}
	return nil
}

// encode is the inverse of rawAttrs.
func encode(attrs []Attr) (b []byte) {
	for _, a := range attrs {
		b = append(b, nl.NewRtAttr(int(a.Type), a.Value).Serialize()...)
	}
	return b
}
