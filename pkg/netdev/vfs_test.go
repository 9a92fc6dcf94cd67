package netdev

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// vfInfo returns a virtual function with these settings of eight bytes, by
// attribute.
func vfInfo(number uint32, mac byte, settings map[int]uint32) *nl.RtAttr {
	two := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nl.Uint32Attr(number), v) }
	address := append(nl.Uint32Attr(number), make([]byte, 32)...)
	address[4] = mac
	children := []*nl.RtAttr{attr(unix.IFLA_VF_MAC, address)}
	for typ, v := range settings {
		children = append(children, attr(typ, two(v)))
	}
	return nested(unix.IFLA_VF_INFO, children...)
}

func vfSamples() map[string][]sample {
	return map[string][]sample{
		"virtual functions": {
			{"each for itself", serial(vfInfo(0, 1, map[int]uint32{unix.IFLA_VF_TRUST: 1}), vfInfo(1, 1, nil)), serial(vfInfo(0, 2, map[int]uint32{unix.IFLA_VF_TRUST: 0}), vfInfo(1, 3, nil)),
				[]string{"set trust of VF 0", "set hardware address of VF 0", "set hardware address of VF 1"}, ""},
			{"what the driver cannot set", serial(vfInfo(0, 1, map[int]uint32{unix.IFLA_VF_SPOOFCHK: 1})), serial(vfInfo(0, 1, map[int]uint32{unix.IFLA_VF_SPOOFCHK: ^uint32(0)})), nil, ""},
			{"hardware address that the PF had not set", serial(vfInfo(0, 7, map[int]uint32{unix.IFLA_VF_TRUST: 1})), serial(vfInfo(0, 0, map[int]uint32{unix.IFLA_VF_TRUST: 0})),
				[]string{"set trust of VF 0"}, ""},
			{"fewer of them", nil, serial(vfInfo(0, 2, nil)), nil, "0 virtual functions, 1 before"},
			{"broken", serial(vfInfo(0, 2, nil))[:7], nil, nil, "attribute of"},
		},
	}
}
