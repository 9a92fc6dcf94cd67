package netdev

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// filterKind is a kind of filter: the types of its options that hold actions, an
// action of the old form, flags of hardware offload, and what a request does not
// have. 0 and nil: none.
type filterKind struct {
	actions, police, flags uint16
	drop                   []uint16
}

// filterKinds are the filters that can be made again (TCA_… of linux/pkt_cls.h).
var filterKinds = map[string]filterKind{
	kindU32:    {actions: 7, police: 6, flags: 11, drop: []uint16{9}},
	kindFlower: {actions: 3, flags: 22, drop: []uint16{86}},
	"matchall": {actions: 2, flags: 3, drop: []uint16{4}},
	"basic":    {actions: 3, police: 4, drop: []uint16{5}},
	kindBPF:    {actions: 1, police: 2, flags: 9},
	"fw":       {actions: 4, police: 2},
	"cgroup":   {actions: 1, police: 2},
	"route":    {actions: 6, police: 5},
	"flow":     {actions: 9, police: 10},
}

// filterFlags are those of the flags that a request may have: skip_hw, skip_sw and
// verbose. The others report whether the hardware has the filter.
const filterFlags = 1<<0 | 1<<1 | 1<<4

// bpfID is TCA_BPF_ID, which a filter with an eBPF program has.
const bpfID = 11

func (k *tcCleaner) filter(o tcObject) (tcObject, bool) {
	kind, known := filterKinds[o.Kind]
	if !known {
		k.lost(nic.LossFilters, "%s", o)
		return o, false
	}
	var options []Attr
	for _, a := range o.options() {
		switch {
		case slices.ContainsFunc(kind.drop, a.is):
			continue
		case kind.flags != 0 && a.is(kind.flags):
			flags := u32(a.Value) & filterFlags
			if flags == 0 {
				continue
			}
			a.Value = u32Bytes(flags)
		case a.is(kind.actions):
			a.Value = k.actions(o, a.Value)
		case kind.police != 0 && a.is(kind.police):
			a.Value = k.parameters(o, actPolice, a.Value)
		case o.Kind == kindBPF && a.is(bpfID):
			k.lost(nic.LossFilters, "%s (unless somebody holds its program)", o)
		}
		options = append(options, a)
	}
	if o.Kind == kindFlower {
		k.outerType(o, options)
	}
	return o.withOptions(options), true
}

// outerType sets the type of the frame's VLAN tag in a filter's options
// (TCA_FLOWER_KEY_ETH_TYPE). There the kernel reports the type of what the tag is
// of, as it does in the type that ends the VLAN's (TCA_FLOWER_KEY_VLAN_…, …_CVLAN_…).
func (k *tcCleaner) outerType(o tcObject, options []Attr) {
	const ethType, vlan, vlanEnd, inner, innerEnd = 8, 23, 25, 77, 79
	has := func(from, to uint16) bool {
		return slices.ContainsFunc(options, func(a Attr) bool { return a.Type&nlaTypeMask >= from && a.Type&nlaTypeMask <= to })
	}
	protocol := binary.NativeEndian.AppendUint16(nil, uint16(o.Info)) // in network order
	tag := slices.Contains([]uint16{unix.ETH_P_8021Q, unix.ETH_P_8021AD}, binary.BigEndian.Uint16(protocol))
	switch {
	case has(inner, innerEnd), has(vlan, vlanEnd) && !tag:
		k.lost(nic.LossFilters, "%s (the type of its VLAN)", o)
	case has(vlan, vlanEnd):
		for i, a := range options {
			if a.is(ethType) {
				options[i].Value = protocol
			}
		}
	}
}

// actionKind has the types of an action's parameters, of which it has one, and of its times.
type actionKind struct {
	parameters []uint16
	times      uint16
}

var (
	timesFirst = actionKind{[]uint16{2}, 1}
	timesLast  = actionKind{[]uint16{1}, 2}
)

