package netdev

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// moveTime is what one move takes at most on a node that is not in
	// distress; the median is 16 ms.
	moveTime = 50 * time.Millisecond
	// reserve is the time before a deadline for all that is not a move.
	reserve = 200 * time.Millisecond
)

// moveLink moves a link from one namespace to the other and names it, in one
// RTM_NEWLINK. It requests an ifindex unless that is 0; the kernel keeps the
// present one where it can. On an error the link is unchanged.
func moveLink(from, to *NetNS, l Link, name string, index int) error {
	if l.Name != name { // without a rename the kernel checks the name first by itself
		guarded, err := to.guard(l.Name)
		if err != nil {
			return err
		}
		if guarded {
			defer to.unguard(l.Name)
		}
	}
	m := moveMessage(l.Index, to, l.Name, name)
	if index != 0 && index != l.Index {
		m.body = append(m.body, attr(unix.IFLA_NEW_IFINDEX, nl.Uint32Attr(uint32(index))))
	}
	_, err := from.conn.do(m)
	return err
}

func moveMessage(index int, to *NetNS, old, name string) message {
	return message{
		what: fmt.Sprintf("move interface %s to %s as %s", old, to, name), typ: unix.RTM_NEWLINK,
		body: []nl.NetlinkRequestData{
			ifi(index),
			attr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.handle))),
			attr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		},
	}
}

// guard makes the present name of a link that is about to be moved to n an altname
// of lo, so that the kernel must check and use the new name inside the move. It
// returns false if the name is taken there already, which has the same effect.
func (n *NetNS) guard(name string) (bool, error) {
	lo, err := n.conn.linkByIndex(loopbackIndex)
	if err != nil {
		return false, fmt.Errorf("guard %s: %w", name, err)
	}
	_, err = n.conn.do(altName(lo.Index, name, true))
	if errors.Is(err, unix.EEXIST) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("guard %s: %w", name, err)
	}
	return true, nil
}

// unguard removes a guard; none there is success. It never removes an altname
// of another link than lo.
func (n *NetNS) unguard(name string) error {
	if l, err := n.conn.linkByName(name); err == nil && l.Encapsulation == "loopback" && l.Name != name {
		_, err = n.conn.do(altName(l.Index, name, false))
		return err
	}
	return nil
}

// budget returns an error if there is no time for one more move and for moving
// back what was moved before. A handler that overruns its deadline lets the pod
// start without its link; one that returns an error does not.
func budget(ctx context.Context, moved int) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx.Err()
	}
	need := time.Duration(moved+2)*moveTime + reserve
	if left := time.Until(deadline); left < need {
		return fmt.Errorf("%v left before the deadline, one more move needs %v: %w", left.Round(time.Millisecond), need, context.DeadlineExceeded)
	}
	return ctx.Err()
}
