package netdev

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// aspect is one property of a link. want applies the config; nil keeps the
// original value. diff returns the requests that turn have into want. Both are
// pure, and diff serves attach, detach and every repair.
type aspect struct {
	name string
	late bool // can be set only while the link is up
	want func(want *State, original State, c v1alpha1.NetDeviceConfig)
	diff func(index int, have, want State) []message
}

// aspects are all properties, in the order in which they are set. The name is
// set by the move itself; the row renames a link that has another name by then.
var aspects = []aspect{
	{
		name: "name",
		want: func(want *State, _ State, c v1alpha1.NetDeviceConfig) {
			if c.Interface.Name != "" {
				want.Name = c.Interface.Name
			}
		},
		diff: func(i int, have, want State) []message {
			return set(have.Name != want.Name, i, "rename to "+want.Name, attr(unix.IFLA_IFNAME, nl.ZeroTerminated(want.Name)))
		},
	},
	{
		name: "mtu",
		want: func(want *State, _ State, c v1alpha1.NetDeviceConfig) {
			if c.Interface.MTU != 0 {
				want.MTU = c.Interface.MTU
			}
		},
		diff: func(i int, have, want State) []message {
			return set(have.MTU != want.MTU, i, fmt.Sprintf("set mtu %d", want.MTU), attr(unix.IFLA_MTU, nl.Uint32Attr(uint32(want.MTU))))
		},
	},
	{
		name: "mac",
		want: func(want *State, _ State, c v1alpha1.NetDeviceConfig) {
			if len(c.Interface.HardwareAddr) > 0 {
				want.MAC = c.Interface.HardwareAddr
			}
		},
		diff: func(i int, have, want State) []message {
			return set(!bytes.Equal(have.MAC, want.MAC), i, "set hardware address "+want.MAC.String(), attr(unix.IFLA_ADDRESS, want.MAC))
		},
	},
	{
		name: "queue length",
		diff: func(i int, have, want State) []message {
			return set(have.QueueLen != want.QueueLen, i, fmt.Sprintf("set queue length %d", want.QueueLen), attr(unix.IFLA_TXQLEN, nl.Uint32Attr(uint32(want.QueueLen))))
		},
	},
	{
		name: "group",
		diff: func(i int, have, want State) []message {
			return set(have.Group != want.Group, i, fmt.Sprintf("set group %d", want.Group), attr(unix.IFLA_GROUP, nl.Uint32Attr(want.Group)))
		},
	},
	{
		name: "promiscuous",
		diff: func(i int, have, want State) []message {
			return setFlag(i, have.Promiscuous, want.Promiscuous, unix.IFF_PROMISC, "promisc")
		},
	},
	{
		name: "all multicast",
		diff: func(i int, have, want State) []message {
			return setFlag(i, have.AllMulticast, want.AllMulticast, unix.IFF_ALLMULTI, "allmulticast")
		},
	},
	{
		name: "arp",
		diff: func(i int, have, want State) []message {
			return setFlag(i, have.NoARP, want.NoARP, unix.IFF_NOARP, "noarp")
		},
	},
	{
		name: "multicast",
		diff: func(i int, have, want State) []message {
			return setFlag(i, have.Multicast, want.Multicast, unix.IFF_MULTICAST, "multicast")
		},
	},
	{name: "flags", diff: diffFlags},
	{name: "attributes", diff: diffPreserved},
	{name: "kind", diff: diffKind},
	{name: "settings", want: wantConf, diff: diffConf4},
	{
		name: "address generation",
		diff: func(i int, have, want State) []message {
			mode := nested(unix.IFLA_AF_SPEC, nested(unix.AF_INET6, attr(iflaInet6AddrGenMode, nl.Uint8Attr(want.AddrGenMode))))
			// A namespace without IPv6, or without the link's stable secret, does
			// not accept it; nothing else depends on it.
			return optional(set(have.AddrGenMode != want.AddrGenMode && want.MTU >= minMTUIPv6, i, fmt.Sprintf("set addrgenmode %d", want.AddrGenMode), mode))
		},
	},
	{name: "addresses", want: wantAddresses, diff: func(i int, have, want State) []message { return diffAddresses(i, have.Addresses, want.Addresses) }},
	{name: "altnames", diff: diffAltNames},
	{
		name: "alias",
		diff: func(i int, have, want State) []message {
			return set(have.Alias != want.Alias, i, fmt.Sprintf("set alias %q", want.Alias), attr(unix.IFLA_IFALIAS, []byte(want.Alias)))
		},
	},
	{name: "up", diff: func(i int, have, want State) []message { return setFlag(i, have.Up, want.Up, unix.IFF_UP, "up") }},
	{name: "late addresses", late: true, diff: func(i int, have, want State) []message { return diffLate(i, have.Addresses, want.Addresses) }},
	{name: "routes", late: true, want: wantRoutes, diff: diffRoutes},
	{name: "neighbors", late: true, want: wantNeighbors, diff: func(i int, have, want State) []message {
		return diffList(i, have.Neighbors, want.Neighbors, Neighbor.equal, Neighbor.message)
	}},
}

