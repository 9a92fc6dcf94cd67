package netdev

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A link's hardware settings (ethtool(8)) go with it into the pod and, as the
// pod left them, home again. Most can be asked for by ioctl only.

// ethtoolSetting is one of them. Its value is what the kernel answers to get,
// a struct that begins with the command.
type ethtoolSetting struct {
	name     string
	get, set uint32
	size     int
	// request makes have into want, and is nil where nothing differs.
	request func(have, want []byte) []byte
}

// featureWords are the most 32-bit words of features that we keep; the kernel
// has two.
const featureWords = 4

const (
	featureNames = 4  // ETH_SS_FEATURES
	featureName  = 32 // ETH_GSTRING_LEN
)

// ethtoolSettings are in the order in which they are set: flags and channels
// may change what the others can be.
var ethtoolSettings = []ethtoolSetting{
	{"private flags", unix.ETHTOOL_GPFLAGS, unix.ETHTOOL_SPFLAGS, 8, wholeStruct},
	{"channels", unix.ETHTOOL_GCHANNELS, unix.ETHTOOL_SCHANNELS, 36, wholeStruct},
	{"rings", unix.ETHTOOL_GRINGPARAM, unix.ETHTOOL_SRINGPARAM, 36, wholeStruct},
	{"coalescing", unix.ETHTOOL_GCOALESCE, unix.ETHTOOL_SCOALESCE, 92, wholeStruct},
	{"pause frames", unix.ETHTOOL_GPAUSEPARAM, unix.ETHTOOL_SPAUSEPARAM, 16, wholeStruct},
	featuresSetting,
}

var featuresSetting = ethtoolSetting{"features", unix.ETHTOOL_GFEATURES, unix.ETHTOOL_SFEATURES, 8 + 16*featureWords, features}

// wholeStruct sets what was read.
func wholeStruct(have, want []byte) []byte {
	if len(have) != len(want) || bytes.Equal(have, want) {
		return nil
	}
	return bytes.Clone(want)
}

// features turns struct ethtool_gfeatures, which has four words for each 32
// features (available, requested, active, fixed), into ethtool_sfeatures,
// which has two (valid, requested).
func features(have, want []byte) []byte {
	const header, block = 8, 16
	if len(have) != len(want) || len(have) < header {
		return nil
	}
	words := int(min(u32(have[4:]), u32(want[4:]), featureWords))
	if len(have) < header+block*words {
		return nil
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
		return nil
	}
	return request
}

// ethtool returns the link's hardware settings. What the link does not have,
// or its driver cannot tell, is left out, and nobody will touch it.
func (n *NetNS) ethtool(l Link) []Attr {
	var all []Attr
	for _, s := range ethtoolSettings {
		if value, err := n.conn.askEthtool(l.Name, s); err == nil {
			all = append(all, Attr{uint16(s.get), value})
		}
	}
	return all
}

// setEthtool sets those of the settings that differ, and returns what the
// kernel refused.
func (n *NetNS) setEthtool(l Link, want []Attr) []failure {
	var refused []failure
	for _, s := range ethtoolSettings {
		i := slices.IndexFunc(want, func(a Attr) bool { return a.Type == uint16(s.get) })
		if i < 0 {
			continue
		}
		what := "get " + s.name
		have, err := n.conn.askEthtool(l.Name, s)
		if request := s.request(have, want[i].Value); err == nil && request != nil {
			binary.NativeEndian.PutUint32(request, s.set)
			what = "set " + s.name
			err = n.conn.ethtool(l.Name, what, request)
		}
		if err != nil {
			refused = append(refused, failure{what, err})
		}
	}
	return refused
}

func (c *conn) askEthtool(link string, s ethtoolSetting) ([]byte, error) {
	b := make([]byte, s.size)
	binary.NativeEndian.PutUint32(b, s.get)
	if s.get == unix.ETHTOOL_GFEATURES {
		binary.NativeEndian.PutUint32(b[4:], featureWords)
	}
	return b, c.ethtool(link, "get "+s.name, b)
}

// ethtool makes one SIOCETHTOOL request. Sockets of all kinds take it, and it
// is about the links of the socket's namespace.
func (c *conn) ethtool(link, what string, b []byte) error {
	if err := c.allowed(what); err != nil {
		return err
	}
	var req struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], link)
	req.data = unsafe.Pointer(&b[0])
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}

// immutableKinds cannot change their network namespace. Single links of other
// kinds cannot either, as the fallback tunnels.
var immutableKinds = []string{"amt", "batadv", "bond", "bridge", "hsr", "lowpan", "openvswitch", "team", "vrf"}

// markImmutable tells which links cannot change their network namespace where
// the kernel does not say so with the link, as it does from 6.15 on, of lo for
// one. Before 6.12 that is a feature; in between only the kind tells.
func (c *conn) markImmutable(links []Link) {
	if len(links) == 0 || slices.ContainsFunc(links, func(l Link) bool { return l.Immutable }) {
		return
	}
	bit := c.featureBit(links[0].Name, "netns-local")
	for i := range links {
		l := &links[i]
		l.Immutable = l.Encapsulation == "loopback" || slices.Contains(immutableKinds, l.Kind)
		if bit >= 0 {
			features, err := c.askEthtool(l.Name, featuresSetting)
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
