package netdev

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The settings that one attribute or one flag of a link message sets.
var linkProperties = []property{
	{
		name: "MTU", inPod: fromConfig,
		want: func(want *State, _ State, c nic.Config) []string {
			if c.Interface.MTU != 0 {
				want.MTU = c.Interface.MTU
			}
			return nil
		},
		check: checkMTU,
		steps: setU32("mtu", unix.IFLA_MTU, func(s *State) *int { return &s.MTU }),
	},
	{
		name: "hardware address", inPod: fromConfig,
		want: func(want *State, _ State, c nic.Config) []string {
			if len(c.Interface.HardwareAddr) > 0 {
				want.MAC = c.Interface.HardwareAddr
			}
			return nil
		},
		check: checkMAC,
		steps: func(l Link, have, want State) []step {
			return messages(set(!bytes.Equal(have.MAC, want.MAC), l.Index, "set hardware address "+want.MAC.String(), attr(unix.IFLA_ADDRESS, want.MAC))...)
		},
	},
	{
		name: "queue length", inPod: fromConfig,
		want: func(want *State, _ State, c nic.Config) []string {
			if c.Interface.TxQueueLength != nil {
				want.QueueLen = *c.Interface.TxQueueLength
			}
			return nil
		},
		steps: setU32("queue length", unix.IFLA_TXQLEN, func(s *State) *int { return &s.QueueLen }),
	},
	{name: "group", steps: setU32("group", unix.IFLA_GROUP, func(s *State) *uint32 { return &s.Group })},
	{name: "promiscuous", steps: setBool("promisc", unix.IFF_PROMISC, func(s *State) *bool { return &s.Promiscuous })},
	{name: "allmulticast", steps: setBool("allmulticast", unix.IFF_ALLMULTI, func(s *State) *bool { return &s.AllMulticast })},
	{name: "ARP", steps: setBool("noarp", unix.IFF_NOARP, func(s *State) *bool { return &s.NoARP })},
	{name: "multicast", steps: setBool("multicast", unix.IFF_MULTICAST, func(s *State) *bool { return &s.Multicast })},
	{
		name: "alias",
		steps: func(l Link, have, want State) []step {
			return messages(set(have.Alias != want.Alias, l.Index, fmt.Sprintf("set alias %q", want.Alias), attr(unix.IFLA_IFALIAS, []byte(want.Alias)))...)
		},
	},
}

// The admin state is the last of the settings.
var upProperties = []property{{
	name: "up or down", inPod: "up",
	want:  func(want *State, _ State, _ nic.Config) []string { want.Up = true; return nil },
	steps: setBool("up", unix.IFF_UP, func(s *State) *bool { return &s.Up }),
}}

// fromConfig is the value in the pod of what a claim can set.
const fromConfig = "the config's, else as on the host"

// setU32 returns the steps of a setting that is a number.
func setU32[T int | uint32](name string, typ int, field func(*State) *T) func(Link, State, State) []step {
	return func(l Link, have, want State) []step {
		v := *field(&want)
		return messages(set(*field(&have) != v, l.Index, fmt.Sprintf("set %s %d", name, v), attr(typ, nl.Uint32Attr(uint32(v))))...)
	}
}

// setBool returns the steps of a setting that is an IFF_ flag.
func setBool(name string, flag uint32, field func(*State) *bool) func(Link, State, State) []step {
	return func(l Link, have, want State) []step {
		return messages(setFlag(l.Index, *field(&have), *field(&want), flag, name)...)
	}
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

// fixedMAC are the kinds of link whose hardware address cannot be set.
var fixedMAC = map[string]bool{"ifb": true, "ipvlan": true, "ipvtap": true}

func checkMAC(l Link, _ State, c nic.Config, add fault) {
	const field = "interface.hardwareAddr"
	switch mac := c.Interface.HardwareAddr; {
	case len(mac) == 0 || bytes.Equal(mac, l.MAC):
	case l.Encapsulation != "ether" || fixedMAC[l.Kind]:
		add(field, mac, "the hardware address of this kind of interface (%s) cannot be set", kindOrType(l))
	case len(mac) != len(l.MAC):
		add(field, mac, "must have %d bytes as the interface's own, has %d", len(l.MAC), len(mac))
	case slices.ContainsFunc(l.TakenMACs, func(o nic.HardwareAddr) bool { return bytes.Equal(o, mac) }):
		add(field, mac, "the lower device of this %s, or another interface on that, has it", l.Kind)
	}
}

func kindOrType(l Link) string {
	if l.Kind != "" {
		return l.Kind
	}
	return l.Encapsulation
}

func checkMTU(l Link, s State, c nic.Config, add fault) {
	const field = "interface.mtu"
	switch mtu := c.Interface.MTU; {
	case s.has6() && s.MTU < minMTUIPv6:
		add(field, s.MTU, "the interface has IPv6 addresses, which need %d or more", minMTUIPv6)
	case mtu == 0 || mtu == l.MTU: // it has this MTU, whatever the driver's limits are
	case mtu < l.MinMTU:
		add(field, mtu, "the interface takes %d or more", l.MinMTU)
	case l.MaxMTU != 0 && mtu > l.MaxMTU:
		add(field, mtu, "the interface takes %d at most", l.MaxMTU)
	}
}
