package v1alpha1

import (
	"maps"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// vfFields are what a physical function sets for the claim's virtual function.
var vfFields = []field{
	{path: "vf", doc: "what the physical function on the host sets for this virtual function (`ip link set PF vf N`); a claim can set it only if its DeviceClass names it in `claimMaySet`", example: `{}`},
	{path: "vf.vlan", doc: "VLAN of all its traffic, which the pod does not see; 0: none", example: `100`, max: 4094},
	{path: "vf.qos", doc: "priority in the VLAN's tag; needs vlan", example: `3`, max: 7},
	{path: "vf.proto", doc: "of the VLAN's tag; needs vlan", example: `"802.1q"`, enum: slices.Sorted(maps.Keys(nic.VLANProtos))},
	{path: "vf.spoofCheck", doc: "drop what it sends from another hardware address", example: `true`},
	{path: "vf.trust", doc: "allow what only a trusted function may, as promiscuous mode", example: `false`},
	{path: "vf.minTxRate", doc: "Mb/s that it can send at least; 0: none", example: `100`, max: maxRate},
	{path: "vf.maxTxRate", doc: "Mb/s that it can send at most; 0: no limit", example: `1000`, max: maxRate},
	{path: "vf.linkState", doc: "auto: its link is up when that of the physical function is; enable: always, disable: never", example: `"auto"`, enum: nic.LinkStates},
	{
		path: "vf.mac", example: `"02:00:00:00:00:aa"`, format: formatHardwareAddr,
		doc: "hardware address that the physical function gives it, and that the interface has in the pod; one that is not trusted cannot change it",
	},
}

const maxRate = 1<<31 - 1 // the kernel's drivers take an int
