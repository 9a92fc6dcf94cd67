package netdev

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// softwareRDMA returns the RDMA devices in software that are on a link of the host
// (`rdma link add`). They have no parent device. The kernel deletes them when the
// link leaves its namespace, and does not report of which type they are.
func (n *NetNS) softwareRDMA(l Link) (all []loss, err error) {
	var on []string
	err = n.rdma(func(c *conn) error {
		devices, err := c.rdmaDevices()
		for _, d := range devices {
			// One that is just being removed has no port.
			if port, named, err := c.rdmaPort(l, d); err == nil && named && port != 0 {
				on = append(on, d.Name)
			}
		}
		return err
	})
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT): // there is no RDMA on this machine
		return nil, nil
	case err != nil || len(on) == 0:
		return nil, err
	}
	return all, n.withSysfs(func(links string) error {
		for _, name := range on {
			if _, err := os.Lstat(path.Join(links, "../infiniband", name, "device")); errors.Is(err, fs.ErrNotExist) {
				all = append(all, loss{nic.LossRDMA, "RDMA device " + name})
			}
		}
		return nil
	})
}
