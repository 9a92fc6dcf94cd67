package attachment

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

// Prepare records the devices of one claim, once each was checked against the
// kernel. A device that is recorded already keeps what its record says, but for
// the pods that the claim is reserved for. On an error nothing is recorded.
func (e *Engine) Prepare(ctx context.Context, all []allocation.Record) error {
	all, err := e.resolve(all)
	if err != nil {
		return err
	}
	fresh := slices.DeleteFunc(slices.Clone(all), func(r allocation.Record) bool {
		_, known := e.Store.Get(r.Key())
		return known
	})
	if err := e.tryOut(ctx, fresh); err != nil {
		return err
	}
	if err := readVFs(fresh); err != nil {
		return err
	}
	for _, f := range fresh {
		i := slices.IndexFunc(all, func(r allocation.Record) bool { return r.Key() == f.Key() })
		all[i].OriginalVF = f.OriginalVF
	}
	if err := put(ctx, e, all); err != nil {
		return err
	}
	return setVFs(ctx, e, all, fresh)
}

// put records the devices of one claim, unless they are not to be had by now.
func put(ctx context.Context, e *Engine, all []allocation.Record) error {
	unlock, err := e.Store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := e.checkHeld(all); err != nil {
		return err
	}
	if err := e.checkPFs(all); err != nil {
		return err
	}
	if err := e.checkNames(all); err != nil {
		return err
	}
	if err := e.checkPool(all); err != nil {
		return err
	}
	for _, r := range all {
		before, known := e.Store.Get(r.Key())
		if known {
			before := before
			before.Pods, before.Released = r.Pods, false
			r = before
		}
		if known && reflect.DeepEqual(before, r) {
			continue
		}
		if err := e.Store.Put(r); err != nil {
			return err
		}
		e.changed(Change{Before: before, After: r})
	}
	return nil
}

// Reserve records the pods that a claim is reserved for by now.
func (e *Engine) Reserve(ctx context.Context, claimUID string, pods []allocation.Ref) error {
	var errs []error
	for _, r := range e.Store.OfClaim(claimUID) {
		if !reflect.DeepEqual(r.Pods, pods) {
			_, err := e.transition(ctx, r.Key(), func(r allocation.Record) allocation.Record { r.Pods = pods; return r })
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
