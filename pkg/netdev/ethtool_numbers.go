package netdev

import (
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// hardwareNumber is a field of the config that is a number in the struct of a
// hardware setting.
type hardwareNumber struct {
	field string
	key   uint16 // of its hardwareSetting
	at    int    // its place in the struct
	most  int    // the place of its maximum; 0: it has none
	value func(*nic.Ethtool) *uint32
}

// hardwareNumbers are all of them, with the members of struct ethtool_channels,
// ethtool_ringparam, ethtool_coalesce and ethtool_pauseparam.
var hardwareNumbers = []hardwareNumber{
	{"ethtool.channels.rx", unix.ETHTOOL_GCHANNELS, 20, 4, func(e *nic.Ethtool) *uint32 { return e.Channels.RX }},
	{"ethtool.channels.tx", unix.ETHTOOL_GCHANNELS, 24, 8, func(e *nic.Ethtool) *uint32 { return e.Channels.TX }},
	{"ethtool.channels.other", unix.ETHTOOL_GCHANNELS, 28, 12, func(e *nic.Ethtool) *uint32 { return e.Channels.Other }},
	{"ethtool.channels.combined", unix.ETHTOOL_GCHANNELS, 32, 16, func(e *nic.Ethtool) *uint32 { return e.Channels.Combined }},
	{"ethtool.rings.rx", unix.ETHTOOL_GRINGPARAM, 20, 4, func(e *nic.Ethtool) *uint32 { return e.Rings.RX }},
	{"ethtool.rings.rxMini", unix.ETHTOOL_GRINGPARAM, 24, 8, func(e *nic.Ethtool) *uint32 { return e.Rings.RXMini }},
	{"ethtool.rings.rxJumbo", unix.ETHTOOL_GRINGPARAM, 28, 12, func(e *nic.Ethtool) *uint32 { return e.Rings.RXJumbo }},
	{"ethtool.rings.tx", unix.ETHTOOL_GRINGPARAM, 32, 16, func(e *nic.Ethtool) *uint32 { return e.Rings.TX }},
	{"ethtool.coalesce.rxUsecs", unix.ETHTOOL_GCOALESCE, 4, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.RXUsecs }},
	{"ethtool.coalesce.rxFrames", unix.ETHTOOL_GCOALESCE, 8, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.RXFrames }},
	{"ethtool.coalesce.rxUsecsIrq", unix.ETHTOOL_GCOALESCE, 12, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.RXUsecsIRQ }},
	{"ethtool.coalesce.rxFramesIrq", unix.ETHTOOL_GCOALESCE, 16, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.RXFramesIRQ }},
	{"ethtool.coalesce.txUsecs", unix.ETHTOOL_GCOALESCE, 20, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.TXUsecs }},
	{"ethtool.coalesce.txFrames", unix.ETHTOOL_GCOALESCE, 24, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.TXFrames }},
	{"ethtool.coalesce.txUsecsIrq", unix.ETHTOOL_GCOALESCE, 28, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.TXUsecsIRQ }},
	{"ethtool.coalesce.txFramesIrq", unix.ETHTOOL_GCOALESCE, 32, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.TXFramesIRQ }},
	{"ethtool.coalesce.statsBlockUsecs", unix.ETHTOOL_GCOALESCE, 36, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.StatsBlockUsecs }},
	{"ethtool.coalesce.adaptiveRx", unix.ETHTOOL_GCOALESCE, 40, 0, func(e *nic.Ethtool) *uint32 { return number(e.Coalesce.AdaptiveRX) }},
	{"ethtool.coalesce.adaptiveTx", unix.ETHTOOL_GCOALESCE, 44, 0, func(e *nic.Ethtool) *uint32 { return number(e.Coalesce.AdaptiveTX) }},
	{"ethtool.coalesce.packetRateLow", unix.ETHTOOL_GCOALESCE, 48, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.PacketRateLow }},
	{"ethtool.coalesce.rxUsecsLow", unix.ETHTOOL_GCOALESCE, 52, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.RXUsecsLow }},
	{"ethtool.coalesce.rxFramesLow", unix.ETHTOOL_GCOALESCE, 56, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.RXFramesLow }},
	{"ethtool.coalesce.txUsecsLow", unix.ETHTOOL_GCOALESCE, 60, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.TXUsecsLow }},
	{"ethtool.coalesce.txFramesLow", unix.ETHTOOL_GCOALESCE, 64, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.TXFramesLow }},
	{"ethtool.coalesce.packetRateHigh", unix.ETHTOOL_GCOALESCE, 68, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.PacketRateHigh }},
	{"ethtool.coalesce.rxUsecsHigh", unix.ETHTOOL_GCOALESCE, 72, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.RXUsecsHigh }},
	{"ethtool.coalesce.rxFramesHigh", unix.ETHTOOL_GCOALESCE, 76, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.RXFramesHigh }},
	{"ethtool.coalesce.txUsecsHigh", unix.ETHTOOL_GCOALESCE, 80, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.TXUsecsHigh }},
	{"ethtool.coalesce.txFramesHigh", unix.ETHTOOL_GCOALESCE, 84, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.TXFramesHigh }},
	{"ethtool.coalesce.sampleInterval", unix.ETHTOOL_GCOALESCE, 88, 0, func(e *nic.Ethtool) *uint32 { return e.Coalesce.SampleInterval }},
	{"ethtool.pause.autoneg", unix.ETHTOOL_GPAUSEPARAM, 4, 0, func(e *nic.Ethtool) *uint32 { return number(e.Pause.Autoneg) }},
	{"ethtool.pause.rx", unix.ETHTOOL_GPAUSEPARAM, 8, 0, func(e *nic.Ethtool) *uint32 { return number(e.Pause.RX) }},
	{"ethtool.pause.tx", unix.ETHTOOL_GPAUSEPARAM, 12, 0, func(e *nic.Ethtool) *uint32 { return number(e.Pause.TX) }},
}

