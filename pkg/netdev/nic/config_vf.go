package nic

// VF is what a physical function sets for a virtual function (`ip link set PF vf N`).
// What is not set stays as on the host.
type VF struct {
	VLAN       *int         `json:"vlan,omitempty"` // 0: none
	QoS        *int         `json:"qos,omitempty"`  // priority in the VLAN's tag
	Proto      string       `json:"proto,omitempty"`
	SpoofCheck *bool        `json:"spoofCheck,omitempty"`
	Trust      *bool        `json:"trust,omitempty"`
	MinTxRate  *int         `json:"minTxRate,omitempty"` // in Mb/s; 0: none
	MaxTxRate  *int         `json:"maxTxRate,omitempty"` // likewise
	LinkState  string       `json:"linkState,omitempty"`
	MAC        HardwareAddr `json:"mac,omitempty"` // zero, not in a config: the physical function has given it none
}

// What VF.Proto and VF.LinkState can be.
var (
	VLANProtos = map[string]uint16{"802.1q": 0x8100, "802.1ad": 0x88a8} // by their EtherType
	LinkStates = []string{"auto", "enable", "disable"}                  // as IFLA_VF_LINK_STATE_… number them
)