// actionKinds are the actions that can be made again (linux/tc_act/). Their
// parameters begin with struct tc_gen, but those of police.
var actionKinds = map[string]actionKind{
	"gact": timesFirst, "mirred": timesFirst, "skbedit": timesFirst, "vlan": timesFirst, "skbmod": timesFirst, "tunnel_key": timesFirst,
	"sample": timesFirst, "simple": timesFirst, "mpls": timesFirst, "csum": timesLast, "nat": timesLast, "connmark": timesLast, "ct": timesLast,
	"pedit": {[]uint16{2, 4}, 1}, actPolice: {[]uint16{1}, 6},
}

// Attributes of an action (TCA_ACT_…).
const (
	actKind    = 1
	actOptions = 2
)

// keptOfAction are the attributes of an action that a request has: kind, options,
// cookie, flags and the kind of hardware counters.
var keptOfAction = map[uint16]bool{actKind: true, actOptions: true, 6: true, 7: true, 8: true}

// actions returns a list of actions as a request has it.
func (k *tcCleaner) actions(o tcObject, list []byte) []byte {
	all, _ := rawAttrs(list)
	for i := range all {
		action, _ := rawAttrs(all[i].Value)
		kind := text(find(action, actKind))
		action = slices.DeleteFunc(action, func(a Attr) bool { return !keptOfAction[a.Type&nlaTypeMask] })
		if _, known := actionKinds[kind]; !known {
			k.lost(nic.LossFilters, "action %s of %s", kind, o)
		}
		for j, a := range action {
			if a.is(actOptions) {
				action[j] = Attr{a.Type | unix.NLA_F_NESTED, k.parameters(o, kind, a.Value)} // ct and mpls need the flag
			}
		}
		all[i].Value = encode(action)
	}
	return encode(all)
}

// parameters returns an action's options as a request has them.
func (k *tcCleaner) parameters(o tcObject, kind string, options []byte) []byte {
	all, _ := rawAttrs(options)
	is := actionKinds[kind]
	all = slices.DeleteFunc(all, func(a Attr) bool { return is.times != 0 && a.is(is.times) })
	for i, a := range all {
		switch {
		case !slices.ContainsFunc(is.parameters, a.is):
		case kind == actPolice:
			all = k.police(o, all, i)
		case len(a.Value) >= genSize:
			unshare(a.Value, genReferences)
			if kind == "mirred" && len(a.Value) >= mirredSize && u32(a.Value[mirredIndex:]) == k.from {
				binary.NativeEndian.PutUint32(a.Value[mirredIndex:], k.to)
			}
		}
	}
	return encode(all)
}

// struct tc_gen: index, capab, action, refcnt, bindcnt; and what follows in struct
// tc_mirred.
const (
	genReferences = 12
	genSize       = 20
	mirredIndex   = 24
	mirredSize    = 28
)

// unshare removes from an action's parameters the numbers of its users, and, if it
// belongs to one filter only, its own number, which the kernel gives it.
func unshare(parameters []byte, references int) {
	users, binds := u32(parameters[references:]), u32(parameters[references+4:])
	if users == 1 && binds <= 1 { // 0: they were removed before
		clear(parameters[:4])
	}
	clear(parameters[references : references+8])
}

// police completes the parameters of a police action (struct tc_police: index,
// action, limit, burst, mtu, rate, peak rate, refcnt, bindcnt, capab; 12 bytes a
// rate). A request needs a table of each rate, which the kernel checks but for
// its link layer does not read since Linux 3.8, and of each the size of its cells.
func (k *tcCleaner) police(o tcObject, all []Attr, i int) []Attr {
	const rate, peak, references, size = 20, 32, 44, 56
	const rateTable, peakTable, average = 2, 3, 4 // TCA_POLICE_RATE, TCA_POLICE_PEAKRATE, TCA_POLICE_AVRATE
	p := all[i].Value
	if len(p) < size {
		return all
	}
	unshare(p, references)
	if find(all, average) != nil {
		k.lost(nic.LossFilters, "average rate of a police action of %s", o)
	}
	for _, r := range []struct {
		at    int
		table uint16
	}{{rate, rateTable}, {peak, peakTable}} {
		if u32(p[r.at+8:]) != 0 && find(all, r.table) == nil {
			p[r.at] = 3 // cell_log
			all = append(all, Attr{r.table, make([]byte, 1024)})
		}
	}
	return all
}

func u32Bytes(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
