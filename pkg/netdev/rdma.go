package netdev

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// rdmaDevice is a link's RDMA device. In the mode "exclusive" of the kernel
// (`rdma system`) it is in one network namespace, and moves with the link; in
// the mode "shared" it serves all of them.
//
// Whoever has it can give it another name (`rdma dev set`), also in a pod. Its
// index, which the kernel gives once, and the GUID of its node are its identity.
type rdmaDevice struct {
	Index     uint32 `json:"index"`
	GUID      uint64 `json:"guid,omitempty"`
	Name      string `json:"name"`
	Exclusive bool   `json:"exclusive,omitempty"`
	// Stays is why it does not move with the link in exclusive mode; empty if it does.
	Stays string `json:"stays,omitempty"`
	// Port is the link's port, from 1; 0 if it is not known.
	Port uint32 `json:"port,omitempty"`
	// Nodes are its character devices, read in the pod: a move makes them anew.
	Nodes []rdmaNode `json:"nodes,omitempty"`
	// Base are the port's counters at the attach, by name. They are cumulative.
	Base map[string]uint64 `json:"base,omitempty"`

	ports uint32
}

// rdmaNode is a character device of an RDMA device.
type rdmaNode struct {
	Name  string `json:"name"` // below /dev/infiniband
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
}

// Moves reports whether the device moves with its link. A link without one has
// none that does.
func (d *rdmaDevice) Moves() bool { return d != nil && d.Exclusive && d.Stays == "" }

// is reports whether both are one device. A driver that was loaded again gives
// its device another index.
func (d rdmaDevice) is(o rdmaDevice) bool {
	return d.GUID == o.GUID && (d.Index == o.Index || d.GUID != 0)
}

// rdmaOf returns the RDMA device of a link of the host, nil if it has none, and
// whether it moves with the link. name is how the device was called when its
// link was found.
func (n *NetNS) rdmaOf(l Link, name string) (*rdmaDevice, error) {
	if name == "" {
		return nil, nil
	}
	d := &rdmaDevice{Name: name}
	return d, n.rdma(func(c *conn) (err error) {
		if d.Exclusive, err = c.rdmaExclusive(); err != nil {
			return err
		}
		all, err := c.rdmaDevices()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(o rdmaDevice) bool { return o.Name == name })
		if i < 0 {
			d.Stays = "it is no longer on the host"
			return nil
		}
		d.Index, d.GUID = all[i].Index, all[i].GUID
		if d.Port, _, err = c.rdmaPort(l, all[i]); err != nil || !d.Exclusive {
			return err
		}
		switch {
		case all[i].ports > 1:
			d.Stays = fmt.Sprintf("it has %d ports, which would all move", all[i].ports)
		case d.Port == 0:
			d.Stays = "it belongs to another interface"
		case l.Lower != 0:
			d.Stays = "it belongs to the interface's lower device"
		}
		return nil
	})
}

// RDMAExclusive reports whether each RDMA device is in one network namespace only.
func (n *NetNS) RDMAExclusive() (exclusive bool, err error) {
	err = n.rdma(func(c *conn) error {
		exclusive, err = c.rdmaExclusive()
		return err
	})
	if errors.Is(err, unix.EPROTONOSUPPORT) { // there is no RDMA on this machine
		return false, nil
	}
	return exclusive, err
}

// moveRDMA moves a device to another namespace. One that is there is success. All
// that the device's users have of it ends, as if it were unplugged.
func (n *NetNS) moveRDMA(to *NetNS, d rdmaDevice) error {
	there := to.rdma(func(c *conn) error { _, err := c.rdmaDevice(d); return err })
	if there == nil || !errors.Is(there, ErrNotFound) {
		return there
	}
	return n.rdma(func(c *conn) error {
		now, err := c.rdmaDevice(d)
		if err != nil {
			return err
		}
		_, err = c.do(message{
			what: fmt.Sprintf("move RDMA device %s to %s", now.Name, to), typ: rdmaType(nl.RDMA_NLDEV_CMD_SET),
			body: []nl.NetlinkRequestData{rdmaIndex(nl.RDMA_NLDEV_ATTR_DEV_INDEX, now.Index), rdmaIndex(nl.RDMA_NLDEV_NET_NS_FD, uint32(to.handle))},
		})
		return err
	})
}

