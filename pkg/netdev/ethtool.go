package netdev

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// featureWords is how many 32-bit words of features we keep at most; the kernel
// has two.
const featureWords = 4

const (
	featureNames = 4  // ETH_SS_FEATURES
	featureName  = 32 // ETH_GSTRING_LEN
)

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

// Each queue may have its own coalescing settings: struct ethtool_per_queue_op, and
// a struct ethtool_coalesce for each queue of its mask.
const (
	queueMask    = 8
	queuesHeader = queueMask + maxQueues/8
	maxQueues    = 4096
	queueSize    = 92
)

// readQueues reads the settings of all queues that the link has now.
func readQueues(c *conn, l Link) ([]byte, error) {
	channels := command(unix.ETHTOOL_GCHANNELS, 36)
	if err := c.ethtool(l.Name, "get channels", channels); err != nil {
		return nil, err
	}
	count := max(u32(channels[20:]), u32(channels[24:])) + u32(channels[32:]) // rx, tx, combined
	if count == 0 || count > maxQueues {
		return nil, unix.EOPNOTSUPP
	}
	b := command(unix.ETHTOOL_PERQUEUE, queuesHeader+queueSize*int(count))
	binary.NativeEndian.PutUint32(b[4:], unix.ETHTOOL_GCOALESCE)
	for i := range count {
		setQueue(b, i)
	}
	return b, c.ethtool(l.Name, "get coalescing of queues", b)
}

// setQueue sets the bit of a queue in the mask of a request.
func setQueue(b []byte, queue uint32) {
	word := b[queueMask+4*(queue/32):]
	binary.NativeEndian.PutUint32(word, u32(word)|1<<(queue%32))
}

// diffQueues sets the queues that differ.
func diffQueues(have, want []byte) ([]change, error) {
	if err := sameSize(have, want, queuesHeader); err != nil {
		return nil, err
	}
	request := command(0, queuesHeader)
	binary.NativeEndian.PutUint32(request[4:], unix.ETHTOOL_SCOALESCE)
	for at := queuesHeader; at+queueSize <= len(want) && at < queuesHeader+queueSize*maxQueues; at += queueSize {
		if w := want[at : at+queueSize]; !bytes.Equal(have[at:at+queueSize], w) {
			setQueue(request, uint32(at-queuesHeader)/queueSize)
			request = append(request, w...)
		}
	}
	if len(request) == queuesHeader {
		return nil, nil
	}
	return []change{ethtoolChange("set coalescing of queues", unix.ETHTOOL_PERQUEUE, request)}, nil
}

// ethtool makes one SIOCETHTOOL request.
func (c *conn) ethtool(link, what string, b []byte) error {
	return c.ioctl(unix.SIOCETHTOOL, link, what, b)
}

// command returns a request of this size, empty except for its command.
func command(cmd uint32, size int) []byte {
	b := make([]byte, size)
	binary.NativeEndian.PutUint32(b, cmd)
	return b
}

// ethtoolChange is a request that changes a setting.
func ethtoolChange(what string, cmd uint32, request []byte) change {
	binary.NativeEndian.PutUint32(request, cmd)
	return change{what: what, ioctl: unix.SIOCETHTOOL, data: request}
}

// immutableKinds cannot change their network namespace. Single links of other
// kinds cannot either, as the fallback tunnels.
var immutableKinds = []string{"amt", "batadv", "bond", "bridge", "hsr", "lowpan", "openvswitch", "team", "vrf"}

// markImmutable sets Immutable of links where the kernel does not report it with
// the link, as it does from 6.15 on (and then at least lo has it). Before 6.12 it
// is a feature; in between only the kind is known.
func (c *conn) markImmutable(links []Link) {
	if len(links) == 0 || slices.ContainsFunc(links, func(l Link) bool { return l.Immutable }) {
		return
	}
	bit := c.featureBit(links[0].Name, "netns-local")
	for i := range links {
		l := &links[i]
		l.Immutable = l.Encapsulation == "loopback" || slices.Contains(immutableKinds, l.Kind)
		if bit >= 0 {
			features, err := readFeatures(c, *l)
			l.Immutable = err == nil && featureActive(features, bit)
		}
	}
}

// featureActive reads a bit of the answer to ETHTOOL_GFEATURES.
func featureActive(features []byte, bit int) bool {
	const header, block, activeWord = 8, 16, 8
	at := header + block*(bit/32) + activeWord
	return at+4 <= len(features) && u32(features[at:])>>(bit%32)&1 == 1
}

// featureBit returns the place of a feature in the kernel's list, which any
// link shows, or -1 if there is none of this name.
func (c *conn) featureBit(link, name string) int {
	count := make([]byte, 20) // struct ethtool_sset_info with one answer
	binary.NativeEndian.PutUint32(count, unix.ETHTOOL_GSSET_INFO)
	binary.NativeEndian.PutUint64(count[8:], 1<<featureNames)
	if c.ethtool(link, "count features", count) != nil {
		return -1
	}
	names := make([]byte, 12+featureName*u32(count[16:])) // struct ethtool_gstrings
	binary.NativeEndian.PutUint32(names, unix.ETHTOOL_GSTRINGS)
	binary.NativeEndian.PutUint32(names[4:], featureNames)
	if c.ethtool(link, "name features", names) != nil {
		return -1
	}
	return slices.IndexFunc(slices.Collect(slices.Chunk(names[12:], featureName)), func(n []byte) bool { return text(n) == name })
}
