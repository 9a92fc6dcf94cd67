package netdev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNotFound means that a link is not in the namespace.
var ErrNotFound = errors.New("interface not found")

// Links returns all links of the calling process's namespace, by index, with
// their addresses and facts. It is complete or an error.
func Links(_ context.Context) ([]Link, error) {
	host, err := Open("")
	if err != nil {
		return nil, err
	}
	defer host.Close()
	links, err := host.Links()
	if err == nil {
		host.describe(links)
	}
	return links, err
}

// Links returns all links of the namespace, by index, with their addresses. It
// does not wait for what Link.Facts would need.
func (n *NetNS) Links() ([]Link, error) {
	links, err := n.conn.links()
	if err != nil {
		return nil, err
	}
	kept, others, err := n.conn.addresses()
	if err != nil {
		return nil, err
	}
	unicast, err := n.conn.unicastFilters(links)
	if err != nil {
		return nil, err
	}
	n.conn.markImmutable(links)
	n.recall(links)
	own := map[int][]netip.Addr{} // of any scope
	for i := range links {
		l := &links[i]
		for _, a := range slices.Concat(kept[l.Index], others[l.Index]) {
			own[l.Index] = append(own[l.Index], a.Prefix.Addr())
			if a.global() {
				l.Addresses = append(l.Addresses, a.Prefix)
			}
		}
		l.Unicast = unicast[l.Index]
	}
	return links, n.conn.markRoutes(links, own)
}

// wholeMessages is an IFLA_EXT_MASK that asks for nothing more. Without a mask
// the kernel answers into a buffer of standard size and ends the dump, with
// success, at a link whose message does not fit, as one with many altnames
// (rtnl_calcit in net/core/rtnetlink.c).
const wholeMessages = nl.RTEXT_FILTER_BRVLAN_COMPRESSED

// links returns all links of the namespace without their addresses.
func (c *conn) links() ([]Link, error) {
	payloads, err := c.dump(unix.RTM_GETLINK, ifi(0), attr(unix.IFLA_EXT_MASK, nl.Uint32Attr(wholeMessages)))
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	links := make([]Link, 0, len(payloads))
	for _, b := range payloads {
		l, err := decodeLink(b)
		if err != nil {
			return nil, fmt.Errorf("list interfaces: %w", err)
		}
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b Link) int { return a.Index - b.Index })
	return links, nil
}

// linkByName returns the link that has this name or altname, or ErrNotFound.
func (c *conn) linkByName(name string) (Link, error) {
	// IFLA_ALT_IFNAME finds both, and takes 127 bytes.
	b, err := c.get(message{typ: unix.RTM_GETLINK, body: []nl.NetlinkRequestData{ifi(0), attr(unix.IFLA_ALT_IFNAME, nl.ZeroTerminated(name))}})
	return oneLink(b, err, name)
}

// loopbackIndex is the ifindex of lo in every namespace, whatever its name.
const loopbackIndex = 1

// linkByIndex returns the link with this index, or ErrNotFound. No link has
// the index 0.
func (c *conn) linkByIndex(index int) (Link, error) {
	if index == 0 {
		return Link{}, ErrNotFound
	}
	b, err := c.get(message{typ: unix.RTM_GETLINK, body: []nl.NetlinkRequestData{ifi(index)}})
	return oneLink(b, err, fmt.Sprintf("with index %d", index))
}

func oneLink(b []byte, err error, which string) (Link, error) {
	switch {
	case errors.Is(err, unix.ENODEV):
		return Link{}, fmt.Errorf("interface %s: %w", which, ErrNotFound)
	case err != nil:
		return Link{}, fmt.Errorf("get interface %s: %w", which, err)
	}
	return decodeLink(b)
}

// vacant returns an error if a link of the namespace has this name or altname.
func (n *NetNS) vacant(name string) error {
	l, err := n.conn.linkByName(name)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return n.taken(name, l)
}

// taken is the error that link l has the name in this namespace.
func (n *NetNS) taken(name string, l Link) error {
	return fmt.Errorf("the name %s is taken in %s by interface %s (index %d): %w", name, n, l.Name, l.Index, unix.EEXIST)
}
