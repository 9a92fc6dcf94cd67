package netdev

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// vfField is a field of nic.VF, and its place in an attribute of IFLA_VF_INFO.
type vfField struct {
	name string // in a config
	typ  uint16
	// get sets the field to what the value has. It stays unset if the driver does
	// not report it.
	get func(value []byte, v *nic.VF)
	// put changes the value to what is set; false if nothing is.
	put func(v nic.VF, value []byte) bool
	// show returns the field.
	show func(v nic.VF) any
}

// The places in the attributes, each of which begins with the number of the VF
// (linux/if_link.h). That of VLANs is a list, of which only the first one counts.
const (
	vfOnly    = 4 // of the number in attributes that have one
	vfMinRate = 4
	vfMaxRate = 8
	vfVLAN    = 8 // of the first element, after its header and the number
	vfQoS     = 12
	vfProto   = 16
)

// vfFields are all of them. TestVFFields checks that it has each field of nic.VF.
var vfFields = []vfField{
	vfBool("trust", unix.IFLA_VF_TRUST, func(v *nic.VF) **bool { return &v.Trust }),
	{
		name: "mac", typ: unix.IFLA_VF_MAC,
		get: func(b []byte, v *nic.VF) { v.MAC = slices.Clone(b[vfOnly : vfOnly+ethernetLen]) },
		put: func(v nic.VF, b []byte) bool {
			return len(v.MAC) == ethernetLen && copy(b[vfOnly:], v.MAC) > 0
		},
		show: func(v nic.VF) any { return v.MAC },
	},
	vfNumber("vlan", unix.IFLA_VF_VLAN_LIST, vfVLAN, func(v *nic.VF) **int { return &v.VLAN }),
	vfNumber("qos", unix.IFLA_VF_VLAN_LIST, vfQoS, func(v *nic.VF) **int { return &v.QoS }),
	{
		name: "proto", typ: unix.IFLA_VF_VLAN_LIST,
		get: func(b []byte, v *nic.VF) {
			for name, number := range nic.VLANProtos {
				if binary.BigEndian.Uint16(b[vfProto:]) == number {
					v.Proto = name
				}
			}
		},
		put: func(v nic.VF, b []byte) bool {
			number, ok := nic.VLANProtos[v.Proto]
			if ok {
				binary.BigEndian.PutUint16(b[vfProto:], number)
			}
			return ok
		},
		show: func(v nic.VF) any { return v.Proto },
	},
	vfNumber("minTxRate", unix.IFLA_VF_RATE, vfMinRate, func(v *nic.VF) **int { return &v.MinTxRate }),
	vfNumber("maxTxRate", unix.IFLA_VF_RATE, vfMaxRate, func(v *nic.VF) **int { return &v.MaxTxRate }),
	vfBool("spoofCheck", unix.IFLA_VF_SPOOFCHK, func(v *nic.VF) **bool { return &v.SpoofCheck }),
	{
		name: "linkState", typ: unix.IFLA_VF_LINK_STATE,
		get: func(b []byte, v *nic.VF) {
			if n := u32(b[vfOnly:]); n < uint32(len(nic.LinkStates)) {
				v.LinkState = nic.LinkStates[n]
			}
		},
		put: func(v nic.VF, b []byte) bool {
			i := slices.Index(nic.LinkStates, v.LinkState)
			if i >= 0 {
				binary.NativeEndian.PutUint32(b[vfOnly:], uint32(i))
			}
			return i >= 0
		},
		show: func(v nic.VF) any { return v.LinkState },
	},
}

const ethernetLen = 6

// vfSizes are the least sizes of the attributes.
var vfSizes = map[uint16]int{
	unix.IFLA_VF_TRUST: 8, unix.IFLA_VF_MAC: vfOnly + ethernetLen, unix.IFLA_VF_VLAN_LIST: vfProto + 2,
	unix.IFLA_VF_RATE: 12, unix.IFLA_VF_SPOOFCHK: 8, unix.IFLA_VF_LINK_STATE: 8,
}

func vfNumber(name string, typ uint16, at int, field func(*nic.VF) **int) vfField {
	return vfField{
		name: name, typ: typ,
		get: func(b []byte, v *nic.VF) { *field(v) = new(int(u32(b[at:]))) },
		put: func(v nic.VF, b []byte) bool {
			n := *field(&v)
			if n != nil {
				binary.NativeEndian.PutUint32(b[at:], uint32(*n))
			}
			return n != nil
		},
		show: func(v nic.VF) any { return **field(&v) },
	}
}

func vfBool(name string, typ uint16, field func(*nic.VF) **bool) vfField {
	return vfField{
		name: name, typ: typ,
		get: func(b []byte, v *nic.VF) {
			if n := u32(b[vfOnly:]); n != ^uint32(0) { // which is the kernel's "unknown"
				*field(v) = new(n != 0)
			}
		},
		put: func(v nic.VF, b []byte) bool {
			n := number(*field(&v))
			if n != nil {
				binary.NativeEndian.PutUint32(b[vfOnly:], *n)
			}
			return n != nil
		},
		show: func(v nic.VF) any { return **field(&v) },
	}
}

// has reports whether the field is set in v.
func (f vfField) has(v nic.VF) bool { return f.put(v, make([]byte, vfSizes[f.typ])) }

// vfAsked returns the fields that are set in v.
func vfAsked(v nic.VF) []vfField {
	return slices.DeleteFunc(slices.Clone(vfFields), func(f vfField) bool { return !f.has(v) })
}

// settings returns what the VF's attributes have.
func (f vf) settings() (v nic.VF) {
	for _, field := range vfFields {
		if b := f.attrs[field.typ]; len(b) >= vfSizes[field.typ] {
			field.get(b, &v)
		}
	}
	return v
}

// lay returns the attributes that differ from the present ones by these settings, in
// the order in which they are to be set, and the fields that the driver does not
// have.
func (f vf) lay(want nic.VF) (changed []Attr, unknown []vfField) {
	laid := map[uint16][]byte{}
	for _, field := range vfAsked(want) {
		b := f.attrs[field.typ]
		if laid[field.typ] == nil {
			laid[field.typ] = slices.Clone(b)
		}
		if len(b) < vfSizes[field.typ] {
			unknown = append(unknown, field)
			continue
		}
		field.put(want, laid[field.typ])
	}
	for _, s := range vfSettings {
		if b := laid[s.typ]; b != nil && !slices.Equal(b, f.attrs[s.typ]) {
			changed = append(changed, Attr{s.typ, b})
		}
	}
	return changed, unknown
}

// asVF returns those of the settings that are set in asked too.
func asVF(all, asked nic.VF) (some nic.VF) {
	values := vf{attrs: map[uint16][]byte{}}
	for typ, size := range vfSizes {
		values.attrs[typ] = make([]byte, size)
	}
	for _, f := range vfAsked(asked) {
		if f.put(all, values.attrs[f.typ]) {
			f.get(values.attrs[f.typ], &some)
		}
	}
	return some
}
