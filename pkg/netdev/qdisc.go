package netdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// tcObject is a qdisc, a class, a chain or a filter of traffic control, as the kernel
// reports it (linux/pkt_sched.h, linux/rtnetlink.h).
type tcObject struct {
	Handle uint32 `json:"handle,omitempty"`
	Parent uint32 `json:"parent,omitempty"`
	Info   uint32 `json:"info,omitempty"` // of a filter: its priority and protocol
	Kind   string `json:"kind,omitempty"`
	Attrs  []Attr `json:"attrs,omitempty"`
}

const sizeofTcMsg = 20 // struct tcmsg: family, 3 bytes, ifindex, handle, parent, info

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
func decodeTC(b []byte) (o tcObject, index int, err error) {
	if len(b) < sizeofTcMsg {
		return o, 0, fmt.Errorf("traffic control message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	o.Handle, o.Parent, o.Info = u32(b[8:]), u32(b[12:]), u32(b[16:])
	err = each(b[sizeofTcMsg:], func(typ uint16, v []byte) {
		if typ == unix.TCA_KIND {
			o.Kind = text(v)
		} else {
			o.Attrs = append(o.Attrs, Attr{typ, bytes.Clone(v)})
		}
	})
	return o, int(int32(u32(b[4:]))), err
}

// made reports whether somebody made the qdisc, or the kernel by itself: it gives
// those no handle.
func (o tcObject) made() bool { return o.Handle != 0 }

// String returns a qdisc as tc(8) shows it.
func (o tcObject) String() string { return fmt.Sprintf("qdisc %s %x:", o.Kind, o.Handle>>16) }

// tcDump returns all objects of this type that the link has. A kernel without
// traffic control has none.
func (c *conn) tcDump(typ int, m tcMsg) (all []tcObject, err error) {
	payloads, err := c.dump(typ, m)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, err
	}
	for _, b := range payloads {
		o, index, err := decodeTC(b)
		if err != nil {
			return nil, err
		}
		if index == m.index {
			all = append(all, o)
		}
	}
	return all, nil
}

func (c *conn) qdiscs(index int) ([]tcObject, error) {
	all, err := c.tcDump(unix.RTM_GETQDISC, tcMsg{index: index})
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	return all, nil
}
