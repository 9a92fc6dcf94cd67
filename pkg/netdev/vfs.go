package netdev

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A physical function sets what its virtual functions may do, wherever those are
// (`ip link set PF vf 0 …`), also while it is in a pod.

// Which optional parts of a link a request is about (linux/rtnetlink.h).
const (
	withVFs      = 1 << 0 // RTEXT_FILTER_VF
	withoutStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
)

// vfSettings are the attributes of IFLA_VF_INFO that can be set, in the order in
// which they are set: trust first, which others need. Each begins with the number
// of the VF, except the list of VLANs, whose elements do.
var vfSettings = []struct {
	typ  uint16
	name string
}{
	{unix.IFLA_VF_TRUST, "trust"},
	{unix.IFLA_VF_MAC, "hardware address"},
	{unix.IFLA_VF_VLAN_LIST, "VLAN"},
	{unix.IFLA_VF_RATE, "rates"},
	{unix.IFLA_VF_SPOOFCHK, "spoof checking"},
	{unix.IFLA_VF_LINK_STATE, "link state"},
	{unix.IFLA_VF_RSS_QUERY_EN, "RSS query"},
	{unix.IFLA_VF_IB_NODE_GUID, "node GUID"},
	{unix.IFLA_VF_IB_PORT_GUID, "port GUID"},
}

const vfsSetting = 0xf500

// readVFs returns IFLA_VFINFO_LIST.
func readVFs(c *conn, l Link) ([]byte, error) {
	b, err := c.get(message{what: "get VFs", typ: unix.RTM_GETLINK,
		body: []nl.NetlinkRequestData{ifi(l.Index), attr(unix.IFLA_EXT_MASK, nl.Uint32Attr(withVFs|withoutStats))}})
	if err != nil {
		return nil, err
	}
	if len(b) < unix.SizeofIfInfomsg {
		return nil, unix.EBADMSG
	}
	var list []byte
	err = each(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		if typ == unix.IFLA_VFINFO_LIST {
			list = bytes.Clone(v)
		}
	})
	if err == nil && list == nil {
		err = unix.EOPNOTSUPP
	}
	return list, err
}

// vf is one virtual function: its number and its attributes.
type vf struct {
	number uint32
	attrs  map[uint16][]byte
}

func decodeVFs(b []byte) (vfs []vf, err error) {
	var broken error
	err = each(b, func(_ uint16, info []byte) {
		f := vf{attrs: map[uint16][]byte{}}
		if err := each(info, func(typ uint16, v []byte) { f.attrs[typ] = v }); err != nil {
			broken = err
		}
		f.number = u32(f.attrs[unix.IFLA_VF_MAC])
		vfs = append(vfs, f)
	})
	if err == nil {
		err = broken
	}
	return vfs, err
}

// settable reports whether the driver can set a setting with this value: it
// answers with -1 if it cannot.
func settable(value []byte) bool {
	return len(value) > 4 && (len(value) != 8 || u32(value[4:]) != ^uint32(0))
}

// unset reports whether a hardware address is zero: the physical function had
// given the VF none, and what is shown now may be the VF driver's own.
func unset(address []byte) bool {
	return !slices.ContainsFunc(address[4:], func(b byte) bool { return b != 0 })
}

// diffVFs makes one request for each setting of each VF, so that a refused one
// does not prevent the others.
func diffVFs(have, want []byte) ([]change, error) {
	present, err := decodeVFs(have)
	if err != nil {
		return nil, err
	}
	wanted, err := decodeVFs(want)
	if err != nil {
		return nil, err
	}
	if len(present) != len(wanted) {
		err = fmt.Errorf("%d virtual functions, %d before: %w", len(present), len(wanted), errOtherForm)
	}
	var changes []change
	for i, w := range wanted[:min(len(wanted), len(present))] {
		h := present[i]
		for _, s := range vfSettings {
			x, y := h.attrs[s.typ], w.attrs[s.typ]
			if x == nil || !settable(y) || bytes.Equal(x, y) || s.typ == unix.IFLA_VF_MAC && unset(y) {
				continue
			}
			y = slices.Clone(y)
			changes = append(changes, change{what: fmt.Sprintf("set %s of VF %d", s.name, w.number), message: func(l Link) message {
				info := nested(unix.IFLA_VFINFO_LIST, nested(unix.IFLA_VF_INFO, attr(int(s.typ), y)))
				return message{typ: unix.RTM_NEWLINK, body: []nl.NetlinkRequestData{ifi(l.Index), info}}
			}})
		}
	}
	return changes, err
}
