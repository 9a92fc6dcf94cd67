package v1alpha1

import "time"

// NetDeviceStatus stands in a claim's status.devices[].data. The API server
// allows 10 KiB there; the driver shortens Omitted until it fits.
type NetDeviceStatus struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// HostInterface is the link's name on the node.
	HostInterface string `json:"hostInterface,omitempty"`
	MTU           int    `json:"mtu,omitempty"` // bytes, as read back in the pod
	// Statistics are counted from the attach, as the pod sees them.
	Statistics Statistics `json:"statistics"`
	// SampledAt is when Statistics were read.
	SampledAt time.Time `json:"sampledAt"`
	// Omitted names host routes and neighbors that the pod's addresses
	// cannot carry. They come back with the link.
	Omitted []string `json:"omitted,omitempty"`
}

// Statistics are the eight counters of a link, in packets or bytes.
type Statistics struct {
	RxBytes   uint64 `json:"rxBytes"`
	RxPackets uint64 `json:"rxPackets"`
	RxErrors  uint64 `json:"rxErrors"`
	RxDropped uint64 `json:"rxDropped"`
	TxBytes   uint64 `json:"txBytes"`
	TxPackets uint64 `json:"txPackets"`
	TxErrors  uint64 `json:"txErrors"`
	TxDropped uint64 `json:"txDropped"`
}

// Since returns what was counted after base was read. A counter that went
// back (its driver was reset) counts from zero.
func (s Statistics) Since(base Statistics) Statistics {
	sub := func(now, then uint64) uint64 {
		if now < then {
			return now
		}
		return now - then
	}
	return Statistics{
		RxBytes: sub(s.RxBytes, base.RxBytes), RxPackets: sub(s.RxPackets, base.RxPackets),
		RxErrors: sub(s.RxErrors, base.RxErrors), RxDropped: sub(s.RxDropped, base.RxDropped),
		TxBytes: sub(s.TxBytes, base.TxBytes), TxPackets: sub(s.TxPackets, base.TxPackets),
		TxErrors: sub(s.TxErrors, base.TxErrors), TxDropped: sub(s.TxDropped, base.TxDropped),
	}
}
