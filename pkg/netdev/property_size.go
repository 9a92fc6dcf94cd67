package netdev

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The largest packets that a link takes from the kernel (GSO) and makes for it
// (GRO). They are attributes that are preserved, which a config can set.

// legacySize is what a size was at most before each family had its own
// (GSO_LEGACY_MAX_SIZE): the kernel sets that of IPv4 too, up to here.
const legacySize = 65536

// packetSize is one of them.
type packetSize struct {
	field string
	attr  uint16
	value func(nic.Interface) int
	// legacy is the value for both families, which counts if value is not set.
	legacy func(nic.Interface) int
	gso    bool
}

func noSize(nic.Interface) int { return 0 }

var packetSizes = []packetSize{
	{"interface.gsoMaxSize", unix.IFLA_GSO_MAX_SIZE, func(i nic.Interface) int { return i.GSOMaxSize }, noSize, true},
	{"interface.groMaxSize", unix.IFLA_GRO_MAX_SIZE, func(i nic.Interface) int { return i.GROMaxSize }, noSize, false},
	{
		"interface.gsoIPv4MaxSize", unix.IFLA_GSO_IPV4_MAX_SIZE, func(i nic.Interface) int { return i.GSOIPv4MaxSize },
		func(i nic.Interface) int { return i.GSOMaxSize }, true,
	},
	{
		"interface.groIPv4MaxSize", unix.IFLA_GRO_IPV4_MAX_SIZE, func(i nic.Interface) int { return i.GROIPv4MaxSize },
		func(i nic.Interface) int { return i.GROMaxSize }, false,
	},
}

// of returns what the config asks for, 0 for nothing.
func (p packetSize) of(i nic.Interface) int {
	if v := p.value(i); v != 0 {
		return v
	}
	if v := p.legacy(i); v <= legacySize {
		return v
	}
	return 0
}

var sizeProperties = []property{
	{
		name: "GSO and GRO sizes", inPod: fromConfig, side: sidePod,
		want:  wantSizes,
		check: checkSizes,
		steps: func(l Link, have, want State) []step { return messages(attrMessages(l, have, want, isSize)...) },
	},
	{
		name: "GSO and GRO sizes", side: sideHost,
		steps: func(l Link, have, want State) []step {
			return messages(optional(attrMessages(l, have, want, isSize))...)
		},
	},
}

func isSize(attr uint16) bool {
	return slices.ContainsFunc(packetSizes, func(p packetSize) bool { return p.attr == attr })
}

func wantSizes(want *State, _ State, c nic.Config) []string {
	preserved := slices.Clone(want.Preserved)
	for i, a := range preserved {
		for _, p := range packetSizes {
			if v := p.of(c.Interface); v != 0 && p.attr == a.Type {
				preserved[i].Value = nl.Uint32Attr(uint32(v))
			}
		}
	}
	want.Preserved = preserved
	return nil
}

func checkSizes(l Link, want State, c nic.Config, add fault) {
	for _, p := range packetSizes {
		v := p.value(c.Interface)
		has := slices.ContainsFunc(want.Preserved, func(a Attr) bool { return a.Type == p.attr })
		switch {
		case v == 0:
		case !has:
			add(p.field, v, "the node's kernel has no %s", preservedLinkAttrs[p.attr])
		case p.gso && v > max(l.MaxTSO, legacySize):
			add(p.field, v, "the interface takes %d at most", max(l.MaxTSO, legacySize))
		case v > legacySize && l.MaxTSO == 0: // a kernel before 5.19
			add(p.field, v, "the node's kernel takes %d at most", legacySize)
		}
	}
}

// attrMessages set the attributes of these types that differ.
func attrMessages(l Link, have, want State, of func(uint16) bool) (ms []message) {
	for _, a := range changed(have.Preserved, want.Preserved) {
		if of(a.Type) {
			ms = append(ms, set(true, l.Index, attrWhat(a), attr(int(a.Type), a.Value))...)
		}
	}
	return ms
}

func attrWhat(a Attr) string {
	if isSize(a.Type) {
		return fmt.Sprintf("set %s %d", preservedLinkAttrs[a.Type], u32(a.Value))
	}
	return fmt.Sprintf("set %s %x", preservedLinkAttrs[a.Type], a.Value)
}
