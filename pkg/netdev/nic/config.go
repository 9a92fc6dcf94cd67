package nic

import "net/netip"

// Config is what a claim can set of an interface in the pod. Every field is
// optional; what is not set stays as it is on the host.
type Config struct {
	// Mode is how the pod gets the device: one of the modes; unset: as the device is.
	Mode      string    `json:"mode,omitempty"`
	Interface Interface `json:"interface,omitzero"`
	Routes    []Route   `json:"routes,omitempty"`
	// Rules replace the host's rules for the interface, also if there are none of
	// them (an empty list); nil keeps those of the host.
	Rules     []Rule     `json:"rules,omitzero"`
	Neighbors []Neighbor `json:"neighbors,omitempty"`
	Ethtool   Ethtool    `json:"ethtool,omitzero"`
	VF        VF         `json:"vf,omitzero"` // if the interface is a virtual function
}

// Interface configures the interface itself.
type Interface struct {
	// Name of the interface in the pod, 1 to 15 bytes, or a template such as net%d
	// that NameFrom resolves; unset keeps the host's name.
	Name string `json:"name,omitempty"`
	// Type is how the interface gets into the pod: Passthrough, or unset, which is
	// the same.
	Type string `json:"type,omitempty"`
	// AddressPolicy is which addresses the interface has in the pod; unset: that of
	// Policy.
	AddressPolicy string `json:"addressPolicy,omitempty"`
	// Addressing is where its addresses come from; unset: as AddressPolicy says.
	Addressing string `json:"addressing,omitempty"`
	// Addresses are the config's, in this order.
	Addresses []Address `json:"addresses,omitempty"`
	// AddressPool gives the interface addresses that no other pod of the node has.
	AddressPool AddressPool `json:"addressPool,omitzero"`
	// WaitForDAD sends IPv6 addresses through duplicate address detection, and the
	// pod waits for its end; unset is false.
	WaitForDAD *bool `json:"waitForDAD,omitempty"`
	// DisableIPv6 switches IPv6 off or on; unset: on if the interface has IPv6
	// addresses, else as the pod's other interfaces.
	DisableIPv6 *bool `json:"disableIPv6,omitempty"`
	// AcceptRA lets IPv6 routers configure the interface; unset is false.
	AcceptRA *bool `json:"acceptRA,omitempty"`
	// MTU in bytes, within the device's limits (1280 or more where IPv6 is used).
	MTU int `json:"mtu,omitempty"`
	// HardwareAddr is the MAC address, unicast, not zero, and as long as the one
	// that the interface has.
	HardwareAddr HardwareAddr `json:"hardwareAddr,omitempty"`
	// AllowLoss are keys of Losses: what may be lost on the host.
	AllowLoss []string `json:"allowLoss,omitempty"`
	// GSOMaxSize and GROMaxSize are the largest packets, in bytes, that the
	// interface takes from the kernel and makes for it; up to 65536 they are those
	// of IPv4 too, unless these are set.
	GSOMaxSize     int `json:"gsoMaxSize,omitempty"`
	GROMaxSize     int `json:"groMaxSize,omitempty"`
	GSOIPv4MaxSize int `json:"gsoIPv4MaxSize,omitempty"`
	GROIPv4MaxSize int `json:"groIPv4MaxSize,omitempty"`
	// TxQueueLength is the length of the transmit queue, in packets.
	TxQueueLength *int `json:"txQueueLength,omitempty"`
	VRF           VRF  `json:"vrf,omitzero"`
	// Bandwidth limits traffic in the pod.
	Bandwidth Bandwidth `json:"bandwidth,omitzero"`
	// SourceRouting routes traffic from the interface's addresses by the interface,
	// and leaves the default route to the pod's network; unset is false.
	SourceRouting *bool `json:"sourceRouting,omitempty"`
	// DisableEBPFPrograms keeps the host's XDP and tcx programs out of the pod.
	DisableEBPFPrograms *bool `json:"disableEbpfPrograms,omitempty"`
	// Forwarding of packets that arrive by the interface, IPv4 and IPv6.
	Forwarding *bool `json:"forwarding,omitempty"`
	// ARPIgnore and ARPAnnounce are arp_ignore (0 to 3, 8) and arp_announce (0 to
	// 2) of ip-sysctl.rst.
	ARPIgnore   *int `json:"arpIgnore,omitempty"`
	ARPAnnounce *int `json:"arpAnnounce,omitempty"`
	// Sysctls are settings of the interface below /proc/sys/net, by their name
	// with IFNAME: "net.ipv4.conf.IFNAME.rp_filter".
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// DHCP leases an IPv4 address in place of the host's IPv4 addresses; unset is
	// false.
	DHCP *bool `json:"dhcp,omitempty"`
	// DHCP6 leases an IPv6 address in place of the host's IPv6 addresses, except
	// for link-local ones; unset is false.
	DHCP6 *bool `json:"dhcp6,omitempty"`
}

// WantsDHCP reports whether the interface leases an IPv4 address.
func (i Interface) WantsDHCP() bool {
	return i.DHCP != nil && *i.DHCP || i.Addressing == AddressingDHCP
}

// WantsDHCP6 reports whether the interface leases an IPv6 address.
func (i Interface) WantsDHCP6() bool { return i.DHCP6 != nil && *i.DHCP6 }

// Neighbor is a permanent neighbor (ARP or NDP) entry of the interface.
type Neighbor struct {
	Destination  netip.Addr   `json:"destination,omitzero"`
	IPAddress    netip.Addr   `json:"ipAddress,omitzero"` // another name of Destination; v1alpha1.Decode leaves it unset
	HardwareAddr HardwareAddr `json:"hardwareAddr"`
}

// Broadcast returns the last address of an IPv4 prefix.
func Broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
