package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Of linux/rdma_netlink.h, what package nl does not have.
const (
	rdmaPortGet       = 5  // RDMA_NLDEV_CMD_PORT_GET
	rdmaAttrNdevIndex = 50 // RDMA_NLDEV_ATTR_NDEV_INDEX
)

// rdma calls f with a socket for requests about the RDMA devices of the
// namespace, on a thread that is there: that is where the kernel looks for a
// device that is to be moved.
func (n *NetNS) rdma(f func(c *conn) error) error {
	var err error
	entered := n.Within(func() {
		var c *conn
		if c, err = openSocket(unix.NETLINK_RDMA); err != nil {
			return
		}
		defer c.close()
		c.failpoint = n.conn.failpoint
		err = f(c)
	})
	return join(entered, err)
}

func rdmaType(command int) int { return nl.RDMA_NL_NLDEV<<nl.RDMA_NL_GET_CLIENT_SHIFT | command }

func rdmaIndex(typ int, value uint32) nl.NetlinkRequestData { return attr(typ, nl.Uint32Attr(value)) }

// rdmaExclusive reports whether a device is in one namespace only. Kernels
// before 5.2 do not know that, and share all.
func (c *conn) rdmaExclusive() (exclusive bool, err error) {
	b, err := c.get(message{what: "get RDMA mode", typ: rdmaType(nl.RDMA_NLDEV_CMD_SYS_GET)})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	return exclusive, join(err, each(b, func(typ uint16, v []byte) {
		if typ == nl.RDMA_NLDEV_SYS_ATTR_NETNS_MODE {
			exclusive = u8(v) == 0
		}
	}))
}

// rdmaDevices lists the RDMA devices that are in the namespace.
func (c *conn) rdmaDevices() ([]rdmaDevice, error) {
	payloads, err := c.dump(rdmaType(nl.RDMA_NLDEV_CMD_GET))
	if err != nil {
		return nil, fmt.Errorf("list RDMA devices: %w", err)
	}
	var all []rdmaDevice
	for _, b := range payloads {
		var d rdmaDevice
		if err := each(b, func(typ uint16, v []byte) {
			switch typ {
			case nl.RDMA_NLDEV_ATTR_DEV_INDEX:
				d.Index = u32(v)
			case nl.RDMA_NLDEV_ATTR_DEV_NAME:
				d.Name = text(v)
			case nl.RDMA_NLDEV_ATTR_PORT_INDEX:
				d.ports = u32(v)
			case nl.RDMA_NLDEV_ATTR_NODE_GUID:
				d.GUID = u64(v)
			}
		}); err != nil {
			return nil, fmt.Errorf("list RDMA devices: %w", err)
		}
		all = append(all, d)
	}
	return all, nil
}

func u64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b)
}

// rdmaDevice returns the device as it is in this namespace, or ErrNotFound.
func (c *conn) rdmaDevice(want rdmaDevice) (rdmaDevice, error) {
	all, err := c.rdmaDevices()
	if err != nil {
		return want, err
	}
	fits := func(test func(rdmaDevice) bool) int { return slices.IndexFunc(all, test) }
	i := fits(func(d rdmaDevice) bool { return d.Index == want.Index && d.is(want) })
	if i < 0 {
		i = fits(want.is)
	}
	if i < 0 {
		return want, fmt.Errorf("RDMA device %s: %w", want.Name, ErrNotFound)
	}
	return all[i], nil
}

// rdmaPort returns the port of a device that is a link of the host, or 0, and
// whether the port names the link. One of InfiniBand does not, so of several of them
// the link's is not known.
func (c *conn) rdmaPort(l Link, d rdmaDevice) (port uint32, named bool, err error) {
	unnamed := uint32(0)
	for port := uint32(1); port <= d.ports; port++ {
		b, err := c.get(message{what: "get RDMA port", typ: rdmaType(rdmaPortGet), body: []nl.NetlinkRequestData{
			rdmaIndex(nl.RDMA_NLDEV_ATTR_DEV_INDEX, d.Index), rdmaIndex(nl.RDMA_NLDEV_ATTR_PORT_INDEX, port),
		}})
		if err != nil {
			return 0, false, fmt.Errorf("get port %d of RDMA device %s: %w", port, d.Name, err)
		}
		index := 0
		if err := each(b, func(typ uint16, v []byte) {
			if typ == rdmaAttrNdevIndex {
				index = int(u32(v))
			}
		}); err != nil {
			return 0, false, err
		}
		switch {
		case index == l.Index:
			return port, true, nil
		case index == 0 && d.ports == 1:
			unnamed = port
		}
	}
	return unnamed, false, nil
}
