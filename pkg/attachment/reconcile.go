package attachment

import (
	"context"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Reconcile compares the records with what is, and goes on with what is not
// done: attaches that another process was cut off from, links that are not
// restored though no pod needs them, sandboxes whose end was not reported, and
// pins that no record mentions. What another process is at work on is left to
// it.
func (e *Engine) Reconcile(ctx context.Context) error {
	for _, r := range e.Store.Find(unfinished) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.Attaching() && !r.Released {
			e.resume(r.Attachment.Sandbox)
			continue
		}
		if onlyNameLeft(r) {
			continue
		}
		e.retry(ctx, r.Key())
	}
	return e.dropPins(ctx)
}

// unfinished reports whether there may be something to do for a record.
func unfinished(r allocation.Record) bool {
	return r.NotRestored() || r.Attaching() || r.Released || r.Attachment != nil && r.Attachment.SandboxEnded
}

// retry restores one link, if that is still to be done, and removes its record
// if the claim has ended.
func (e *Engine) retry(ctx context.Context, k allocation.Key) {
	unlock, err := e.Store.TryLockClaims(e.claims(e.get([]allocation.Key{k}))...)
	if err != nil {
		return // whoever holds it is at work on it
	}
	defer unlock()
	r, ok := e.Store.Get(k)
	if !ok || !r.NotRestored() && !r.Released && !(r.Attachment != nil && r.Attachment.SandboxEnded && e.ended(r)) {
		return
	}
	if r = e.restoreAll(ctx, []allocation.Record{r}, "")[0]; r.Attachment != nil || !r.Released {
		return
	}
	if err := e.remove(ctx, r); err != nil {
		e.changed(Change{Before: r, After: r, Err: err})
	}
}

// onlyNameLeft reports whether all of a link is restored but its name, which
// another link of the host has, as its name or as an altname. Later changes on
// the host are left alone until the name is free.
func onlyNameLeft(r allocation.Record) bool {
	if r.Attachment == nil || !r.Attachment.HostNameTaken {
		return false
	}
	host, err := netdev.Open("")
	if err != nil {
		return false // the retry reports it
	}
	defer host.Close()
	l, err := host.LinkByName(r.Attachment.Original.Name)
	return err == nil && !slices.Contains(l.AltNames, r.Attachment.ID.Tag)
}
