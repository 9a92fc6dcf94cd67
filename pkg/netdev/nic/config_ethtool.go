package nic

// Ethtool are hardware settings as ethtool(8) has them. What is not set stays as
// on the host.
type Ethtool struct {
	// Features by the names that ethtool -k prints, by the kernel's own names, or
	// by ethtool's short ones, as tso.
	Features map[string]bool `json:"features,omitempty"`
	// PrivateFlags by the names that ethtool --show-priv-flags prints.
	PrivateFlags map[string]bool `json:"privateFlags,omitempty"`
	Rings        Rings           `json:"rings,omitzero"`
	Channels     Channels        `json:"channels,omitzero"`
	Coalesce     Coalesce        `json:"coalesce,omitzero"`
	Pause        Pause           `json:"pause,omitzero"`
	Speed        *uint32         `json:"speed,omitempty"`   // in Mb/s
	Duplex       string          `json:"duplex,omitempty"`  // half or full
	Autoneg      *bool           `json:"autoneg,omitempty"` // speed and duplex mode are negotiated
}

// Rings are how many descriptors the rings of a link have.
type Rings struct {
	RX      *uint32 `json:"rx,omitempty"`
	RXMini  *uint32 `json:"rxMini,omitempty"`
	RXJumbo *uint32 `json:"rxJumbo,omitempty"`
	TX      *uint32 `json:"tx,omitempty"`
}

// Channels are how many queues of each sort a link has.
type Channels struct {
	RX       *uint32 `json:"rx,omitempty"`
	TX       *uint32 `json:"tx,omitempty"`
	Other    *uint32 `json:"other,omitempty"`
	Combined *uint32 `json:"combined,omitempty"`
}

// Coalesce is how interrupts are delayed: times in microseconds, and numbers of
// frames.
type Coalesce struct {
	AdaptiveRX      *bool   `json:"adaptiveRx,omitempty"`
	AdaptiveTX      *bool   `json:"adaptiveTx,omitempty"`
	RXUsecs         *uint32 `json:"rxUsecs,omitempty"`
	RXFrames        *uint32 `json:"rxFrames,omitempty"`
	RXUsecsIRQ      *uint32 `json:"rxUsecsIrq,omitempty"`
	RXFramesIRQ     *uint32 `json:"rxFramesIrq,omitempty"`
	TXUsecs         *uint32 `json:"txUsecs,omitempty"`
	TXFrames        *uint32 `json:"txFrames,omitempty"`
	TXUsecsIRQ      *uint32 `json:"txUsecsIrq,omitempty"`
	TXFramesIRQ     *uint32 `json:"txFramesIrq,omitempty"`
	StatsBlockUsecs *uint32 `json:"statsBlockUsecs,omitempty"`
	SampleInterval  *uint32 `json:"sampleInterval,omitempty"` // in seconds
	PacketRateLow   *uint32 `json:"packetRateLow,omitempty"`
	RXUsecsLow      *uint32 `json:"rxUsecsLow,omitempty"`
	RXFramesLow     *uint32 `json:"rxFramesLow,omitempty"`
	TXUsecsLow      *uint32 `json:"txUsecsLow,omitempty"`
	TXFramesLow     *uint32 `json:"txFramesLow,omitempty"`
	PacketRateHigh  *uint32 `json:"packetRateHigh,omitempty"`
	RXUsecsHigh     *uint32 `json:"rxUsecsHigh,omitempty"`
	RXFramesHigh    *uint32 `json:"rxFramesHigh,omitempty"`
	TXUsecsHigh     *uint32 `json:"txUsecsHigh,omitempty"`
	TXFramesHigh    *uint32 `json:"txFramesHigh,omitempty"`
}

// Pause are the pause frames (IEEE 802.3x) that a link sends and obeys.
type Pause struct {
	Autoneg *bool `json:"autoneg,omitempty"` // RX and TX are negotiated
	RX      *bool `json:"rx,omitempty"`
	TX      *bool `json:"tx,omitempty"`
}

// FeatureNames are ethtool's short names of features, by the long ones.
var FeatureNames = map[string]string{
	"rx-checksumming": "rx", "tx-checksumming": "tx", "scatter-gather": "sg",
	"tcp-segmentation-offload": "tso", "udp-fragmentation-offload": "ufo",
	"generic-segmentation-offload": "gso", "generic-receive-offload": "gro", "large-receive-offload": "lro",
	"rx-vlan-offload": "rxvlan", "tx-vlan-offload": "txvlan", "ntuple-filters": "ntuple", "receive-hashing": "rxhash",
}