// bringRDMA moves the device of l, which is in the pod, there too. It
// returns the device as it is there. Where its driver cannot change its namespace
// it stays on the host.
func bringRDMA(host, pod *NetNS, l Link, want *rdmaDevice) (*rdmaDevice, error) {
	if want == nil {
		return nil, nil
	}
	got := *want // the original state has the same one
	if !got.Moves() {
		return &got, nil
	}
	err := host.moveRDMA(pod, got)
	if errors.Is(err, unix.EOPNOTSUPP) {
		got.Stays = "its driver cannot change its network namespace"
		return &got, nil
	}
	if err != nil {
		return nil, err
	}
	err = pod.rdma(func(c *conn) error {
		now, err := c.rdmaDevice(got)
		got.Name = now.Name
		return err
	})
	if err == nil {
		got.Nodes, err = pod.rdmaNodes(l, got)
	}
	return &got, err
}

// rdmaNodes returns the character devices of a link's RDMA device: those of the
// device, of the link's port, and of the RDMA connection manager.
func (n *NetNS) rdmaNodes(l Link, d rdmaDevice) (nodes []rdmaNode, err error) {
	err = n.withSysfs(func(links string) error {
		class, parent := path.Dir(links), path.Join(links, l.Name, "device")
		dirs := []string{path.Join(class, "misc/rdma_cm")}
		for _, pattern := range []string{"infiniband_mad/*", "infiniband_verbs/*"} {
			found, _ := filepath.Glob(path.Join(parent, pattern))
			dirs = append(found, dirs...)
		}
		for _, dir := range dirs {
			if device, port := sysfsText(dir, "ibdev"), sysfsText(dir, "port"); device != "" && device != d.Name || port != "" && port != strconv.Itoa(int(d.Port)) {
				continue
			}
			node := rdmaNode{Name: path.Base(dir)}
			if _, err := fmt.Sscanf(sysfsText(dir, "dev"), "%d:%d", &node.Major, &node.Minor); err == nil {
				nodes = append(nodes, node)
			}
		}
		return nil
	})
	return nodes, err
}

// sysfsText returns the content of a file, or "" if there is none.
func sysfsText(dir, name string) string {
	b, _ := os.ReadFile(path.Join(dir, name))
	return strings.TrimSpace(string(b))
}

// takeRDMA undoes bringRDMA. A device that is not in the pod is success:
// restoreRDMA looks for it on the host.
func takeRDMA(host, pod *NetNS, original *rdmaDevice) error {
	if !original.Moves() {
		return nil
	}
	if err := pod.moveRDMA(host, *original); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

var (
	errRDMAAway = errors.New("it is neither in the pod nor on the host: the pod moved it on; it is restored when it reappears")
	errRDMAGone = errors.New("the host has it no more")
)

// restoreRDMA gives a device that is on the host its name again. A device that is
// nowhere was removed, with its driver, unless a link of the same parent shows its
// character device, which no namespace hides.
func (n *NetNS) restoreRDMA(l Link, want rdmaDevice) (done outcome) {
	what := "RDMA device " + want.Name
	err := n.rdma(func(c *conn) error {
		now, err := c.rdmaDevice(want)
		if err != nil || now.Name == want.Name {
			return err
		}
		done.changed = true
		_, err = c.do(message{
			what: fmt.Sprintf("rename RDMA device %s to %s", now.Name, want.Name), typ: rdmaType(nl.RDMA_NLDEV_CMD_SET),
			body: []nl.NetlinkRequestData{rdmaIndex(nl.RDMA_NLDEV_ATTR_DEV_INDEX, now.Index), attr(nl.RDMA_NLDEV_ATTR_DEV_NAME, nl.ZeroTerminated(want.Name))},
		})
		return err
	})
	if !errors.Is(err, ErrNotFound) {
		done.err = err
		return done
	}
	away, err := n.hasHiddenRDMA(l)
	switch {
	case err != nil:
		done.err = fmt.Errorf("%s: %w", what, err)
	case away:
		done.err = fmt.Errorf("%s: %w", what, errRDMAAway)
	default:
		done.refused = append(done.refused, failure{what, errRDMAGone})
	}
	return done
}

// hasHiddenRDMA reports whether the parent device of a link has an RDMA device
// that is not in this namespace.
func (n *NetNS) hasHiddenRDMA(l Link) (hidden bool, err error) {
	err = n.withSysfs(func(links string) error {
		device := path.Join(links, l.Name, "device")
		nodes, _ := os.ReadDir(path.Join(device, "infiniband_verbs"))
		here, _ := os.ReadDir(path.Join(device, "infiniband"))
		hidden = len(nodes) > len(here)
		return nil
	})
	return hidden, err
}
