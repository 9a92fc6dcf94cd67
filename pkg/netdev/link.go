package netdev

import (
	"encoding/json"
	"net/netip"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Settings are what Link and State have in common: what can be set of a link by
// itself, as opposed to what it is, and to what is on it, as addresses.
type Settings struct {
	MTU          int              `json:"mtu,omitempty"` // bytes
	MAC          nic.HardwareAddr `json:"mac,omitempty"`
	AltNames     []string         `json:"altNames,omitempty"` // in State without our tag
	Alias        string           `json:"alias,omitempty"`
	QueueLen     int              `json:"queueLen,omitempty"` // packets
	Group        uint32           `json:"group,omitempty"`
	Promiscuous  bool             `json:"promiscuous,omitempty"`  // as set by a user, not counted for a port or a capture
	AllMulticast bool             `json:"allMulticast,omitempty"` // likewise
	NoARP        bool             `json:"noARP,omitempty"`
	Multicast    bool             `json:"multicast,omitempty"`
	Token        netip.Addr       `json:"token,omitzero"`        // the lower half of IPv6 addresses from router advertisements, see ip-token(8); zero without IPv6
	AddrGenMode  uint8            `json:"addrGenMode,omitempty"` // how IPv6 link-local addresses are made, see ip-link(8) addrgenmode
	Up           bool             `json:"up,omitempty"`          // administrative state
	Flags        uint32           `json:"flags,omitempty"`       // those of preservedFlags
	Preserved    []Attr           `json:"preserved,omitempty"`   // attributes kept as they are
	KindData     []Attr           `json:"kindData,omitempty"`    // what only its kind has, likewise
	// Conf4 and Conf6 are the link's settings under /proc/sys/net, as the
	// kernel numbers them. They are restored on the host; in a pod the
	// namespace's own apply.
	Conf4 []int32 `json:"conf4,omitempty"`
	Conf6 []int32 `json:"conf6,omitempty"`
}

// Link is one network interface as the kernel shows it. It is a snapshot:
// names and indices may be another link's a moment later, so code that acts on
// a link finds it again by its Ident.
type Link struct {
	Index         int              `json:"index"`
	Name          string           `json:"name"`
	Kind          string           `json:"kind,omitempty"`          // rtnl_link_ops kind: "veth", "macvlan"; empty for hardware
	Encapsulation string           `json:"encapsulation,omitempty"` // ARPHRD type as ip(8) names it: "ether", "infiniband", "loopback"
	PermMAC       nic.HardwareAddr `json:"permMAC,omitempty"`       // burnt in; empty for most virtual links
	Settings
	MinMTU       int            `json:"-"`               // the least that the driver takes
	MaxMTU       int            `json:"-"`               // the most, 0 for no limit
	MaxTSO       int            `json:"-"`               // bytes, the most that GSO can be set to; 0: a kernel before 5.19
	State        string         `json:"state,omitempty"` // operational state: "up", "down", "lowerlayerdown", "unknown", …
	Carrier      bool           `json:"carrier,omitempty"`
	Parent       string         `json:"parent,omitempty"` // parent device, as "0000:3b:00.0" on bus "pci"; empty for most virtual links
	ParentBus    string         `json:"parentBus,omitempty"`
	Lower        int            `json:"lower,omitempty"`       // ifindex of the lower device (IFLA_LINK), 0 for none
	LowerNetNSID int            `json:"lowerNetNSID"`          // namespace of Lower, -1 for this one
	Master       int            `json:"master,omitempty"`      // ifindex of the bridge, bond or VRF this link is a port of, 0 for none
	MasterKind   string         `json:"masterKind,omitempty"`  // kind of that: "bridge", "bond", "vrf"
	Immutable    bool           `json:"immutable,omitempty"`   // cannot change its network namespace
	Addresses    []netip.Prefix `json:"addresses,omitempty"`   // of global scope; only permanent ones move with the link
	HasRoute     bool           `json:"hasRoute,omitempty"`    // has a default route of the main table
	Uplink       bool           `json:"uplink,omitempty"`      // and that is the best one of IPv4 or IPv6
	PolicyTable  uint32         `json:"policyTable,omitempty"` // another table with a default route by it that rules give others' traffic to; 0 for none
	Promiscuity  uint32         `json:"promiscuity,omitempty"` // users of promiscuous mode besides Settings.Promiscuous: captures, upper devices
	// Unicast are the hardware addresses that it receives for besides its own, of
	// macvlans in whatever namespace (`bridge fdb show`). Only links with a parent
	// device that are no port have it: others show Promiscuity.
	Unicast    []nic.HardwareAddr `json:"unicast,omitempty"`
	Statistics nic.Statistics     `json:"statistics,omitzero"` // cumulative since the link was made
	XDP        []program          `json:"-"`

	PortName       string `json:"-"` // of the hardware, "p0", or of what a representor stands for, "pf0vf1"; empty for none
	SwitchID       string `json:"-"` // the same for all ports of one switch; empty for none
	RxQueues       int    `json:"-"` // the most that it can use
	TxQueues       int    `json:"-"`
	CarrierChanges uint32 `json:"-"` // how often Carrier has changed
	VLAN           int    `json:"-"` // the ID of a VLAN interface, 0 for others
	// Facts are what must be asked for each link. The function Links fills them, the
	// method only with what is known already.
	nic.Facts `json:"-"`

	// TakenMACs are the hardware addresses that it cannot get, because its lower
	// device, or another link on that, has them. Only Read fills it.
	TakenMACs []nic.HardwareAddr `json:"-"`
	// FeatureNames are the kernel's names of features, and PrivateFlagNames the
	// driver's of private flags, in the order of their bits. Only Read fills them.
	FeatureNames, PrivateFlagNames []string `json:"-"`
}

// MarshalJSON implements json.Marshaler. It omits what only State records.
func (l Link) MarshalJSON() ([]byte, error) {
	type plain Link // without this method
	l.Flags, l.Preserved, l.KindData, l.Conf4, l.Conf6 = 0, nil, nil, nil, nil
	return json.Marshal(plain(l))
}
