package netdev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Some addresses are there only some time after a link is up: those that go through
// duplicate address detection (RFC 4862, 5.4), 1 to 2 s, and those that routers
// advertise. The links of an attach wait for them together, when all have moved.

const (
	awaitPause   = 50 * time.Millisecond
	awaitTimeout = 20 * time.Second // without a deadline
	awaitReserve = 3 * time.Second  // before a deadline, to restore the links
)

// errDuplicate is why a pod does not get one of its addresses.
var errDuplicate = errors.New("duplicate address detection has failed: another node has it")

// detects reports whether an address is to go through duplicate address detection.
func (s State) detects() bool {
	return slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Detect })
}

// early returns what a link can have before duplicate address detection has ended:
// the kernel refuses routes whose source is in it.
func (s State) early() State {
	if s.detects() {
		s.Routes = slices.DeleteFunc(slices.Clone(s.Routes), func(r Route) bool { return r.Destination.Addr().Is6() })
	}
	return s
}

// await waits for the addresses of links that are in n, and makes these as wanted.
func (n *NetNS) await(ctx context.Context, plans []Plan, done []Attached) error {
	end := time.Now().Add(awaitTimeout)
	if d, ok := ctx.Deadline(); ok {
		end = d.Add(-awaitReserve)
	}
	for i, p := range plans {
		if !p.Want.detects() && !p.Want.SLAAC {
			continue
		}
		index := done[i].ID.PodIndex
		err := n.awaitLink(ctx, end, index, p.Want)
		if err == nil {
			err = n.finish(index, p, &done[i])
		}
		if err != nil {
			return fmt.Errorf("attach %s to %s: %w", p.Original.Name, n, err)
		}
	}
	return nil
}

func (n *NetNS) awaitLink(ctx context.Context, end time.Time, index int, want State) error {
	for {
		all, err := n.conn.onLink(index)
		if err != nil {
			return err
		}
		missing := want.waitsFor(all)
		if missing == nil || errors.Is(missing, errDuplicate) {
			return missing
		}
		if time.Now().After(end) {
			if l, err := n.conn.linkByIndex(index); err == nil && !l.Carrier {
				missing = fmt.Errorf("%w: the interface has no carrier", missing)
			}
			return missing
		}
		select {
		case <-time.After(awaitPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// waitsFor returns an error that names the address which a link with these still
// waits for.
func (s State) waitsFor(all []addressMessage) error {
	advertised := false
	for _, m := range all {
		a, tentative := m.Prefix.Addr(), m.flags&unix.IFA_F_TENTATIVE != 0
		wanted := slices.ContainsFunc(s.Addresses, func(w Address) bool { return w.Detect && w.Prefix == m.Prefix })
		switch {
		case a.Is4():
		case wanted && m.flags&unix.IFA_F_DADFAILED != 0:
			return fmt.Errorf("interface.addresses: %q: %w", m.Prefix, errDuplicate)
		case wanted && tentative:
			return fmt.Errorf("interface.addresses: %q: duplicate address detection has not ended in time", m.Prefix)
		}
		advertised = advertised || m.advertised() && !tentative
	}
	if s.SLAAC && !advertised {
		return errors.New(`interface.addressing: "SLAAC": no router has advertised a prefix for an address in time`)
	}
	return nil
}

// advertised reports whether the kernel made the address from what a router
// advertises, and it can be used for new connections.
func (m addressMessage) advertised() bool {
	return m.Prefix.Addr().Is6() && m.Scope == unix.RT_SCOPE_UNIVERSE &&
		m.flags&(unix.IFA_F_PERMANENT|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0
}

// finish sets what a link could not have before, and reads it back.
func (n *NetNS) finish(index int, p Plan, a *Attached) error {
	l, err := n.conn.linkByIndex(index)
	if err != nil {
		return err
	}
	done := n.converge(l, p.ID.Tag, p.Want, sidePod)
	for _, f := range done.refused {
		a.Omitted = append(a.Omitted, fmt.Sprintf("%s: %v", f.what, f.err))
	}
	if done.err != nil {
		return done.err
	}
	if l, err = n.conn.linkByIndex(index); err != nil {
		return err
	}
	if a.State, err = n.read(l, p.ID.Tag, p.Want, both, sidePod); err != nil {
		return err
	}
	all, err := n.conn.onLink(index)
	if err != nil {
		return err
	}
	for _, m := range all {
		if p.Want.SLAAC && m.advertised() {
			a.State.Advertised = append(a.State.Advertised, m.Prefix)
		}
	}
	slices.SortFunc(a.State.Advertised, netip.Prefix.Compare)
	return p.Want.checkIn(a.State.withoutKernels(p.Want))
}
