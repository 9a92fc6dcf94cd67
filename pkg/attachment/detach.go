package attachment

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

// missingFor is how long a virtual link must be missing before its record is
// given up, and with it the pin that may be all that keeps the link alive.
const missingFor = time.Minute

// Detach begins to restore the links of a sandbox that ends. When it returns,
// the links are down in the sandbox, so that its addresses answer no more, or
// ctx has ended; a job restores them. The job holds the claims by then, so that
// an attach that follows waits for it; while an attach to this sandbox holds
// them, which ends now, the job comes after that. Detach is harmless for a
// sandbox without links.
func (e *Engine) Detach(ctx context.Context, s allocation.Sandbox) {
	find := func() []allocation.Record { return e.Store.InSandbox(s.ID) }
	out := find()
	if len(out) == 0 {
		return
	}
	e.jobs.stop(s.ID)
	all, unlock, err := e.tryLock(find)
	down := make(chan struct{})
	e.jobs.running.Go(func() {
		e.setDown(out, s.NetNS)
		close(down)
		if err != nil {
			if all, unlock, err = e.lock(e.jobs.life, find); err != nil {
				return // the engine has ended: the next one's Reconcile, or Release, does it
			}
		}
		defer unlock()
		all = slices.DeleteFunc(all, func(r allocation.Record) bool { return r.NotRestored() && onlyNameLeft(r) })
		e.restoreAll(context.Background(), all, s.NetNS)
	})
	select {
	case <-down:
	case <-ctx.Done():
	}
}

// Release restores the links of a claim that has ended and removes its
// records. One that is not there is success, and one whose link is in a pod
// that still runs is an error. The record of a link that is not restored stays,
// and its device unoffered, until it is.
func (e *Engine) Release(ctx context.Context, claimUID string) error {
	find := func() []allocation.Record { return e.Store.OfClaim(claimUID) }
	if err := inUse(find()); err != nil {
		return err
	}
	for _, r := range find() {
		if r.Attaching() {
			e.jobs.stop(r.Attachment.Sandbox.ID)
		}
	}
	all, unlock, err := e.lock(ctx, find)
	if err != nil {
		return err
	}
	defer unlock()
	if err := inUse(all); err != nil { // a sandbox was made meanwhile
		return err
	}
	var errs []error
	for _, r := range e.restoreAll(ctx, all, "") {
		if r.Attachment == nil {
			err := e.remove(ctx, r)
			if kept, ok := e.Store.Get(r.Key()); err != nil && ok && kept.Released {
				e.changed(Change{Before: r, After: kept, Err: err}) // Reconcile tries it again
				err = nil
			}
			errs = append(errs, err)
			continue
		}
		_, err := e.transition(ctx, r.Key(), func(r allocation.Record) allocation.Record { r.Released = true; return r })
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// remove removes a record of a claim that has ended. The caller holds the claim.
func (e *Engine) remove(ctx context.Context, r allocation.Record) error {
	if err := restoreVF(ctx, e.records, r); err != nil {
		return err
	}
	unlock, err := e.Store.Lock(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer unlock()
	if err := e.Store.Release(r.Key()); err != nil {
		return err
	}
	e.changed(Change{Before: r, After: r, Removed: true})
	if len(e.Store.OfClaim(r.Claim.UID)) > 0 {
		return nil
	}
	e.attempts.forget(r.Claim.UID)
	return e.Store.ForgetClaim(r.Claim.UID)
}
