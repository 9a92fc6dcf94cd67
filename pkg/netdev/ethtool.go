package netdev

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

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
	names, _ := c.featureNames(links[0].Name) // any link shows the kernel's list
	bit := slices.Index(names, "netns-local")
	for i := range links {
		l := &links[i]
		l.Immutable = l.Encapsulation == "loopback" || slices.Contains(immutableKinds, l.Kind)
		if bit >= 0 {
			features, err := readFeatures(c, *l)
			l.Immutable = err == nil && featureWord(features, featureActive, bit)
		}
	}
}
