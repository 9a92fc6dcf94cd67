package v1alpha1

import (
	"net/netip"
)

// NetDeviceConfig says how a link is to be in the pod. Every field is
// optional; what is not set stays as it is on the host.
type NetDeviceConfig struct {
	APIVersion string     `json:"apiVersion,omitempty"` // may be absent
	Kind       string     `json:"kind,omitempty"`       // may be absent
	Interface  Interface  `json:"interface,omitzero"`
	Routes     []Route    `json:"routes,omitempty"`
	Neighbors  []Neighbor `json:"neighbors,omitempty"`
	// ClaimMaySet names the fields that a claim may set beside those that its
	// device class sets, such as "interface.name"; a name covers all below it.
	// Absent: all fields; empty: none. Only a class may have it. What Decode
	// returns does not have it.
	ClaimMaySet fieldNames `json:"claimMaySet,omitzero"`
}

// Interface configures the link itself.
type Interface struct {
	// Name of the link in the pod, 1 to 15 bytes; unset keeps the host's name.
	Name string `json:"name,omitempty"`
	// Addresses replace the host's, in this order; unset keeps the host's
	// permanent addresses.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// MTU in bytes, within the device's limits (1280 or more where IPv6 is used).
	MTU int `json:"mtu,omitempty"`
	// HardwareAddr is the link's MAC address, unicast, not zero, and as long as
	// the one it has.
	HardwareAddr HardwareAddr `json:"hardwareAddr,omitempty"`
}

// Route is a route through the link. It replaces a host route to the same
// destination in the same table.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway,omitzero"`
	Source      netip.Addr   `json:"source,omitzero"` // preferred source address
	// Scope as in rtnetlink(7): 0 is universe, 253 is link.
	Scope uint8 `json:"scope,omitempty"`
	// Table is the routing table; 0 means main (254).
	Table uint32 `json:"table,omitempty"`
}

// Neighbor is a permanent neighbor (ARP or NDP) entry of the link.
type Neighbor struct {
	Destination  netip.Addr   `json:"destination"`
	HardwareAddr HardwareAddr `json:"hardwareAddr"`
}
