package attachment

import (
	"context"
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
)

// records changes the records and reports each change.
type records struct {
	store   *allocation.Store
	changed func(Change)
}

// update changes a record and reports it. The error of change is reported and
// returned, and does not keep the record from being stored.
func (c *records) update(ctx context.Context, k allocation.Key, operation string, started time.Time, change func(allocation.Record) (allocation.Record, error)) (allocation.Record, error) {
	var failed error
	before, after, err := c.store.Update(context.WithoutCancel(ctx), k, func(r allocation.Record) allocation.Record {
		r, failed = change(r)
		return r
	})
	if failed == nil {
		failed = err
	}
	if err != nil {
		after = before
	}
	report := Change{Before: before, After: after, Operation: operation, Err: failed}
	if operation != "" {
		report.Duration = time.Since(started)
	}
	c.changed(report)
	return after, failed
}

// transition is update for a change that cannot fail.
func (c *records) transition(ctx context.Context, k allocation.Key, change func(allocation.Record) allocation.Record) (allocation.Record, error) {
	return c.update(ctx, k, "", time.Time{}, func(r allocation.Record) (allocation.Record, error) { return change(r), nil })
}

// lock locks the claims of the records that find returns, and returns those.
func (c *records) lock(ctx context.Context, find func() []allocation.Record) (all []allocation.Record, unlock func(), err error) {
	return c.lockBy(find, func(uids ...string) (func(), error) { return c.store.LockClaims(ctx, uids...) })
}

// tryLock is lock that does not wait: an error means that somebody holds a claim.
func (c *records) tryLock(find func() []allocation.Record) (all []allocation.Record, unlock func(), err error) {
	return c.lockBy(find, c.store.TryLockClaims)
}

func (c *records) lockBy(find func() []allocation.Record, lock func(uids ...string) (func(), error)) (all []allocation.Record, unlock func(), err error) {
	for {
		uids := c.claims(find())
		unlock, err := lock(uids...)
		if err != nil {
			return nil, nil, err
		}
		all := find() // while the locks were waited for there may have come more
		if !slices.ContainsFunc(c.claims(all), func(uid string) bool { return !slices.Contains(uids, uid) }) {
			return all, unlock, nil
		}
		unlock()
	}
}

// claims returns the claims to lock for these records: their own, and those of
// links that are the other ends of theirs.
func (c *records) claims(all []allocation.Record) []string {
	var uids []string
	for _, r := range all {
		uids = append(uids, r.Claim.UID)
		if r.Attachment == nil || r.Attachment.ID.Lower == 0 {
			continue
		}
		for _, o := range c.store.Find(func(o allocation.Record) bool { return r.OtherEnd(o.Attachment) }) {
			uids = append(uids, o.Claim.UID)
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}

// get returns the records of the keys that are still there, as they are now.
func (c *records) get(keys []allocation.Key) []allocation.Record {
	all := make([]allocation.Record, 0, len(keys))
	for _, k := range keys {
		if r, ok := c.store.Get(k); ok {
			all = append(all, r)
		}
	}
	return all
}

// keysOf returns the records' keys.
func keysOf(all []allocation.Record) []allocation.Key {
	keys := make([]allocation.Key, 0, len(all))
	for _, r := range all {
		keys = append(keys, r.Key())
	}
	return keys
}
