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
}

// Observe looks at all links that are in pods, records which have left and
// which are back, and which sandboxes have ended, and returns what it saw.
func (e *Engine) Observe(ctx context.Context) []Observation {
	attached := e.Store.Find(func(r allocation.Record) bool { return r.Attached() })
	all := make([]Observation, 0, len(attached))
	latest := make(map[allocation.Key]Observation, len(attached))
	for _, r := range attached {
		l, err := e.inspect(ctx, r)
		if now, changed := e.recheck(ctx, r, err); changed {
			if r = now; !r.Attached() {
				continue
			}
		}
		o := Observation{r, l, err, time.Now()}
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
	return o, ok && r.Attached() && o.Record.AttachedTo(r.Attachment.Sandbox.ID) && o.Record.Attachment.Since.Equal(r.Attachment.Since)
}

// recheck records what a look at an attached link has shown: that it is not in
// its pod, or back, or that its sandbox has ended. It looks again with the claim
// held, since the link may just have been on its way back. One that has come to
// the host by itself, as hardware does when the namespace ends into which a pod
// moved it, is restored.
func (e *Engine) recheck(ctx context.Context, r allocation.Record, seen error) (now allocation.Record, changed bool) {
	gone := errors.Is(seen, netdev.ErrNotFound)
	if gone == r.Missing() && e.ended(r) == r.Attachment.SandboxEnded && !gone {
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
	_, err = e.inspect(ctx, now)
	gone = errors.Is(err, netdev.ErrNotFound)
	ended := e.ended(now)
	switch {
	case gone && isOnHost(ctx, now):
		return e.restoreAll(ctx, []allocation.Record{now}, "")[0], true
	case err != nil && !gone, gone == now.Missing() && (gone || ended == now.Attachment.SandboxEnded):
		return now, true
	}
	now, _ = e.transition(ctx, now.Key(), func(r allocation.Record) allocation.Record { return r.Seen(!gone, ended, time.Now()) })
	return now, true
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

// inspect reads a link that is in a pod.
func (b *sandboxes) inspect(ctx context.Context, r allocation.Record) (netdev.Link, error) {
	ns, err := b.openSandbox(r, "")
	if err != nil {
		return netdev.Link{}, err
	}
	if ns == nil {
		return netdev.Link{}, netdev.ErrNotFound
	}
	defer ns.Close()
	return netdev.Inspect(ctx, ns, r.Attachment.ID)
}