// set returns the link message that sets an attribute, or none.
func set(differs bool, index int, what string, a *nl.RtAttr) []message {
	if !differs {
		return nil
	}
	return []message{{what: what, typ: unix.RTM_NEWLINK, body: []nl.NetlinkRequestData{ifi(index), a}}}
}

// setFlag returns the link message that sets or clears an IFF_ flag, or none.
func setFlag(index int, have, want bool, flag uint32, name string) []message {
	if have == want {
		return nil
	}
	h := ifi(index)
	h.Change = flag
	if want {
		h.Flags = flag
	}
	return []message{{what: fmt.Sprintf("set %s %t", name, want), typ: unix.RTM_NEWLINK, body: []nl.NetlinkRequestData{h}}}
}

// diffAltNames also keeps the order: names after the first difference are removed
// and added again.
func diffAltNames(index int, have, want State) []message {
	same := 0
	for same < min(len(have.AltNames), len(want.AltNames)) && have.AltNames[same] == want.AltNames[same] {
		same++
	}
	var ms []message
	for _, a := range have.AltNames[same:] {
		m := altName(index, a, false)
		m.optional = slices.Contains(want.AltNames, a) // it is only out of order
		ms = append(ms, m)
	}
	for _, a := range want.AltNames[same:] {
		m := altName(index, a, true)
		m.optional = true // another link may have it meanwhile
		ms = append(ms, m)
	}
	return ms
}

// altName adds or removes an alternative name, see `ip link property`.
func altName(index int, name string, add bool) message {
	m := message{what: "add altname " + name, typ: unix.RTM_NEWLINKPROP, flags: unix.NLM_F_CREATE | unix.NLM_F_APPEND | unix.NLM_F_EXCL}
	if !add {
		m = message{what: "remove altname " + name, typ: unix.RTM_DELLINKPROP}
	}
	m.body = []nl.NetlinkRequestData{ifi(index), nested(unix.IFLA_PROP_LIST, attr(unix.IFLA_ALT_IFNAME, nl.ZeroTerminated(name)))}
	return m
}

// diffList removes what is not wanted and then adds what is missing.
func diffList[T any](index int, have, want []T, equal func(T, T) bool, request func(T, int, bool) message) []message {
	in := func(list []T, t T) bool { return slices.ContainsFunc(list, func(o T) bool { return equal(t, o) }) }
	var ms []message
	for _, t := range have {
		if !in(want, t) {
			ms = append(ms, request(t, index, false))
		}
	}
	for _, t := range want {
		if !in(have, t) {
			ms = append(ms, request(t, index, true))
		}
	}
	return ms
}

// steps returns the messages that make have into want: all early ones, or all
// late ones.
func steps(late bool, index int, have, want State) []message {
	var ms []message
	for _, a := range aspects {
		if a.late == late {
			ms = append(ms, a.diff(index, have, want)...)
		}
	}
	return ms
}