// number returns what the kernel has for a flag.
func number(b *bool) *uint32 {
	if b == nil {
		return nil
	}
	var n uint32
	if *b {
		n = 1
	}
	return &n
}

// shown returns a value as the config has it.
func (n hardwareNumber) shown(value uint32) any {
	if n.key == unix.ETHTOOL_GPAUSEPARAM || strings.HasPrefix(n.field, "ethtool.coalesce.adaptive") {
		return value != 0
	}
	return value
}

// numbersInPod is the setting that consists of the numbers with this key.
func numbersInPod(key uint16) podSetting {
	of := func(e nic.Ethtool) []hardwareNumber {
		return slices.DeleteFunc(slices.Clone(hardwareNumbers), func(n hardwareNumber) bool { return n.key != key || n.value(&e) == nil })
	}
	lay := func(e nic.Ethtool, _ []string, value []byte) []byte {
		value = slices.Clone(value)
		for _, n := range of(e) {
			binary.NativeEndian.PutUint32(value[n.at:], *n.value(&e))
		}
		return value
	}
	return podSetting{
		key: key, lay: lay,
		asked: func(e nic.Ethtool) (all []ethtoolField) {
			for _, n := range of(e) {
				all = append(all, ethtoolField{n.field, n.shown(*n.value(&e))})
			}
			return all
		},
		check: func(_ Link, e nic.Ethtool, value []byte, add fault) {
			for _, n := range of(e) {
				want := *n.value(&e)
				if len(value) < n.at+4 { // of a record that another version wrote
					return
				}
				if n.most != 0 && want > u32(value[n.most:]) && want != u32(value[n.at:]) {
					add(n.field, want, "the interface takes %d at most", u32(value[n.most:]))
				}
			}
			if key == unix.ETHTOOL_GCHANNELS {
				checkChannels(lay(e, nil, value), add)
			}
		},
		unmet: func(e nic.Ethtool, _ []string, value []byte, add fault) {
			for _, n := range of(e) {
				negotiated := key == unix.ETHTOOL_GPAUSEPARAM && n.at != pauseAutoneg && u32(value[pauseAutoneg:]) != 0
				if got := u32(value[n.at:]); got != *n.value(&e) && !negotiated {
					add(n.field, n.shown(*n.value(&e)), "it is %v", n.shown(got))
				}
			}
		},
	}
}

// pauseAutoneg is the place of autoneg in struct ethtool_pauseparam: with it the
// other two are what was negotiated.
const pauseAutoneg = 4

// checkChannels checks that channels receive and send, as the kernel requires.
func checkChannels(value []byte, add fault) {
	const rx, tx, combined = 20, 24, 32 // in struct ethtool_channels
	switch {
	case u32(value[combined:]) != 0:
	case u32(value[rx:]) == 0:
		add("ethtool.channels.rx", 0, "one queue at least must receive")
	case u32(value[tx:]) == 0:
		add("ethtool.channels.tx", 0, "one queue at least must send")
	}
}
