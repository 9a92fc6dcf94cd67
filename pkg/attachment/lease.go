package attachment

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/dhcp"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// minMTU6 is the least MTU with which a link has IPv6 (RFC 8200).
const minMTU6 = 1280

// wish is an address that a link in a pod is to lease.
type wish struct {
	record allocation.Record
	family dhcp.Family
	link   netdev.Link  // as it is in the pod
	state  netdev.State // as it was read back there

	got dhcp.Lease
	err error
}

// families returns the versions of IP for which a record's config asks for a
// lease.
func families(r allocation.Record) (all []dhcp.Family) {
	if r.Config.Interface.WantsDHCP() {
		all = append(all, dhcp.IPv4)
	}
	if r.Config.Interface.WantsDHCP6() {
		all = append(all, dhcp.IPv6)
	}
	return all
}

// client returns what asks servers on behalf of a link.
func client(ns *netdev.NetNS, r allocation.Record, l netdev.Link) dhcp.Client {
	return dhcp.Client{Index: l.Index, MAC: l.MAC, Name: r.Key().String(), Within: ns.Within}
}

// lease gets the addresses that the configs leave to DHCP for links that have
// arrived in the pod, records them and gives them to the links: all of them, or
// it returns an error. It keeps some of the transfer's time for the restore.
func (m *attacher) lease(ctx context.Context, t *transfer, done []netdev.Attached) error {
	var wishes []*wish
	indices := m.indices(t.sandbox.ID)
	for i, r := range m.get(t.keys) {
		indices = append(indices, done[i].ID.PodIndex)
		for _, f := range families(r) {
			l, err := netdev.Inspect(ctx, t.pod, done[i].ID)
			if err != nil {
				return err
			}
			wishes = append(wishes, &wish{record: r, family: f, link: l, state: done[i].State})
		}
	}
	if len(wishes) == 0 {
		return nil
	}
	asking, end := context.WithDeadline(ctx, t.deadline.Add(-spare))
	defer end()
	var failed error
	var once sync.Once
	stop := func(err error) { // the pod does not start without one of them
		once.Do(func() { failed = err; end() })
	}
	var asked sync.WaitGroup
	for _, w := range wishes {
		asked.Go(func() {
			if w.acquire(asking, t.pod); w.err != nil {
				stop(w.failure())
			}
		})
	}
	asked.Wait()
	for _, w := range wishes { // also those whose pod does not start: they are released with the links
		if w.err != nil {
			continue
		}
		if w.err = m.set(t.pod, w, dhcp.Lease{Family: w.family}, indices); w.err != nil {
			stop(w.failure())
		}
		if _, err := m.transition(ctx, w.record.Key(), func(r allocation.Record) allocation.Record { return allocation.WithLease(r, w.got, time.Now()) }); err != nil {
			stop(err)
		}
	}
	return failed
}

// acquire gets the lease, unless the record has one that is still good: another
// process began this attach.
func (w *wish) acquire(ctx context.Context, pod *netdev.NetNS) {
	if l, ok := w.record.Lease(w.family); ok && l.Address.IsValid() {
		if do, _ := l.Next(dhcp.Uptime()); do != dhcp.Expire {
			w.got = l
			return
		}
	}
	w.got, w.err = client(pod, w.record, w.link).Acquire(ctx, w.family)
}

// failure is the error for a lease that has not come.
func (w *wish) failure() error {
	return fmt.Errorf("device %s: interface.%s: \"true\": %w", w.record.Device.Name, w.family.Field(), w.err)
}

// set gives a link the lease that it got in place of the one before, without what
// would take traffic from the pod's other links. indices are those of links of
// ours in the pod.
func (c *records) set(pod *netdev.NetNS, w *wish, before dhcp.Lease, indices []int) error {
	reached, err := pod.Reached(indices)
	if err != nil {
		return err
	}
	if w.got, err = fit(w.got, reached, w); err != nil {
		return err
	}
	now := dhcp.Uptime()
	return pod.SetDynamic(w.link.Index, before.Dynamic(now), w.got.Dynamic(now))
}

// fit is dhcp.Lease.Fit, and leaves out an MTU that the link should not get.
func fit(l dhcp.Lease, reached []netip.Prefix, w *wish) (dhcp.Lease, error) {
	own := w.record.Config.Interface
	least := 0
	if own.WantsDHCP6() || slices.ContainsFunc(w.state.Addresses, func(a netdev.Address) bool { return a.Prefix.Addr().Is6() }) {
		least = minMTU6
	}
	if own.MTU != 0 || l.MTU < least || w.link.MaxMTU != 0 && l.MTU > w.link.MaxMTU {
		l.MTU = 0
	}
	return l.Fit(reached)
}

// indices returns those of our links in a sandbox.
func (c *records) indices(sandbox string) (all []int) {
	for _, r := range c.store.InSandbox(sandbox) {
		if i := r.Attachment.ID.PodIndex; i != 0 {
			all = append(all, i)
		}
	}
	return all
}

// release gives back what a link leases, while it is in the pod. It waits for
// nothing, and what fails ends by itself.
func (m *restorer) release(ns *netdev.NetNS, r allocation.Record) {
	if len(r.Attachment.Leases) == 0 {
		return
	}
	l, err := netdev.Inspect(context.Background(), ns, r.Attachment.ID)
	if err != nil {
		return
	}
	for _, lease := range r.Attachment.Leases {
		client(ns, r, l).Release(lease)
	}
}
