package attachment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/dhcp"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	// keepPoll is the longest time between two looks at the leases: another
	// process may have got one.
	keepPoll = 5 * time.Second
	// keepTime is how long a server is asked at a time.
	keepTime  = 4 * time.Second
	keepLeast = 500 * time.Millisecond // where less is left
)

// keeper extends what links in pods have leased.
type keeper struct {
	*records
	*sandboxes
	background *jobs
}

// KeepLeases extends the leases of all links in pods, whichever process got them,
// and asks for those that were lost, until ctx or the engine ends. Several
// processes may do so: a claim's leases are locked meanwhile.
func (k *keeper) KeepLeases(ctx context.Context) {
	ctx, cancel := k.background.untilClose(ctx)
	defer cancel()
	for {
		now := dhcp.Uptime()
		next := now + keepPoll
		for _, claim := range k.leasing() {
			if at := due(k.records.store.OfClaim(claim), now); at > now {
				next = min(next, at)
				continue
			}
			next = min(next, now+time.Second) // should it fail
			k.background.running.Go(func() { k.keep(ctx, claim) })
		}
		select {
		case <-time.After(max(next-now, 100*time.Millisecond)):
		case <-ctx.Done():
			return
		}
	}
}

// leasing returns the claims with links in pods that lease something.
func (k *keeper) leasing() (claims []string) {
	for _, r := range k.records.store.Find(leases) {
		claims = append(claims, r.Claim.UID)
	}
	slices.Sort(claims)
	return slices.Compact(claims)
}

// leases reports whether a record's link leases something in a pod.
func leases(r allocation.Record) bool {
	return r.Attached() && len(r.Attachment.Leases) > 0 && !r.Attachment.SandboxEnded && !r.Missing()
}

// due returns when there is something to do for the first lease of the records.
func due(all []allocation.Record, now time.Duration) time.Duration {
	first := now + keepPoll
	for _, r := range all {
		if !leases(r) {
			continue
		}
		for _, l := range r.Attachment.Leases {
			_, at := l.Next(now)
			first = min(first, at)
		}
	}
	return first
}

// keep does what is due for the leases of a claim, unless another goroutine or
// process is at it.
func (k *keeper) keep(ctx context.Context, claim string) {
	unlock, err := k.records.store.TryLockLeases(claim)
	if err != nil {
		return
	}
	defer unlock()
	all := k.records.store.OfClaim(claim)
	if len(all) == 0 {
		k.records.store.ForgetLeases(claim)
	}
	for _, r := range all {
		if !leases(r) {
			continue
		}
		for _, l := range r.Attachment.Leases {
			if do, _ := l.Next(dhcp.Uptime()); do == dhcp.Wait {
				continue
			}
			now, err := k.extend(ctx, r, l)
			if ctx.Err() != nil {
				return // the next process does it
			}
			k.update(ctx, r.Key(), "", time.Time{}, func(known allocation.Record) (allocation.Record, error) {
				if !sameAttachment(r, known) {
					return known, nil
				}
				return allocation.WithLease(known, now, time.Now()), err
			})
		}
	}
}

// extend does what is due for a lease in the kernel and with its server, and
// returns the lease as it is then. An error is something else than that no
// server has answered.
func (k *keeper) extend(ctx context.Context, r allocation.Record, l dhcp.Lease) (dhcp.Lease, error) {
	ns, err := k.openSandbox(r, "")
	if err != nil || ns == nil {
		return l.Asked(dhcp.Uptime()), err
	}
	defer ns.Close()
	link, err := netdev.Inspect(ctx, ns, r.Attachment.ID)
	if err != nil {
		return l.Asked(dhcp.Uptime()), nil // Observe reports that it is missing
	}
	w := &wish{record: r, family: l.Family, link: link, state: r.Attachment.InPod.State}
	do, _ := l.Next(dhcp.Uptime())
	if do == dhcp.Renew || do == dhcp.Rebind {
		limited, end := context.WithTimeout(ctx, max(keepLeast, min(keepTime, l.Until(do)-dhcp.Uptime())))
		defer end()
		w.got, w.err = client(ns, r, link).Extend(limited, l, do)
		if w.err == nil {
			return k.extended(ns, w, l)
		}
		if !errors.Is(w.err, dhcp.ErrRefused) {
			return l.Asked(dhcp.Uptime()), nil
		}
		do = dhcp.Expire
	}
	if do == dhcp.Expire {
		lost := l.Lost()
		if err := ns.SetDynamic(link.Index, l.Dynamic(dhcp.Uptime()), lost.Dynamic(0)); err != nil {
			return l.Asked(dhcp.Uptime()), fmt.Errorf("remove address %s, whose lease has ended: %w", l.Address, err)
		}
		l = lost
	}
	limited, end := context.WithTimeout(ctx, keepTime)
	defer end()
	if w.got, w.err = client(ns, r, link).Acquire(limited, l.Family); w.err != nil {
		return l.Asked(dhcp.Uptime()), nil
	}
	return k.extended(ns, w, l)
}

// extended gives a link in a pod the lease that it has got in place of the one
// before, and returns what it has then.
func (k *keeper) extended(ns *netdev.NetNS, w *wish, before dhcp.Lease) (dhcp.Lease, error) {
	if err := k.set(ns, w, before, k.indices(w.record.Attachment.Sandbox.ID)); err != nil {
		return before.Asked(dhcp.Uptime()), fmt.Errorf("set what %s has leased: %w", w.record, err)
	}
	return w.got, nil
}
