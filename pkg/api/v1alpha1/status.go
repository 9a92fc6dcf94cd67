package v1alpha1

import (
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// NetDeviceStatus is a claim's status.devices[].data. The API server
// allows 10 KiB there; the driver shortens Omitted until it fits.
type NetDeviceStatus struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// HostInterface is the interface's name on the node.
	HostInterface string `json:"hostInterface,omitempty"`
	// Identity is what the interface was known by on the node when the claim got it.
	Identity HostIdentity `json:"identity,omitzero"`
	MTU      int          `json:"mtu,omitempty"` // bytes, as read back in the pod
	// Statistics are counted from the attach, as the pod sees them.
	Statistics nic.Statistics `json:"statistics"`
	// SampledAt is when Statistics were read.
	SampledAt time.Time `json:"sampledAt"`
	// Omitted names what the interface has on the host and cannot have in the
	// pod. The detach restores it.
	Omitted []string `json:"omitted,omitempty"`
	// Leases are what the interface has leased from DHCP servers.
	Leases []LeaseStatus `json:"leases,omitempty"`
	// RDMA is the interface's RDMA device; nil if it has none.
	RDMA *RDMAStatus `json:"rdma,omitempty"`
}

// RDMAStatus is the RDMA device of an interface.
type RDMAStatus struct {
	Device string `json:"device"` // in the pod, as `rdma dev` shows it
	Mode   string `json:"mode"`   // "shared" or "exclusive", see `rdma system`
	// Nodes are the device nodes that containers which list the claim have.
	Nodes []string `json:"nodes,omitempty"`
	// Message is why the pod cannot use the device; empty if it can.
	Message string `json:"message,omitempty"`
	// Counters are those of the port, since the attach, by the kernel's names.
	Counters map[string]uint64 `json:"counters,omitempty"`
}

// HostIdentity is what tells an interface of a node from another one of the same
// name after a reboot.
type HostIdentity struct {
	Kind             string           `json:"kind,omitempty"` // as ip(8) names it: "macvlan"; empty for hardware
	Address          nic.HardwareAddr `json:"address,omitempty"`
	PermanentAddress nic.HardwareAddr `json:"permanentAddress,omitempty"` // burnt in
	LowerAddress     nic.HardwareAddr `json:"lowerAddress,omitempty"`     // burnt into the hardware that is its lower device
}

// IsZero reports whether nothing is known.
func (i HostIdentity) IsZero() bool {
	return len(i.Address) == 0 && len(i.PermanentAddress) == 0 && len(i.LowerAddress) == 0
}

// LeaseStatus is an address that a DHCP server leases to the interface, with what
// the server sends along. The driver sets address, routes and MTU; DNS servers
// and search domains are for the pod to use.
type LeaseStatus struct {
	Address       string   `json:"address"` // with its prefix length
	Server        string   `json:"server,omitempty"`
	Routes        []string `json:"routes,omitempty"` // as "203.0.113.0/24 via 192.0.2.1"
	MTU           int      `json:"mtu,omitempty"`    // bytes
	DNSServers    []string `json:"dnsServers,omitempty"`
	SearchDomains []string `json:"searchDomains,omitempty"`
	// Ignored is what the server sends and the interface does not get, with the
	// reason.
	Ignored []string `json:"ignored,omitempty"`
}
