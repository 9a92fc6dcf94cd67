package netdev

import (
	"encoding/binary"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// Features and private flags are bits, which a config has by their names.

var featuresInPod = podSetting{
	key:   unix.ETHTOOL_GFEATURES,
	asked: func(e nic.Ethtool) []ethtoolField { return named("ethtool.features.", e.Features) },
	names: func(c *conn, l Link) ([]string, error) { return c.featureNames(l.Name) },
	check: func(l Link, e nic.Ethtool, value []byte, add fault) {
		for _, f := range named("", e.Features) {
			on, bits := e.Features[f.field], featuresOf(l.FeatureNames, f.field)
			switch {
			case l.FeatureNames == nil: // a record's link: it was checked before
			case len(bits) == 0:
				add("ethtool.features."+f.field, on, "the interface has no such feature")
			case !featuresCanBe(value, bits, on):
				add("ethtool.features."+f.field, on, "the interface's driver does not let it change, see ethtool -k: [fixed]")
			}
		}
	},
	lay: func(e nic.Ethtool, names []string, value []byte) []byte {
		value = slices.Clone(value)
		for _, w := range wantedFeatures(e, names) {
			for _, bit := range w.bits {
				if !featureFixed(value, bit) {
					requestFeature(value, bit, w.on)
				}
			}
		}
		return value
	},
	unmet: func(e nic.Ethtool, names []string, value []byte, add fault) {
		for _, w := range wantedFeatures(e, names) {
			if !featuresAre(value, w.bits, w.on) {
				add("ethtool.features."+w.name, w.on, "another feature that it needs may be off, see ethtool -k")
			}
		}
	},
}

// wantedFeature is a name of the config, and the features for which it stands.
type wantedFeature struct {
	name string
	on   bool
	bits []int
}

// wantedFeatures returns the features of a config. A name that stands for several
// ones comes first, and has no say about those that the config also names by
// themselves.
func wantedFeatures(e nic.Ethtool, names []string) (groups []wantedFeature) {
	var single []wantedFeature
	var own []int
	for _, f := range named("", e.Features) {
		w := wantedFeature{f.field, e.Features[f.field], featuresOf(names, f.field)}
		if slices.Contains(names, f.field) {
			single, own = append(single, w), append(own, w.bits...)
		} else {
			groups = append(groups, w)
		}
	}
	for i := range groups {
		groups[i].bits = slices.DeleteFunc(groups[i].bits, func(b int) bool { return slices.Contains(own, b) })
	}
	return append(groups, single...)
}

// featuresAre reports whether features for which one name stands are on, which
// means one of them, or off, which means all of them that can be.
func featuresAre(value []byte, bits []int, on bool) bool {
	any := slices.ContainsFunc(bits, func(b int) bool {
		return featureWord(value, featureActive, b) && (on || !featureFixed(value, b))
	})
	return any == on || len(bits) == 0
}

// featuresCanBe reports whether features for which one name stands are on or off
// already, or one of them can be changed.
func featuresCanBe(value []byte, bits []int, on bool) bool {
	return slices.ContainsFunc(bits, func(b int) bool { return featureWord(value, featureActive, b) == on || !featureFixed(value, b) })
}

var privateFlagsInPod = podSetting{
	key:   unix.ETHTOOL_GPFLAGS,
	asked: func(e nic.Ethtool) []ethtoolField { return named("ethtool.privateFlags.", e.PrivateFlags) },
	names: func(c *conn, l Link) ([]string, error) { return c.strings(l.Name, privateFlagNames) },
	check: func(l Link, e nic.Ethtool, _ []byte, add fault) {
		for _, f := range named("", e.PrivateFlags) {
			if l.PrivateFlagNames != nil && !slices.Contains(l.PrivateFlagNames, f.field) {
				add("ethtool.privateFlags."+f.field, f.value, "the interface has no such private flag, only %q", l.PrivateFlagNames)
			}
		}
	},
	lay: func(e nic.Ethtool, names []string, value []byte) []byte {
		value = slices.Clone(value)
		flags := u32(value[4:])
		for name, on := range e.PrivateFlags {
			if i := slices.Index(names, name); i >= 0 && on {
				flags |= 1 << i
			} else if i >= 0 {
				flags &^= 1 << i
			}
		}
		binary.NativeEndian.PutUint32(value[4:], flags)
		return value
	},
	unmet: func(e nic.Ethtool, names []string, value []byte, add fault) {
		for _, f := range named("", e.PrivateFlags) {
			if i := slices.Index(names, f.field); i < 0 || u32(value[4:])>>i&1 == 1 != e.PrivateFlags[f.field] {
				add("ethtool.privateFlags."+f.field, f.value, "see ethtool --show-priv-flags")
			}
		}
	},
}

// named returns the fields of a map, in the order of their names.
func named(prefix string, m map[string]bool) (all []ethtoolField) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, ethtoolField{prefix + name, m[name]})
	}
	return all
}
