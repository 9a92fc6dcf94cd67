package netdev

import (
	"encoding/binary"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// featureWords is how many 32-bit words of features we keep at most; the kernel
// has two.
const featureWords = 4

var featuresSetting = hardwareSetting{key: unix.ETHTOOL_GFEATURES, name: "features", read: readFeatures, diff: diffFeatures}

func readFeatures(c *conn, l Link) ([]byte, error) {
	b := command(unix.ETHTOOL_GFEATURES, 8+16*featureWords)
	binary.NativeEndian.PutUint32(b[4:], featureWords)
	return b, c.ethtool(l.Name, "get features", b)
}

// diffFeatures turns struct ethtool_gfeatures, which has four words for each 32
// features (available, requested, active, fixed), into ethtool_sfeatures,
// which has two (valid, requested).
func diffFeatures(have, want []byte) ([]change, error) {
	const header, block = 8, 16
	if err := sameSize(have, want, header); err != nil {
		return nil, err
	}
	words := int(min(u32(have[4:]), u32(want[4:]), featureWords))
	if err := sameSize(have, want, header+block*words); err != nil {
		return nil, err
	}
	request, differs := binary.NativeEndian.AppendUint32(make([]byte, 4), uint32(words)), false
	for i := range words {
		at := header + block*i + 4
		h, w := u32(have[at:]), u32(want[at:])
		request = binary.NativeEndian.AppendUint32(request, h^w)
		request = binary.NativeEndian.AppendUint32(request, w)
		differs = differs || h != w
	}
	if !differs {
		return nil, nil
	}
	return []change{ethtoolChange("set features", unix.ETHTOOL_SFEATURES, request)}, nil
}

// Words of struct ethtool_get_features_block, by their place.
const (
	featureAvailable = 0 // can be changed, unless it never changes
	featureRequested = 4
	featureActive    = 8
	featureNever     = 12 // never changes
)

// featureAt returns the place of a feature's word in the answer to ETHTOOL_GFEATURES,
// and its bit in that, or false if the answer is shorter.
func featureAt(features []byte, word, feature int) (at int, bit uint32, ok bool) {
	const header, block = 8, 16
	at = header + block*(feature/32) + word
	return at, 1 << (feature % 32), feature >= 0 && at+4 <= len(features)
}

// featureWord reads a feature's bit in one of the words.
func featureWord(features []byte, word, feature int) bool {
	at, bit, ok := featureAt(features, word, feature)
	return ok && u32(features[at:])&bit != 0
}

// featureFixed reports whether a feature cannot be changed.
func featureFixed(features []byte, feature int) bool {
	return !featureWord(features, featureAvailable, feature) || featureWord(features, featureNever, feature)
}

// requestFeature sets a feature's bit of the requested ones.
func requestFeature(features []byte, feature int, on bool) {
	at, bit, ok := featureAt(features, featureRequested, feature)
	if !ok {
		return
	}
	v := u32(features[at:]) &^ bit
	if on {
		v |= bit
	}
	binary.NativeEndian.PutUint32(features[at:], v)
}

// featureGroups are the kernel's names of the features for which one of ethtool's
// long names stands.
var featureGroups = map[string]string{
	"rx-checksumming": "rx-checksum", "tx-checksumming": "tx-checksum-*", "scatter-gather": "tx-scatter-gather*",
	"tcp-segmentation-offload": "tx-tcp*-segmentation", "udp-fragmentation-offload": "tx-udp-fragmentation",
	"generic-segmentation-offload": "tx-generic-segmentation", "generic-receive-offload": "rx-gro", "large-receive-offload": "rx-lro",
	"rx-vlan-offload": "rx-vlan-hw-parse", "tx-vlan-offload": "tx-vlan-hw-insert",
	"ntuple-filters": "rx-ntuple-filter", "receive-hashing": "rx-hashing",
}

// featuresOf returns the places of the features for which a name stands, in the
// list of the kernel's names.
func featuresOf(names []string, name string) (all []int) {
	for long, short := range nic.FeatureNames {
		if name == short {
			name = long
		}
	}
	pattern, ok := featureGroups[name]
	for i, n := range names {
		match, _ := path.Match(pattern, n)
		if n == name || ok && match {
			all = append(all, i)
		}
	}
	return all
}

// String sets of ETHTOOL_GSTRINGS.
const (
	privateFlagNames = 2  // ETH_SS_PRIV_FLAGS
	featureNames     = 4  // ETH_SS_FEATURES
	stringSize       = 32 // ETH_GSTRING_LEN
)

// featureNames returns the kernel's names of all features, which are the same for
// each link.
func (c *conn) featureNames(link string) ([]string, error) {
	var err error
	if c.features == nil {
		c.features, err = c.strings(link, featureNames)
	}
	return c.features, err
}

// strings returns a string set of a link.
func (c *conn) strings(link string, set uint32) ([]string, error) {
	count := command(unix.ETHTOOL_GSSET_INFO, 20) // struct ethtool_sset_info with one answer
	binary.NativeEndian.PutUint64(count[8:], 1<<set)
	if err := c.ethtool(link, "count names", count); err != nil {
		return nil, err
	}
	b := command(unix.ETHTOOL_GSTRINGS, 12+stringSize*int(u32(count[16:]))) // struct ethtool_gstrings
	binary.NativeEndian.PutUint32(b[4:], set)
	if err := c.ethtool(link, "get names", b); err != nil {
		return nil, err
	}
	var names []string
	for n := range slices.Chunk(b[12:], stringSize) {
		names = append(names, text(n))
	}
	return names, nil
}
