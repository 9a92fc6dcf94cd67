package v1alpha1

import "github.com/dra-netdev/dra-netdev/pkg/netdev/nic"

// NetDeviceConfig is a config as it is written in the parameters of a claim or a
// device class.
type NetDeviceConfig struct {
	APIVersion string `json:"apiVersion,omitempty"` // may be absent
	Kind       string `json:"kind,omitempty"`       // may be absent
	nic.Config
	// ClaimMaySet names the fields that a claim may set beside those that its
	// device class sets, such as "interface.name"; a name covers all below it.
	// Absent: all fields; empty: none. Only a class may have it. What Decode
	// returns does not have it.
	ClaimMaySet fieldNames `json:"claimMaySet,omitzero"`
}
