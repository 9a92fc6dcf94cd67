package attachment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

var errHostNetwork = errors.New("the pod uses the host's network (hostNetwork: true), into which no interface can be moved")

const busyPoll = 2 * time.Millisecond // between two tries to lock the claims of a pod

// Attach begins to move the pod's links into its sandbox: all of them, or none.
// When it returns nil, all that can fail for a reason of the claims was checked,
// the records hold how the links were, and a job moves them. Of the sandbox it
// wants the ID, the pod and the path of its network namespace. An error has
// moved nothing.
func (e *Engine) Attach(ctx context.Context, s allocation.Sandbox) error {
	all, unlock, err := e.toAttach(ctx, s)
	if err != nil || len(all) == 0 {
		return err
	}
	if err := e.attempts.wait(all, s); err != nil {
		unlock()
		return err // nothing is touched, and the claims said so after the last attempt
	}
	started := time.Now()
	t, err := e.begin(ctx, s, all)
	if err != nil {
		defer unlock()
		return e.failed(ctx, started, s, keysOf(all), err)
	}
	if t == nil { // devices without an interface only: they have been given
		unlock()
		return nil
	}
	if !e.jobs.start(s.ID, func(ctx context.Context) func() {
		defer t.close()
		e.run(ctx, t)
		return unlock
	}) { // one that waits to resume an attach to this sandbox: it goes on with this one
		t.close()
		unlock()
	}
	return nil
}

// toAttach returns the records of those of the pod's links that neither are in
// the sandbox nor on their way there, with their claims locked. Where another
// process, or another call, is about to begin the attach it waits until that is
// recorded: it does not wait for the links to arrive.
func (e *Engine) toAttach(ctx context.Context, s allocation.Sandbox) (all []allocation.Record, unlock func(), err error) {
	find := func() []allocation.Record {
		return slices.DeleteFunc(e.Store.OfPod(s.PodUID), func(r allocation.Record) bool { return r.AttachedTo(s.ID) })
	}
	for {
		all = find()
		uids := e.claims(all)
		unlock, err := e.Store.TryLockClaims(uids...)
		if err != nil && !slices.ContainsFunc(all, func(r allocation.Record) bool { return !r.AttachingTo(s.ID) }) {
			e.resume(s) // should the other process not finish it
			return nil, nil, nil
		}
		if err == nil {
			if all = find(); len(all) > 0 && slices.Equal(e.claims(all), uids) {
				return all, unlock, nil
			}
			unlock()
			if len(all) == 0 {
				return nil, nil, nil
			}
		}
		select {
		case <-time.After(busyPoll):
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("wait for the claims of the pod, whose interfaces are being moved: %w", ctx.Err())
		}
	}
}
