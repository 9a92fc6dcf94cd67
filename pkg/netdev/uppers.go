package netdev

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// DeleteUppers deletes the links of a pod that have this one as their lower
// device, such as a macvlan: they would stay in the pod on top of a link of the
// host. Detach does so too; done before, it costs no time while others wait for
// their links. If the link is not there, DeleteUppers does nothing.
func (n *NetNS) DeleteUppers(ctx context.Context, id Ident) error {
	l, err := Inspect(ctx, n, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = n.deleteUppers(l)
	}
	return err
}

// deleteUppers deletes the upper devices of l, as one group: the kernel waits
// once for a group, and 20 ms for each link that is deleted alone. It returns
// what the kernel refused to delete.
func (n *NetNS) deleteUppers(l Link) ([]failure, error) {
	links, err := n.conn.links()
	if err != nil {
		return nil, err
	}
	if uppers := uppersOf(l, links); len(uppers) > 1 {
		n.deleteGroup(uppers, unusedGroup(links)) // what is left is deleted one by one
		if links, err = n.conn.links(); err != nil {
			return nil, err
		}
	}
	var ms []message
	for _, u := range uppersOf(l, links) {
		ms = append(ms, message{what: "delete " + u.Name + ", its upper device", typ: unix.RTM_DELLINK, body: []nl.NetlinkRequestData{ifi(u.Index)}, optional: true})
	}
	return n.conn.do(ms...)
}

// uppersOf returns the links that have l as their lower device in the same
// namespace. The ends of a pair are each other's lower device and are not meant.
func uppersOf(l Link, links []Link) (uppers []Link) {
	for _, u := range links {
		pair := l.Lower == u.Index && l.LowerNetNSID == u.LowerNetNSID
		if u.Index != l.Index && u.Lower == l.Index && u.LowerNetNSID == -1 && !pair {
			uppers = append(uppers, u)
		}
	}
	return uppers
}

// unusedGroup returns a random group (IFLA_GROUP) that no link is in.
func unusedGroup(links []Link) uint32 {
	for {
		group := rand.Uint32()
		if group != 0 && !slices.ContainsFunc(links, func(l Link) bool { return l.Group == group }) {
			return group
		}
	}
}

// deleteGroup puts the links into the group and deletes it. It fails as a whole
// when a link in it cannot be deleted.
func (n *NetNS) deleteGroup(links []Link, group uint32) error {
	var ms []message
	for _, l := range links {
		ms = append(ms, set(true, l.Index, fmt.Sprintf("put %s into group %d", l.Name, group), attr(unix.IFLA_GROUP, nl.Uint32Attr(group)))...)
	}
	if _, err := n.conn.do(optional(ms)...); err != nil {
		return err
	}
	_, err := n.conn.do(message{
		what: fmt.Sprintf("delete %d upper devices", len(links)), typ: unix.RTM_DELLINK,
		body: []nl.NetlinkRequestData{ifi(0), attr(unix.IFLA_GROUP, nl.Uint32Attr(group))},
	})
	return err
}
