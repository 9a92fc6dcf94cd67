package attachment

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	retryFirst = time.Second // before the second try of a job; then twice as long each
	// spare is kept of a job's time for bringing everything back.
	spare = 3 * time.Second
)

// passing are the kernel's errors that another try may not meet again.
var passing = []error{
	syscall.EAGAIN, syscall.EBUSY, syscall.EINTR, syscall.ENOBUFS, syscall.ENOMEM, syscall.ETIMEDOUT,
}

// errSandboxEnded is why a job stops whose sandbox has ended.
var errSandboxEnded = errors.New("the pod's sandbox has ended")

// run moves the links, records the result, and tries again after an error that
// may pass. When its time is up, or the sandbox has ended, all is restored.
func (m *attacher) run(ctx context.Context, t *transfer) {
	ctx, cancel := context.WithDeadline(ctx, t.deadline)
	defer cancel()
	for pause := retryFirst; ; pause *= 2 {
		done, err := netdev.Attach(ctx, t.host, t.pod, t.plans)
		if err == nil && ctx.Err() == nil {
			err = m.lease(ctx, t, done)
		}
		if err == nil && ctx.Err() == nil {
			m.announce(t, done)
			if err = m.attached(ctx, t, done); err == nil {
				return
			}
		}
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		may := slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
		if ctx.Err() != nil || !may || time.Until(t.deadline) < pause+spare {
			m.giveUp(ctx, t, err)
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		case <-m.jobs.life.Done():
			return // the records say that the links are on their way: the next process goes on
		}
	}
}

// attached records the links as they were read back in the pod, once what
// containers read of them is written.
func (m *attacher) attached(ctx context.Context, t *transfer, done []netdev.Attached) error {
	all := m.get(t.keys)
	for i, r := range all {
		all[i] = r.AttachDone(done[i], time.Now())
	}
	if err := m.arrived(all); err != nil {
		return err
	}
	for i, k := range t.keys {
		_, err := m.update(ctx, k, OperationAttach, t.started, func(r allocation.Record) (allocation.Record, error) {
			return r.AttachDone(done[i], time.Now()), nil
		})
		if err != nil {
			return err
		}
	}
	m.attempts.note(m.get(t.keys), t.sandbox, nil)
	return nil
}

// giveUp restores what the transfer may have moved and records why. That the
// attach is given up is recorded first: a container that waits for it must not
// begin.
func (m *attacher) giveUp(ctx context.Context, t *transfer, cause error) {
	for _, k := range t.keys {
		m.transition(ctx, k, allocation.Record.GiveUp)
	}
	for _, r := range m.get(t.keys) {
		if r.Attachment == nil {
			continue
		}
		if _, err := m.restore(ctx, r, ""); err != nil {
			cause = errors.Join(cause, err)
		}
	}
	cause = errors.Join(cause, m.unpinLocked(ctx, t.sandbox.ID))
	m.failed(ctx, t.started, t.sandbox, t.keys, cause)
}

// resume goes on with the attach of links into a sandbox that another process
// began, once it does so no more. The claims' locks show that.
func (m *attacher) resume(s allocation.Sandbox) {
	m.jobs.start(s.ID, func(ctx context.Context) (unlock func()) {
		waiting, cancel := m.jobs.untilClose(ctx)
		defer cancel()
		all, unlock, err := m.lock(waiting, func() []allocation.Record {
			return m.records.store.Find(func(r allocation.Record) bool { return r.AttachingTo(s.ID) })
		})
		if err != nil {
			return func() {} // the engine ends, or the sandbox has: then Detach is about to restore them
		}
		if len(all) == 0 {
			return unlock
		}
		t, err := m.again(all)
		if err == nil {
			defer t.close()
			m.run(ctx, t)
			return unlock
		}
		for _, r := range all {
			if _, restoreErr := m.restore(ctx, r, ""); restoreErr != nil {
				err = errors.Join(err, restoreErr)
			}
		}
		err = errors.Join(err, m.unpinLocked(ctx, s.ID))
		m.failed(ctx, time.Now(), s, keysOf(all), err)
		return unlock
	})
}

// again returns the transfer of links that are on their way into one sandbox,
// or an error if that has ended.
func (m *attacher) again(all []allocation.Record) (t *transfer, err error) {
	a := all[0].Attachment
	if m.ended(all[0]) {
		return nil, errSandboxEnded
	}
	pod, err := m.openSandbox(all[0], "")
	if err != nil {
		return nil, err
	}
	if pod == nil {
		return nil, errSandboxEnded
	}
	host, err := netdev.Open("")
	if err != nil {
		pod.Close()
		return nil, err
	}
	t = &transfer{sandbox: a.Sandbox, host: host, pod: pod, deadline: a.Deadline, started: time.Now()}
	for _, r := range all {
		want, _, err := netdev.Desired(r.Device.Link, r.Attachment.Original, r.Config)
		if err != nil {
			t.close()
			return nil, err
		}
		t.keys = append(t.keys, r.Key())
		t.plans = append(t.plans, netdev.Plan{ID: r.Attachment.ID, Original: r.Attachment.Original, Want: want, Programs: m.programs(r.Attachment.ID)})
	}
	return t, nil
}
