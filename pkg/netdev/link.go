package netdev

import (
	"net/netip"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// Link is one network interface as the kernel shows it. It is a snapshot:
// names and indices may be another link's a moment later, so code that acts on
// a link finds it again by its Ident.
type Link struct {
	Index         int                   `json:"index"`
	Name          string                `json:"name"`
	AltNames      []string              `json:"altNames,omitempty"`
	Alias         string                `json:"alias,omitempty"`
	Kind          string                `json:"kind,omitempty"`          // rtnl_link_ops kind: "veth", "macvlan"; empty for hardware
	Encapsulation string                `json:"encapsulation,omitempty"` // ARPHRD type as ip(8) names it: "ether", "infiniband", "loopback"
	MAC           v1alpha1.HardwareAddr `json:"mac,omitempty"`
	PermMAC       v1alpha1.HardwareAddr `json:"permMAC,omitempty"` // burnt in; empty for most virtual links
	MTU           int                   `json:"mtu,omitempty"`     // bytes
	MinMTU        int                   `json:"-"`                 // the least that the driver takes
	MaxMTU        int                   `json:"-"`                 // the most, 0 for no limit
	QueueLen      int                   `json:"queueLen,omitempty"`
	Group         uint32                `json:"group,omitempty"`
	State         string                `json:"state,omitempty"` // operational state: "up", "down", "lowerlayerdown", "unknown", …
	Up            bool                  `json:"up,omitempty"`    // administrative state
	Carrier       bool                  `json:"carrier,omitempty"`
	Promiscuous   bool                  `json:"promiscuous,omitempty"`  // as set by a user, not counted for a port or a capture
	AllMulticast  bool                  `json:"allMulticast,omitempty"` // likewise
	NoARP         bool                  `json:"noARP,omitempty"`
	Multicast     bool                  `json:"multicast,omitempty"`
	AddrGenMode   uint8                 `json:"addrGenMode,omitempty"` // how IPv6 link-local addresses are made, see ip-link(8) addrgenmode
	Parent        string                `json:"parent,omitempty"`      // parent device, as "0000:3b:00.0" on bus "pci"; empty for most virtual links
	ParentBus     string                `json:"parentBus,omitempty"`
	Lower         int                   `json:"lower,omitempty"`      // ifindex of the lower device (IFLA_LINK), 0 for none
	LowerNetNSID  int                   `json:"lowerNetNSID"`         // namespace of Lower, -1 for this one
	Master        int                   `json:"master,omitempty"`     // ifindex of the bridge, bond or VRF this link is a port of, 0 for none
	MasterKind    string                `json:"masterKind,omitempty"` // kind of that: "bridge", "bond", "vrf"
	Immutable     bool                  `json:"immutable,omitempty"`  // cannot change its network namespace
	Addresses     []netip.Prefix        `json:"addresses,omitempty"`  // of global scope; only permanent ones move with the link
	HasRoute      bool                  `json:"hasRoute,omitempty"`   // has a default route of the main table
	Statistics    v1alpha1.Statistics   `json:"statistics,omitzero"`  // cumulative since the link was made
	XDP           []program             `json:"-"`
	Flags         uint32                `json:"-"` // those of preservedFlags
	Preserved     []Attr                `json:"-"` // attributes kept as they are
	KindData      []Attr                `json:"-"` // what only its kind has, likewise
	Conf4         []int32               `json:"-"` // IPv4 settings under /proc/sys/net, as the kernel numbers them
	Conf6         []int32               `json:"-"` // IPv6 settings, likewise

	// TakenMACs are the hardware addresses that it cannot get, because its lower
	// device, or another link on that, has them. Only Read fills it.
	TakenMACs []v1alpha1.HardwareAddr `json:"-"`
}
