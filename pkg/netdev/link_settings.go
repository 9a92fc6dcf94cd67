package netdev

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Members of struct ethtool_link_settings, by their place. Three masks of link
// modes follow it: what is supported, advertised, and advertised by the peer.
const (
	lsSpeed       = 4
	lsDuplex      = 8
	lsPort        = 9
	lsAutoneg     = 11
	lsMDIX        = 14 // eth_tp_mdix_ctrl
	lsWords       = 15 // of 32 bits in each mask
	lsMasterSlave = 17 // configuration, state, and rate matching
	lsSize        = 48
	masks         = 3

	unknownSpeed  = ^uint32(0) // SPEED_UNKNOWN, of a link without carrier
	unknownDuplex = 0xff
)

// readLinkSettings asks twice: the first answer is only how long the masks are.
func readLinkSettings(c *conn, l Link) ([]byte, error) {
	size := command(unix.ETHTOOL_GLINKSETTINGS, lsSize)
	if err := c.ethtool(l.Name, "get link settings", size); err != nil {
		return nil, err
	}
	words := -int8(size[lsWords])
	if words <= 0 {
		return nil, unix.EBADMSG
	}
	b := command(unix.ETHTOOL_GLINKSETTINGS, lsSize+masks*4*int(words))
	b[lsWords] = byte(words)
	return b, c.ethtool(l.Name, "get link settings", b)
}

// linkModes returns the mask of advertised link modes.
func linkModes(b []byte) ([]byte, error) {
	if len(b) < lsSize || lsSize+masks*4*int(int8(b[lsWords])) != len(b) {
		return nil, fmt.Errorf("link settings of %d bytes: %w", len(b), errOtherForm)
	}
	mask := 4 * int(b[lsWords])
	return b[lsSize+mask : lsSize+2*mask], nil
}

// diffLinkSettings compares what can be set: speed and duplex mode only without
// autonegotiation, link modes only with it.
func diffLinkSettings(have, want []byte) ([]change, error) {
	haveModes, err := linkModes(have)
	if err != nil {
		return nil, err
	}
	wantModes, err := linkModes(want)
	if err != nil {
		return nil, err
	}
	if err := sameSize(have, want, lsSize); err != nil {
		return nil, err
	}
	if have[lsMasterSlave] != want[lsMasterSlave] { // only ethtool's netlink sets it
		err = fmt.Errorf("master-slave mode is %d, was %d, and cannot be set", have[lsMasterSlave], want[lsMasterSlave])
	}
	request := bytes.Clone(want)
	clear(request[lsMasterSlave : lsMasterSlave+3]) // the ioctl takes none
	set := ethtoolChange("set link settings", unix.ETHTOOL_SLINKSETTINGS, request)
	forced := want[lsAutoneg] == 0
	unknown := forced && (u32(want[lsSpeed:]) == unknownSpeed || want[lsDuplex] == unknownDuplex)
	switch {
	case have[lsAutoneg] != want[lsAutoneg], have[lsMDIX] != want[lsMDIX], !forced && !bytes.Equal(haveModes, wantModes):
		return []change{set}, err
	case unknown && !bytes.Equal(have[lsSpeed:lsDuplex+1], want[lsSpeed:lsDuplex+1]):
		// A virtual NIC may have no speed. Another has none for lack of carrier.
		set.ignore = []error{unix.EOPNOTSUPP, unix.EINVAL}
		return []change{set}, err
	case have[lsPort] != want[lsPort], forced && !bytes.Equal(have[lsSpeed:lsDuplex+1], want[lsSpeed:lsDuplex+1]):
		// The link may change these by itself, as without carrier. That its
		// driver cannot set them is no failure then.
		set.ignore = []error{unix.EOPNOTSUPP}
		return []change{set}, err
	}
	return nil, err
}

// Members of struct ethtool_wolinfo, by their place.
const (
	wolOptions  = 8
	wolPassword = 12
	wolSize     = 20
	wakeSecure  = 1 << 6 // WAKE_MAGICSECURE
)

// readWakeOnLAN omits the SecureOn password unless it is in use: it is a secret,
// and can only be restored from the record.
func readWakeOnLAN(c *conn, l Link) ([]byte, error) {
	b := command(unix.ETHTOOL_GWOL, wolSize)
	err := c.ethtool(l.Name, "get wake-on-LAN", b)
	if u32(b[wolOptions:])&wakeSecure == 0 {
		clear(b[wolPassword:])
	}
	return b, err
}

// tunable is a setting of ethtool's --set-tunable or --set-phy-tunable: an
// unsigned number of this many bytes.
func tunable(name string, get, set uint32, id, size int) hardwareSetting {
	const header = 16 // struct ethtool_tunable
	return hardwareSetting{
		key: uint16(get) | uint16(id)<<8, name: name, device: true, diff: diffStruct(name, set, span{header, header + size}),
		read: func(c *conn, l Link) ([]byte, error) {
			b := command(get, header+size)
			typ := map[int]uint32{1: 1, 2: 2, 4: 3}[size] // ETHTOOL_TUNABLE_U8, _U16, _U32
			for i, v := range []uint32{uint32(id), typ, uint32(size)} {
				binary.NativeEndian.PutUint32(b[4+4*i:], v)
			}
			return b, c.ethtool(l.Name, "get "+name, b)
		},
	}
}

const timestampingSize = 12 // struct hwtstamp_config

func readTimestamping(c *conn, l Link) ([]byte, error) {
	b := make([]byte, timestampingSize)
	return b, c.ioctl(unix.SIOCGHWTSTAMP, l.Name, "get timestamping", b)
}

func diffTimestamping(have, want []byte) ([]change, error) {
	if err := sameSize(have, want, timestampingSize); err != nil || bytes.Equal(have, want) {
		return nil, err
	}
	return []change{{what: "set timestamping", ioctl: unix.SIOCSHWTSTAMP, data: bytes.Clone(want)}}, nil
}
