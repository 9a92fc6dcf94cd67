package nic

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// Sysctl is a setting of one interface below /proc/sys/net that the config asks
// for.
type Sysctl struct {
	Field string // of the config
	// Name as sysctl(8) writes it, with IFNAME in the place of the interface:
	// "net.ipv4.conf.IFNAME.rp_filter".
	Name  string
	Value string
	// IfKnown means that an interface or a kernel without the setting does not
	// need it.
	IfKnown bool
}

// sysctlFields are the fields, beside interface.sysctls, that set what the kernel
// has below /proc/sys/net. A field may have several rows.
var sysctlFields = []struct {
	field   string
	name    string
	ifKnown bool
	value   func(Interface) string // empty: not set
}{
	{"interface.arpAnnounce", "net.ipv4.conf.IFNAME.arp_announce", false, func(i Interface) string { return number(i.ARPAnnounce) }},
	{"interface.arpIgnore", "net.ipv4.conf.IFNAME.arp_ignore", false, func(i Interface) string { return number(i.ARPIgnore) }},
	{"interface.forwarding", "net.ipv4.conf.IFNAME.forwarding", false, func(i Interface) string { return flag(i.Forwarding) }},
	{"interface.forwarding", "net.ipv6.conf.IFNAME.forwarding", true, func(i Interface) string { return flag(i.Forwarding) }},
	{"interface.disableIPv6", "net.ipv6.conf.IFNAME.disable_ipv6", true, func(i Interface) string { return flag(i.DisableIPv6) }},
	{"interface.acceptRA", "net.ipv6.conf.IFNAME.accept_ra", true, Interface.acceptRA},
	{"interface.addressing", "net.ipv6.conf.IFNAME.autoconf", true, func(i Interface) string { return flagIf(i.Addressing == AddressingSLAAC) }},
	{"interface.waitForDAD", "net.ipv6.conf.IFNAME.accept_dad", true, func(i Interface) string {
		return flagIf(i.WaitsForDAD() || slices.ContainsFunc(i.Addresses, i.Detects))
	}},
	// Without it IPv6 is forwarded only if conf.all.forwarding of the pod is set.
	{"interface.forwarding", "net.ipv6.conf.IFNAME.force_forwarding", true, func(i Interface) string { return flag(i.Forwarding) }},
}

// acceptRA is 2 where the interface forwards: with 1 it would ignore routers.
func (i Interface) acceptRA() string {
	on := i.Addressing == AddressingSLAAC || i.AcceptRA != nil && *i.AcceptRA
	if on && i.Forwarding != nil && *i.Forwarding {
		return "2"
	}
	if on {
		return "1"
	}
	return flag(i.AcceptRA)
}

// flagIf is for what a field switches on and never off.
func flagIf(on bool) string {
	if on {
		return "1"
	}
	return ""
}

// SysctlList returns all that the config asks for, in the order of their names. Two
// fields may ask for the same setting: a valid config gives it one value.
func (i Interface) SysctlList() []Sysctl {
	var all []Sysctl
	for _, f := range sysctlFields {
		if v := f.value(i); v != "" {
			all = append(all, Sysctl{Field: f.field, Name: f.name, Value: v, IfKnown: f.ifKnown})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Sysctls)) {
		all = append(all, Sysctl{Field: "interface.sysctls." + name, Name: name, Value: i.Sysctls[name]})
	}
	slices.SortStableFunc(all, func(a, b Sysctl) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// flag returns how the kernel writes a switch.
func flag(on *bool) string {
	switch {
	case on == nil:
		return ""
	case *on:
		return "1"
	}
	return "0"
}

func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}
