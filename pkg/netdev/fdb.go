package netdev

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// linkAddress is a hardware address that a link receives beside its own: a
// permanent entry of its forwarding database (`bridge fdb … self permanent`), or a
// multicast address that was added by hand (`ip maddress`, or also `bridge fdb`).
type linkAddress struct {
	MAC    nic.HardwareAddr `json:"mac"`
	Static bool             `json:"static,omitempty"` // of ip maddress
	Flags  uint8            `json:"flags,omitempty"`  // NTF_SELF and others
	State  uint16           `json:"state,omitempty"`
	Attrs  []Attr           `json:"attrs,omitempty"` // what a VXLAN's entry has beside it
}

// fdbAttrs are the attributes of an entry that are kept as they are.
var fdbAttrs = []uint16{unix.NDA_DST, unix.NDA_PORT, unix.NDA_VNI, unix.NDA_IFINDEX, unix.NDA_SRC_VNI, unix.NDA_VLAN}

func (a linkAddress) equal(o linkAddress) bool {
	return bytes.Equal(a.MAC, o.MAC) && a.Static == o.Static && a.Flags == o.Flags && a.State == o.State && slices.EqualFunc(a.Attrs, o.Attrs, Attr.equal)
}

func (a linkAddress) String() string {
	if a.Static {
		return "multicast address " + a.MAC.String()
	}
	return "FDB entry " + a.MAC.String()
}

// step returns what adds or removes the address. Removed are only entries of a FDB.
func (a linkAddress) step(l Link, add bool) step {
	if a.Static {
		return step{message: message{what: "add " + a.String()}, do: func(n *NetNS) outcome {
			if err := n.conn.addMulticast(l.Name, a.MAC); err != nil {
				return outcome{changed: true, refused: []failure{{"add " + a.String(), err}}}
			}
			return outcome{changed: true}
		}}
	}
	body := []nl.NetlinkRequestData{ndMsg{family: unix.AF_BRIDGE, index: int32(l.Index), state: a.State, flags: a.Flags}, attr(unix.NDA_LLADDR, a.MAC)}
	for _, o := range a.Attrs {
		body = append(body, attr(int(o.Type), o.Value))
	}
	if !add {
		return step{message: message{what: "remove " + a.String(), typ: unix.RTM_DELNEIGH, body: body, optional: true}}
	}
	return step{message: message{
		what: "add " + a.String(), typ: unix.RTM_NEWNEIGH, flags: unix.NLM_F_CREATE | unix.NLM_F_APPEND, body: body, optional: true, already: unix.EEXIST,
	}}
}

// addMulticast is what `ip maddress add` does.
func (c *conn) addMulticast(link string, mac nic.HardwareAddr) error {
	if err := c.allowed("add multicast address"); err != nil {
		return err
	}
	var req struct { // struct ifreq with a struct sockaddr
		name   [unix.IFNAMSIZ]byte
		family uint16 // AF_UNSPEC
		mac    [22]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], link)
	copy(req.mac[:14], mac)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.SIOCADDMULTI, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}

// linkAddresses returns those of a link. It omits multicast addresses that were not
// added by hand: they belong to the kernel and to sockets. Only Ethernet has any that can be set.
func (n *NetNS) linkAddresses(l Link) ([]linkAddress, error) {
	if l.Encapsulation != "ether" {
		return nil, nil
	}
	payloads, err := n.conn.dump(unix.RTM_GETNEIGH, ndMsg{family: unix.AF_BRIDGE, index: int32(l.Index)})
	if err != nil {
		return nil, fmt.Errorf("list FDB: %w", err)
	}
	var all []linkAddress
	for _, b := range payloads {
		a, ok, err := decodeLinkAddress(b, l.Index)
		if err != nil {
			return nil, fmt.Errorf("list FDB: %w", err)
		}
		if ok && !kernelsOwn(a.MAC) {
			all = append(all, a)
		}
	}
	if l.Kind == "vxlan" || !slices.ContainsFunc(all, linkAddress.multicast) {
		return all, nil
	}
	var static []string
	if err := n.Within(func() { static, err = staticMulticast(l.Index) }); err != nil {
		return nil, err
	}
	for i, a := range all {
		if slices.Contains(static, a.MAC.String()) {
			all[i] = linkAddress{MAC: a.MAC, Static: true}
		}
	}
	return slices.DeleteFunc(all, func(a linkAddress) bool { return a.multicast() && !a.Static && !reserved(a.MAC) }), err
}

// decodeLinkAddress reads an RTM_NEWNEIGH payload. It reports whether the entry is a
// permanent one of the link.
func decodeLinkAddress(b []byte, index int) (a linkAddress, ok bool, err error) {
	if len(b) < sizeofNdMsg {
		return a, false, fmt.Errorf("neighbor message of %d bytes: %w", len(b), unix.EBADMSG)
	}
	a.Flags, a.State = b[10], binary.NativeEndian.Uint16(b[8:])
	err = each(b[sizeofNdMsg:], func(typ uint16, v []byte) {
		switch {
		case typ == unix.NDA_LLADDR:
			a.MAC = bytes.Clone(v)
		case slices.Contains(fdbAttrs, typ):
			a.Attrs = append(a.Attrs, Attr{typ, bytes.Clone(v)})
		}
	})
	ok = b[0] == unix.AF_BRIDGE && int(int32(u32(b[4:]))) == index && a.Flags&unix.NTF_SELF != 0 && a.State&unix.NUD_PERMANENT != 0
	return a, ok && len(a.MAC) > 0, err
}

func (a linkAddress) multicast() bool { return len(a.MAC) == 6 && a.MAC[0]&1 == 1 }

// reserved reports whether a bridge never forwards the address (IEEE 802.1D): the
// kernel keeps FDB entries of these among those of unicast addresses.
func reserved(mac nic.HardwareAddr) bool {
	return bytes.HasPrefix(mac, []byte{0x01, 0x80, 0xc2, 0, 0}) && mac[5] < 0x10
}

// kernelsOwn reports whether it is the hardware address of a group that the kernel
// joins by itself on each link: all hosts, or the solicited nodes of an address.
func kernelsOwn(mac nic.HardwareAddr) bool {
	return slices.Contains([]string{"01:00:5e:00:00:01", "33:33:00:00:00:01"}, mac.String()) || bytes.HasPrefix(mac, []byte{0x33, 0x33, 0xff})
}

// staticMulticast returns the multicast addresses of a link that were added by hand,
// in the namespace of the calling thread. A line of the file is: index, name, users,
// whether it was added by hand, address.
func staticMulticast(index int) (all []string, err error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	if err != nil {
		return nil, fmt.Errorf("list multicast addresses: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 5 || f[0] != strconv.Itoa(index) || f[3] == "0" {
			continue
		}
		if mac, err := hex.DecodeString(f[4]); err == nil {
			all = append(all, nic.HardwareAddr(mac).String())
		}
	}
	return all, nil
}
