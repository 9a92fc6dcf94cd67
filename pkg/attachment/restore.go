package attachment

import (
	"context"
	"fmt"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// restorer brings links back to the host and makes them as they were.
type restorer struct {
	*records
	*sandboxes
	cfg *Config
}

// setDown sets the links down in the sandbox, as far as they are there. What
// fails is mended by the detach that follows.
func (m *restorer) setDown(all []allocation.Record, path string) {
	for _, r := range withoutFunctions(all) {
		ns, err := m.openSandbox(r, path)
		if ns == nil || err != nil {
			continue
		}
		m.release(ns, r)
		ns.SetDown(r.ID())
		ns.Close()
	}
}

// restoreAll restores those of the links that are out, each as far as it can
// be, and returns the records as they are then. path is the sandbox's namespace
// as an event named it, if one did. The caller holds the claims.
func (m *restorer) restoreAll(ctx context.Context, all []allocation.Record, path string) []allocation.Record {
	m.deleteUppers(ctx, all)
	sandboxes := map[string]bool{}
	for i, r := range all {
		if r.Attachment != nil {
			sandboxes[r.Attachment.Sandbox.ID] = true
			all[i], _ = m.restore(ctx, r, path) // the error is reported, and tried again by Reconcile
		}
	}
	for sandbox := range sandboxes {
		m.unpinLocked(ctx, sandbox) // what stays is tried again by Reconcile
	}
	return all
}

// restore restores one link that is out, and returns its record as it is then,
// with what remains to be done as an error. The caller holds the claim.
func (m *restorer) restore(ctx context.Context, r allocation.Record, path string) (allocation.Record, error) {
	if !r.Device.HasLink() {
		return m.takeBack(ctx, r)
	}
	started := time.Now()
	res, gone, err := m.detach(ctx, r, path)
	giveUp := gone || r.Missing() && time.Since(r.MissingSince) >= m.cfg.MissingFor
	return m.update(ctx, r.Key(), OperationDetach, started, func(r allocation.Record) (allocation.Record, error) {
		if r.Attachment == nil {
			return r, nil
		}
		return r.Detached(res, err, giveUp, time.Now())
	})
}

// detach moves the link back and makes it as it was. gone reports whether the
// sandbox's namespace has ended.
func (m *restorer) detach(ctx context.Context, r allocation.Record, path string) (res netdev.Result, gone bool, err error) {
	host, err := netdev.Open("")
	if err != nil {
		return res, false, err
	}
	defer host.Close()
	ns, err := m.openSandbox(r, path)
	if err != nil {
		return res, false, err
	}
	if ns != nil {
		defer ns.Close()
		m.release(ns, r)
	}
	want, _, _ := netdev.Desired(r.Device.Link, r.Attachment.Original, r.Config) // the attach has checked it
	want.Name = r.Attachment.Name
	plan := netdev.Plan{ID: r.Attachment.ID, Original: r.Attachment.Original, Want: want, Programs: m.programs(r.Attachment.ID)}
	peer, err := m.otherEnd(r)
	if err != nil {
		return res, false, err
	}
	if peer != nil {
		defer peer.ns.Close()
		plan.PeerNS, plan.PeerIndex = peer.ns, peer.index
	}
	all, err := netdev.Detach(ctx, host, ns, []netdev.Plan{plan})
	if err != nil {
		return res, false, err
	}
	return all[0], ns == nil, nil
}

// place is where a link is.
type place struct {
	ns    *netdev.NetNS
	index int
}

// otherEnd returns where the link's other end is, if another pod has that.
func (m *restorer) otherEnd(r allocation.Record) (*place, error) {
	if r.Attachment.ID.Lower == 0 {
		return nil, nil
	}
	ends := m.records.store.Find(func(o allocation.Record) bool { return r.OtherEnd(o.Attachment) })
	if len(ends) != 1 {
		return nil, nil
	}
	ns, err := m.openSandbox(ends[0], "")
	if ns == nil || err != nil {
		return nil, err
	}
	return &place{ns, ends[0].Attachment.ID.PodIndex}, nil
}

// deleteUppers deletes what pods have made on links that are about to be
// restored, all of one sandbox at a time. What it leaves, detach deletes.
func (m *restorer) deleteUppers(ctx context.Context, all []allocation.Record) {
	for _, r := range withoutFunctions(all) {
		if r.Attachment == nil {
			continue
		}
		ns, err := m.openSandbox(r, "")
		if ns == nil || err != nil {
			continue
		}
		if err := ns.DeleteUppers(ctx, r.Attachment.ID); err != nil {
			m.changed(Change{Before: r, After: r, Err: fmt.Errorf("delete what the pod made on %s: %w", r, err)})
		}
		ns.Close()
	}
}
