package netdev

import (
	"errors"

	"golang.org/x/sys/unix"
)

// LinkByName returns the link that has the name, as its name or as an altname,
// or ErrNotFound.
func (n *NetNS) LinkByName(name string) (Link, error) { return n.conn.linkByName(name) }

// LinkByIndex returns the link with the ifindex, or ErrNotFound.
func (n *NetNS) LinkByIndex(index int) (Link, error) { return n.conn.linkByIndex(index) }

// Vacant returns an error that names the link which has the name already, as
// its name or as an altname.
func (n *NetNS) Vacant(name string) error { return n.vacant(name) }

// SetDown sets a link of a pod down, so that the pod's addresses answer no
// more; see `ip link set down`. A link that is not in the namespace is success.
func (n *NetNS) SetDown(id Ident) error {
	l, err := n.findInPod(id, func(l Link) (bool, error) { return l.Index == id.PodIndex, nil })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = n.conn.do(setFlag(l.Index, l.Up, false, unix.IFF_UP, "up")...)
	return err
}

// IndexByName returns the ifindex of the link that has the name, as its name or
// as an altname, or ErrNotFound. It asks by SIOCGIFINDEX (netdevice(7)), which
// takes no lock: while links move, RTM_GETLINK waits for tens of milliseconds.
func (n *NetNS) IndexByName(name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(n.conn.fd, unix.SIOCGIFINDEX, req)
	if errors.Is(err, unix.ENODEV) {
		err = ErrNotFound
	}
	return int(req.Uint32()), err
}
