package netdev

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// linkSpeeds are the link modes of each speed, in Mb/s, by their bits
// (ETHTOOL_LINK_MODE_ in linux/ethtool.h). Other bits of a mask are no speed.
var linkSpeeds = map[uint32][]int{
	10:     {0, 1, 92, 99, 100, 101, 102},
	100:    {2, 3, 67, 90, 91},
	1000:   {4, 5, 17, 41, 68},
	2500:   {15, 47},
	5000:   {48},
	10000:  {12, 18, 19, 20, 42, 43, 44, 45, 46},
	20000:  {21, 22},
	25000:  {31, 32, 33},
	40000:  {23, 24, 25, 26},
	50000:  {34, 35, 40, 52, 53, 54, 55, 56},
	56000:  {27, 28, 29, 30},
	100000: {36, 37, 38, 39, 57, 58, 59, 60, 61, 75, 76, 77, 78, 79},
	200000: {62, 63, 64, 65, 66, 80, 81, 82, 83, 84, 103, 104, 105, 106, 107, 108},
	400000: {69, 70, 71, 72, 73, 85, 86, 87, 88, 89, 109, 110, 111, 112, 113, 114},
	800000: {93, 94, 95, 96, 97, 98, 115, 116, 117, 118, 119, 120},
}

// halfDuplexModes are those of them that do not receive and send at once.
var halfDuplexModes = []int{0, 2, 4, 90, 100, 101}

const autonegMode = 6 // the bit of autonegotiation in a mask of link modes

// Values of duplex in struct ethtool_link_settings.
const (
	halfDuplex = 0
	fullDuplex = 1
)

var linkSettingsInPod = podSetting{
	key: unix.ETHTOOL_GLINKSETTINGS,
	asked: func(e nic.Ethtool) (all []ethtoolField) {
		if e.Speed != nil {
			all = append(all, ethtoolField{"ethtool.speed", *e.Speed})
		}
		if e.Autoneg != nil {
			all = append(all, ethtoolField{"ethtool.autoneg", *e.Autoneg})
		}
		return all
	},
	check: checkLinkSettings,
	lay:   layLinkSettings,
	unmet: func(e nic.Ethtool, _ []string, value []byte, add fault) {
		want := layLinkSettings(e, nil, value)
		speed := u32(value[lsSpeed:])
		switch {
		case e.Autoneg != nil && want[lsAutoneg] != value[lsAutoneg]:
			add("ethtool.autoneg", *e.Autoneg, "see ethtool")
		case e.Speed == nil:
		case want[lsAutoneg] == 1 && !slices.Equal(modesOf(want), modesOf(value)):
			add("ethtool.speed", *e.Speed, "the interface offers other speeds, see ethtool")
		case want[lsAutoneg] == 0 && (speed != *e.Speed || value[lsDuplex] != want[lsDuplex]) && speed != unknownSpeed:
			add("ethtool.speed", *e.Speed, "it is %d", speed)
		}
	},
}

// modesOf is linkModes for a value that has them.
func modesOf(value []byte) []byte {
	modes, _ := linkModes(value)
	return modes
}

// supportedModes returns the mask of link modes that the link can have.
func supportedModes(value []byte) []byte { return value[lsSize : lsSize+len(modesOf(value))] }

// negotiates reports whether the link is to negotiate its speed.
func negotiates(e nic.Ethtool, value []byte) bool {
	if e.Autoneg != nil {
		return *e.Autoneg
	}
	return value[lsAutoneg] != 0
}

// modesFor returns those of the supported link modes that have the config's speed
// and duplex mode, or that have any speed if it has none.
func modesFor(e nic.Ethtool, supported []byte) []byte {
	modes := make([]byte, len(supported))
	for speed, bits := range linkSpeeds {
		for _, bit := range bits {
			half := slices.Contains(halfDuplexModes, bit)
			if e.Speed == nil || *e.Speed == speed && half == (e.Duplex == "half") {
				setMode(modes, bit, mode(supported, bit))
			}
		}
	}
	return modes
}

// mode reads a bit of a mask of link modes, which consists of 32-bit words.
func mode(mask []byte, bit int) bool {
	at := bit / 32 * 4
	return at+4 <= len(mask) && u32(mask[at:])>>(bit%32)&1 == 1
}

func setMode(mask []byte, bit int, on bool) {
	at := bit / 32 * 4
	if at+4 > len(mask) {
		return
	}
	word := u32(mask[at:]) &^ (1 << (bit % 32))
	if on {
		word |= 1 << (bit % 32)
	}
	binary.NativeEndian.PutUint32(mask[at:], word)
}

func hasMode(mask []byte) bool { return slices.ContainsFunc(mask, func(b byte) bool { return b != 0 }) }

func checkLinkSettings(_ Link, e nic.Ethtool, value []byte, add fault) {
	if _, err := linkModes(value); err != nil {
		add("ethtool", "", "%w", err)
		return
	}
	supported := supportedModes(value)
	switch {
	case negotiates(e, value) && !mode(supported, autonegMode):
		add("ethtool.autoneg", true, "the interface does not support it")
	case e.Speed != nil && hasMode(modesFor(nic.Ethtool{}, supported)) && !hasMode(modesFor(e, supported)):
		add("ethtool.speed", *e.Speed, "the interface does not support it, see ethtool")
	}
}

// layLinkSettings sets speed and duplex mode, or offers only those to the other end
// if the link negotiates them.
func layLinkSettings(e nic.Ethtool, _ []string, value []byte) []byte {
	value = slices.Clone(value)
	modes, err := linkModes(value)
	if err != nil {
		return value
	}
	before := value[lsAutoneg] != 0
	if !negotiates(e, value) {
		value[lsAutoneg] = 0
		if e.Speed != nil {
			binary.NativeEndian.PutUint32(value[lsSpeed:], *e.Speed)
			value[lsDuplex] = fullDuplex
			if e.Duplex == "half" {
				value[lsDuplex] = halfDuplex
			}
		}
		return value
	}
	value[lsAutoneg] = 1
	if e.Speed == nil && before {
		return value
	}
	offered := modesFor(e, supportedModes(value))
	for _, bits := range linkSpeeds {
		for _, bit := range bits {
			setMode(modes, bit, mode(offered, bit))
		}
	}
	setMode(modes, autonegMode, true)
	return value
}
