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
	MTU           int    `json:"mtu,omitempty"` // bytes, as read back in the pod
	// Statistics are counted from the attach, as the pod sees them.
	Statistics nic.Statistics `json:"statistics"`
	// SampledAt is when Statistics were read.
	SampledAt time.Time `json:"sampledAt"`
	// Omitted names what the interface has on the host and cannot have in the
	// pod. The detach restores it.
	Omitted []string `json:"omitted,omitempty"`
}
