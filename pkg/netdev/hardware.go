package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hardwareSetting is one of a link's hardware settings. Its value is the kernel's answer, and opaque to
// all but its own row.
type hardwareSetting struct {
	key  uint16 // of its value in a record; it never changes
	name string
	// device means that only links with a parent device have it. Others are
	// not asked: each request waits for the kernel's lock for links.
	device bool
	// live means that the driver answers with what is in effect, which may follow
	// later than the setting.
	live bool
	read func(c *conn, l Link) ([]byte, error)
	// diff returns the requests that turn have into want. An error names what
	// differs and cannot be set, or cannot be compared.
	diff func(have, want []byte) ([]change, error)
}

// change is one request: an ioctl with data, or a message.
type change struct {
	what    string
	ioctl   uintptr // SIOCETHTOOL or SIOCSHWTSTAMP
	data    []byte
	message func(l Link) message
	ignore  []error // failures that are not reported
}

// hardwareSettings are in the order in which they are set: flags, channels and
// features may change which values the others can have.
var hardwareSettings = []hardwareSetting{
	structSetting("private flags", unix.ETHTOOL_GPFLAGS, unix.ETHTOOL_SPFLAGS, 8),
	structSetting("channels", unix.ETHTOOL_GCHANNELS, unix.ETHTOOL_SCHANNELS, 36, span{20, 36}),
	structSetting("rings", unix.ETHTOOL_GRINGPARAM, unix.ETHTOOL_SRINGPARAM, 36, span{20, 36}),
	live(structSetting("coalescing", unix.ETHTOOL_GCOALESCE, unix.ETHTOOL_SCOALESCE, 92)),
	{key: unix.ETHTOOL_PERQUEUE, name: "coalescing of queues", device: true, live: true, read: readQueues, diff: diffQueues},
	live(structSetting("pause frames", unix.ETHTOOL_GPAUSEPARAM, unix.ETHTOOL_SPAUSEPARAM, 16)),
	featuresSetting,
	{key: unix.ETHTOOL_GLINKSETTINGS, name: "link settings", device: true, live: true, read: readLinkSettings, diff: diffLinkSettings},
	ofDevice(structSetting("forward error correction", unix.ETHTOOL_GFECPARAM, unix.ETHTOOL_SFECPARAM, 16, span{8, 12})),
	ofDevice(structSetting("energy-efficient Ethernet", unix.ETHTOOL_GEEE, unix.ETHTOOL_SEEE, 40, span{8, 12}, span{20, 32})),
	{key: unix.ETHTOOL_GWOL, name: "wake-on-LAN", device: true, read: readWakeOnLAN, diff: diffStruct("wake-on-LAN", unix.ETHTOOL_SWOL, span{8, 18})},
	ofDevice(structSetting("message level", unix.ETHTOOL_GMSGLVL, unix.ETHTOOL_SMSGLVL, 8)),
	tunable("rx-copybreak", unix.ETHTOOL_GTUNABLE, unix.ETHTOOL_STUNABLE, 1, 4),
	tunable("tx-copybreak", unix.ETHTOOL_GTUNABLE, unix.ETHTOOL_STUNABLE, 2, 4),
	tunable("PFC prevention timeout", unix.ETHTOOL_GTUNABLE, unix.ETHTOOL_STUNABLE, 3, 2),
	tunable("tx-copybreak buffer size", unix.ETHTOOL_GTUNABLE, unix.ETHTOOL_STUNABLE, 4, 4),
	tunable("PHY downshift", unix.ETHTOOL_PHY_GTUNABLE, unix.ETHTOOL_PHY_STUNABLE, 1, 1),
	tunable("PHY fast link down", unix.ETHTOOL_PHY_GTUNABLE, unix.ETHTOOL_PHY_STUNABLE, 2, 1),
	tunable("PHY energy detect", unix.ETHTOOL_PHY_GTUNABLE, unix.ETHTOOL_PHY_STUNABLE, 3, 2),
	{key: unix.SIOCGHWTSTAMP, name: "timestamping", device: true, read: readTimestamping, diff: diffTimestamping},
	{key: unix.ETHTOOL_GRSSH, name: "RSS", device: true, read: readRSS, diff: diffRSS},
	{key: unix.ETHTOOL_GRXFH, name: "hashed fields", device: true, read: readFlowHash, diff: diffFlowHash},
	{key: unix.ETHTOOL_GRXCLSRLALL, name: "n-tuple rules", device: true, read: readRules, diff: diffRules},
	{key: dcbSetting, name: "data center bridging", device: true, read: readDCB, diff: diffDCB},
	{key: vfsSetting, name: "virtual functions", device: true, read: readVFs, diff: diffVFs},
}

// live marks a setting as such.
func live(s hardwareSetting) hardwareSetting { s.live = true; return s }

// ofDevice marks a setting that only links with a parent device have.
func ofDevice(s hardwareSetting) hardwareSetting { s.device = true; return s }

// compare returns the changes that turn the link's setting into the wanted one.
func (c *conn) compare(l Link, s hardwareSetting, want []byte) ([]change, error) {
	have, err := s.read(c, l)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", s.name, err)
	}
	return s.diff(have, want)
}

var errNoEffect = errors.New("the driver accepted it without effect")

// checkSet returns an error unless the setting is as wanted now.
func (c *conn) checkSet(l Link, s hardwareSetting, want []byte) error {
	changes, err := c.compare(l, s, want)
	if err == nil && len(changes) > 0 {
		err = errNoEffect
	}
	return err
}

func (c *conn) change(l Link, ch change) error {
	if ch.message == nil {
		return c.ioctl(ch.ioctl, l.Name, ch.what, ch.data)
	}
	m := ch.message(l)
	m.what = ch.what
	if m.typ == unix.RTM_SETDCB {
		return c.setDCB(m)
	}
	return join(c.batch([]message{m})...)
}

// ioctl makes one request about a link. Sockets of all kinds accept it, and it is
// about the links of the socket's namespace.
func (c *conn) ioctl(request uintptr, link, what string, b []byte) error {
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
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), request, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}

// span is a range of bytes, without its end.
type span struct{ from, to int }

// structSetting is a setting that is one struct which begins with its command. The
// spans are what can be set of it; without spans all can.
func structSetting(name string, get, set uint32, size int, spans ...span) hardwareSetting {
	if spans == nil {
		spans = []span{{4, size}}
	}
	return hardwareSetting{
		key: uint16(get), name: name, diff: diffStruct(name, set, spans...),
		read: func(c *conn, l Link) ([]byte, error) {
			b := command(get, size)
			return b, c.ethtool(l.Name, "get "+name, b)
		},
	}
}

// diffStruct returns the diff of a setting whose spans can be set.
func diffStruct(name string, set uint32, spans ...span) func(have, want []byte) ([]change, error) {
	return func(have, want []byte) ([]change, error) {
		if err := sameSize(have, want, spans[len(spans)-1].to); err != nil {
			return nil, err
		}
		request := bytes.Clone(have)
		for _, s := range spans {
			copy(request[s.from:s.to], want[s.from:s.to])
		}
		if bytes.Equal(have, request) {
			return nil, nil
		}
		return []change{ethtoolChange("set "+name, set, request)}, nil
	}
}

var errOtherForm = errors.New("cannot be compared: its format has changed")

// sameSize returns an error unless both have the same size, and at least enough.
func sameSize(have, want []byte, enough int) error {
	if len(have) != len(want) || len(have) < enough {
		return fmt.Errorf("%d bytes, %d before: %w", len(have), len(want), errOtherForm)
	}
	return nil
}
