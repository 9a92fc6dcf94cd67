package netdev

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// preservedLinkAttrs are the attributes of a link that are preserved as they are,
// and their names. The move keeps them, a pod may change them, and each can be
// set to the value read.
var preservedLinkAttrs = map[uint16]string{
	unix.IFLA_BROADCAST: "broadcast address", unix.IFLA_LINKMODE: "link mode", unix.IFLA_PROTO_DOWN: "protodown",
	unix.IFLA_GSO_MAX_SEGS: "gso_max_segs", unix.IFLA_GSO_MAX_SIZE: "gso_max_size", unix.IFLA_GRO_MAX_SIZE: "gro_max_size",
	unix.IFLA_GSO_IPV4_MAX_SIZE: "gso_ipv4_max_size", unix.IFLA_GRO_IPV4_MAX_SIZE: "gro_ipv4_max_size",
}

// preservedFlags are the IFF_ flags that can be set and that are not interpreted.
const preservedFlags = unix.IFF_DEBUG | unix.IFF_NOTRAILERS | unix.IFF_PORTSEL | unix.IFF_AUTOMEDIA | unix.IFF_DYNAMIC

func (a Attr) equal(b Attr) bool { return a.Type == b.Type && bytes.Equal(a.Value, b.Value) }

// changed returns the wanted attributes that the link has with another value.
// One that the link does not have at all, it cannot be given.
func changed(have, want []Attr) []Attr {
	return slices.DeleteFunc(slices.Clone(want), func(w Attr) bool {
		return !slices.ContainsFunc(have, func(h Attr) bool { return h.Type == w.Type }) || slices.ContainsFunc(have, w.equal)
	})
}

// The settings that are preserved and not interpreted.
var preservedProperties = []property{
	{name: "other flags", steps: flagSteps},
	{name: "preserved attributes", steps: func(l Link, have, want State) []step {
		return messages(optional(attrMessages(l, have, want, func(attr uint16) bool { return !isSize(attr) }))...)
	}},
	{name: "options of its kind (as a macvlan's mode)", steps: kindSteps},
}

func flagSteps(l Link, have, want State) []step {
	if have.Flags == want.Flags {
		return nil
	}
	h := ifi(l.Index)
	h.Change, h.Flags = have.Flags^want.Flags, want.Flags
	return messages(message{what: fmt.Sprintf("set flags %#x", want.Flags), typ: unix.RTM_NEWLINK, body: []nl.NetlinkRequestData{h}})
}

// kindSteps set what only links of this kind have, as the mode of a macvlan.
func kindSteps(l Link, have, want State) []step {
	var data []*nl.RtAttr
	for _, a := range changed(have.KindData, want.KindData) {
		data = append(data, attr(int(a.Type), a.Value))
	}
	info := nested(unix.IFLA_LINKINFO, attr(unix.IFLA_INFO_KIND, nl.ZeroTerminated(want.Kind)), nested(unix.IFLA_INFO_DATA, data...))
	return messages(optional(set(len(data) > 0, l.Index, "set options of "+want.Kind, info))...)
}

// optional marks messages whose failure is reported but is no error.
func optional(ms []message) []message {
	for i := range ms {
		ms[i].optional = true
	}
	return ms
}
