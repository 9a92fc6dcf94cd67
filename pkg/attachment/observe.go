package attachment

import (
	"context"
	"errors"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Observation is a link in a pod as it was seen last.
type Observation struct {
	Record allocation.Record
	Link   netdev.Link
	Err    error // netdev.ErrNotFound if it is not in the pod
	Time   time.Time
	RDMA   map[string]uint64 // counters of its RDMA port, by name
}

// Observe looks at all links that are in pods, records which have left and
// which are back, and which sandboxes have ended, and returns what it saw.
func (e *Engine) Observe(ctx context.Context) []Observation {
	attached := e.Store.Find(func(r allocation.Record) bool { return r.Attached() })
	all := make([]Observation, 0, len(attached))
	latest := make(map[allocation.Key]Observation, len(attached))
	seen := map[string]*view{}
	defer func() {
		for _, v := range seen {
			v.close()
		}
	}()
	for _, r := range attached {
		v := seen[r.Attachment.Sandbox.ID]
		if v == nil {
			v = e.look(r)
			seen[r.Attachment.Sandbox.ID] = v
		}
		if !r.Device.HasLink() {
			if o := e.observeFunction(ctx, r, v.ended); sameAttachment(r, o.Record) {
				all = append(all, o)
				latest[r.Key()] = o
			}
			continue
		}
		l, err := v.inspect(ctx, r)
		if now, changed := e.recheck(ctx, r, err, v.ended); changed {
			if !sameAttachment(r, now) {
				continue // what was seen is not of what is there by now
			}
			r = now
		}
		o := Observation{Record: r, Link: l, Err: err, Time: time.Now()}
		if err == nil && v.ns != nil {
			o.RDMA = v.ns.RDMACounters(r.Attachment.InPod.State)
		}
		all = append(all, o)
		latest[r.Key()] = o
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.latest = latest
	return all
}

// Latest returns what Observe saw last of a device, if that was in the same
// attachment.
func (e *Engine) Latest(r allocation.Record) (Observation, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o, ok := e.latest[r.Key()]
	return o, ok && sameAttachment(o.Record, r)
}

// sameAttachment reports whether both records are of one time of the link in
// one sandbox.
func sameAttachment(a, b allocation.Record) bool {
	return a.Attached() && b.AttachedTo(a.Attachment.Sandbox.ID) && a.Attachment.Since.Equal(b.Attachment.Since)
}

// recheck records what a look at an attached link has shown: that it is not in
// its pod, or back, or that its sandbox has ended. It looks again with the claim
// held, since the link may just have been on its way back. One that has come to
// the host by itself, as hardware does when the namespace ends into which a pod
// moved it, is restored.
func (e *Engine) recheck(ctx context.Context, r allocation.Record, seen error, ended bool) (now allocation.Record, changed bool) {
	gone := errors.Is(seen, netdev.ErrNotFound)
	if !gone && !r.Missing() && ended == r.Attachment.SandboxEnded {
		return r, false
	}
	unlock, err := e.Store.TryLockClaims(e.claims([]allocation.Record{r})...)
	if err != nil {
		return r, false
	}
	defer unlock()
	now, ok := e.Store.Get(r.Key())
	if !ok || !now.AttachedTo(r.Attachment.Sandbox.ID) {
		return now, true
	}
	v := e.look(now)
	defer v.close()
	_, err = v.inspect(ctx, now)
	gone = errors.Is(err, netdev.ErrNotFound)
	ended = v.ended
	switch {
	case gone && isOnHost(ctx, now):
		return e.restoreAll(ctx, []allocation.Record{now}, "")[0], true
	case err != nil && !gone, gone == now.Missing() && (gone || ended == now.Attachment.SandboxEnded):
		return now, true
	}
	now, _ = e.transition(ctx, now.Key(), func(r allocation.Record) allocation.Record { return r.Seen(missing(err), ended, time.Now()) })
	return now, true
}

// missing returns an error that says that a link is missing, and no other.
func missing(err error) error {
	if errors.Is(err, netdev.ErrNotFound) {
		return err
	}
	return nil
}

// isOnHost reports whether the link is on the host though a pod should have it.
func isOnHost(ctx context.Context, r allocation.Record) bool {
	host, err := netdev.Open("")
	if err != nil {
		return false
	}
	defer host.Close()
	_, _, err = netdev.Read(ctx, host, r.Attachment.ID)
	return err == nil
}

// view is a sandbox that is being looked at.
type view struct {
	ns    *netdev.NetNS // nil when it is gone
	err   error         // why that is not known
	ended bool          // as of sandboxes.ended
}

// look opens the sandbox of an attachment.
func (b *sandboxes) look(r allocation.Record) *view {
	v := &view{}
	v.ns, v.err = b.openSandbox(r, "")
	if link := r.Attachment.Sandbox.PodLink; link != (allocation.PodLink{}) && v.err == nil {
		v.ended = v.ns == nil || hasEnded(v.ns, link)
	}
	return v
}

func (v *view) close() {
	if v.ns != nil {
		v.ns.Close()
	}
}

// inspect reads a link that is in the sandbox.
func (v *view) inspect(ctx context.Context, r allocation.Record) (netdev.Link, error) {
	switch {
	case v.err != nil:
		return netdev.Link{}, v.err
	case v.ns == nil:
		return netdev.Link{}, netdev.ErrNotFound
	}
	return netdev.Inspect(ctx, v.ns, r.Attachment.ID)
}
