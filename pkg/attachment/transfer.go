package attachment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// attacher moves links into sandboxes.
type attacher struct {
	*records
	*sandboxes
	*restorer
	*checks
	jobs     *jobs
	attempts *attempts
	timeout  time.Duration
	arrived  func([]allocation.Record) error
}

// transfer is what a job needs to move links.
type transfer struct {
	sandbox   allocation.Sandbox
	host, pod *netdev.NetNS
	keys      []allocation.Key
	plans     []netdev.Plan
	deadline  time.Time
	started   time.Time
}

func (t *transfer) close() {
	t.host.Close()
	t.pod.Close()
}

// begin checks that the links can be moved into the sandbox, pins it and
// records how they are, and gives the pod the devices without an interface. It
// returns nil if there are no others. On an error nothing is recorded or pinned.
// The caller holds the claims.
func (m *attacher) begin(ctx context.Context, s allocation.Sandbox, all []allocation.Record) (*transfer, error) {
	all, err := m.takeOver(ctx, s, all)
	if err != nil {
		return nil, err
	}
	links, functions := split(all)
	if len(links) == 0 {
		if s, err = sandboxOnly(s); err != nil {
			return nil, err
		}
		if err = m.give(ctx, s, functions); err == nil {
			m.attempts.note(functions, s, nil)
		}
		return nil, err
	}
	t, err := m.open(s)
	if err != nil {
		return nil, err
	}
	if err = m.checkFunctions(ctx, functions); err == nil {
		err = m.plan(ctx, t, links)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	if err := m.give(ctx, t.sandbox, functions); err != nil {
		for _, k := range t.keys { // none of them was touched
			_, undone := m.transition(ctx, k, allocation.Record.Untouched)
			err = errors.Join(err, undone)
		}
		t.close()
		return nil, errors.Join(err, m.unpinLocked(ctx, s.ID))
	}
	return t, nil
}

// open opens both sides of a transfer into a sandbox.
func (m *attacher) open(s allocation.Sandbox) (*transfer, error) {
	if s.NetNS == "" {
		return nil, errHostNetwork
	}
	host, err := netdev.Open("")
	if err != nil {
		return nil, err
	}
	pod, err := netdev.Open(s.NetNS)
	if err != nil {
		host.Close()
		return nil, err
	}
	t := &transfer{sandbox: s, host: host, pod: pod, started: time.Now(), deadline: time.Now().Add(m.timeout)}
	if pod.Cookie() == host.Cookie() {
		t.close()
		return nil, errHostNetwork
	}
	t.sandbox.NetNS, t.sandbox.Cookie, t.sandbox.PodLink = pod.String(), pod.Cookie(), networkOf(pod)
	return t, nil
}

// plan checks that the links can be moved as their records want, and records
// that they are about to be.
func (m *attacher) plan(ctx context.Context, t *transfer, all []allocation.Record) error {
	found, err := m.readOnHost(ctx, t.host, all)
	if err != nil {
		return err
	}
	begun := make([]func(allocation.Record) allocation.Record, len(all))
	for i := range all {
		r, err := m.renumber(t.pod, all[i], all)
		if err != nil {
			return err
		}
		all[i] = r
		want, omitted, err := netdev.Desired(found[i].link, found[i].state, r.Config)
		if err != nil {
			return fmt.Errorf("device %s: %w", r.Device.Name, err)
		}
		id := r.ID()
		id.Lower = found[i].link.Lower // since Prepare its other end may have moved
		t.keys = append(t.keys, r.Key())
		t.plans = append(t.plans, netdev.Plan{ID: id, Original: found[i].state, Want: want, Programs: m.programs(id)})
		config := r.Config
		begun[i] = func(r allocation.Record) allocation.Record {
			r.Config = config
			return r.Begin(t.sandbox, id, found[i].state, omitted, t.deadline, time.Now())
		}
	}
	return m.record(ctx, t, begun)
}

// record pins the sandbox and records that the transfer has begun, in one go: a
// pin that no record mentions would be removed.
func (m *attacher) record(ctx context.Context, t *transfer, begun []func(allocation.Record) allocation.Record) error {
	unlock, err := m.records.store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.pod.Pin(m.pin(t.sandbox.ID)); err != nil {
		return err
	}
	for i, k := range t.keys {
		before, ok := m.records.store.Get(k)
		if !ok {
			err = fmt.Errorf("device %s of claim %s: %w", k.Device, k.ClaimUID, allocation.ErrNotFound)
		}
		after := before
		if err == nil {
			after = begun[i](before)
			err = m.records.store.Put(after)
		}
		if err != nil {
			for _, undone := range t.keys[:i] { // none of them was touched
				if r, ok := m.records.store.Get(undone); ok {
					err = errors.Join(err, m.records.store.Put(r.Untouched()))
				}
			}
			return errors.Join(err, m.unpin(t.sandbox.ID))
		}
		m.changed(Change{Before: before, After: after})
	}
	return nil
}

// takeOver restores those of the links that are in the pod's last sandbox, or
// in another pod's, whose end was not reported, or were on their way into one.
// It returns the records as they are then.
func (m *attacher) takeOver(ctx context.Context, s allocation.Sandbox, all []allocation.Record) ([]allocation.Record, error) {
	all = slices.Clone(all)
	for i, r := range all {
		if r.Attachment == nil {
			continue
		}
		has := r.Attachment.Sandbox
		if r.Attached() && has.ID != s.ID && has.PodUID != s.PodUID && !m.ended(r) && !(has.PodLink == allocation.PodLink{} && lifeOf(r) == lifeGone) {
			return nil, otherPod(r)
		}
		if r.Attached() {
			var err error
			if r, err = m.transition(ctx, r.Key(), func(r allocation.Record) allocation.Record { return r.Supersede(has.ID) }); err != nil {
				return nil, err
			}
		}
		r, err := m.restore(ctx, r, "")
		err = errors.Join(err, m.unpinLocked(ctx, has.ID))
		if r.Attachment != nil {
			return nil, errors.Join(fmt.Errorf("%s is not restored yet", r), err)
		}
		all[i] = r
	}
	return all, nil
}

// failed records why an attach failed, and returns the error with the
// time of the next attempt. What is on the host as it was gets the cause as its
// condition; the others' conditions say what is wrong with them.
func (m *attacher) failed(ctx context.Context, started time.Time, s allocation.Sandbox, keys []allocation.Key, cause error) error {
	cause = m.attempts.note(m.get(keys), s, cause)
	for _, k := range keys {
		m.update(ctx, k, OperationAttach, started, func(r allocation.Record) (allocation.Record, error) {
			return r.AttachFailed(cause, time.Now()), cause
		})
	}
	return cause
}
