package driver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/nri/pkg/api"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// attach moves the links into the pod's sandbox: all of them, or none. The
// caller holds the book.
func (d *Driver) attach(ctx context.Context, pod *api.PodSandbox, all []allocation.Record) error {
	// Those that are there already stay as they are.
	all = slices.DeleteFunc(all, func(a allocation.Record) bool { return a.AttachedTo(pod.Id) })
	if len(all) == 0 {
		return nil
	}
	if err := d.attempts.wait(all, pod); err != nil {
		return err // nothing is touched, and the claims said so after the last attempt
	}
	err := d.takeOver(ctx, pod, all)
	if err == nil {
		err = d.attempts.note(all, pod, d.tryAttach(ctx, pod, all))
	}
	for _, a := range all {
		d.metrics.moved("attach", err)
		if err != nil && d.reload(a).Original == nil { // else it is another pod's, or detach has told what is wrong
			d.status.detached(a, v1alpha1.ReasonAttachFailed, err.Error(), nil)
		}
	}
	return err
}

// takeOver restores those of the links that are in the pod's last sandbox,
// or in another pod's, whose end we did not see, or were on their way in an
// attach that was cut off.
func (d *Driver) takeOver(ctx context.Context, pod *api.PodSandbox, all []allocation.Record) error {
	for i, a := range all {
		if a.Original == nil {
			continue
		}
		gone := d.ended(a) || a.PodLink == (allocation.PodLink{}) && lifeOf(a) == lifeGone
		if a.Attached != nil && a.Sandbox != pod.Id && a.PodUID != pod.Uid && !gone {
			return fmt.Errorf("link %s of claim %s/%s is not in this pod: another pod has it, and a link can be in one only", a.Device.Link.Name, a.Claim.Namespace, a.Claim.Name)
		}
		if a.Attached != nil {
			a = a.SupersededBy(a.Sandbox)
		}
		d.detach(ctx, []allocation.Record{a}, "")
		if all[i] = d.reload(a); all[i].Original != nil {
			return fmt.Errorf("link %s of claim %s/%s is not home yet", a.Device.Link.Name, a.Claim.Namespace, a.Claim.Name)
		}
	}
	return nil
}

// tryAttach moves the links, all of which are on the host.
func (d *Driver) tryAttach(ctx context.Context, pod *api.PodSandbox, all []allocation.Record) error {
	path := netnsPath(pod)
	if path == "" {
		return errHostNetwork
	}
	host, err := netdev.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	ns, err := netdev.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	if ns.Cookie() == host.Cookie() {
		return errHostNetwork
	}
	if err := ns.Pin(d.pin(pod.Id)); err != nil {
		return err
	}
	return d.transfer(ctx, host, ns, pod, all)
}

// transfer notes how the links are, moves them, and notes how they became.
func (d *Driver) transfer(ctx context.Context, host, ns *netdev.NetNS, pod *api.PodSandbox, all []allocation.Record) error {
	found, err := d.readToMove(ctx, host, all)
	if err != nil {
		return d.abandon(ctx, nil, pod.Id, err)
	}
	plans := make([]netdev.Plan, 0, len(all))
	for i, a := range all {
		before := found[i].state
		want, left, err := netdev.Desired(found[i].link, before, a.Config)
		if err != nil {
			return d.abandon(ctx, all[:i], pod.Id, err)
		}
		a.ID.Lower = found[i].link.Lower // since Prepare its other end may have moved
		a.Original, a.Want, a.Omitted = &before, &want, left
		a.Sandbox, a.NetNS, a.NetNSCookie, a.PodUID = pod.Id, ns.String(), ns.Cookie(), pod.Uid
		a.PodLink = networkOf(ns)
		all[i] = a
		if err := d.store.Put(a); err != nil {
			return d.abandon(ctx, all[:i+1], pod.Id, err)
		}
		plans = append(plans, a.Plan())
	}
	started := time.Now()
	done, err := netdev.Attach(ctx, host, ns, plans)
	if err == nil {
		err = ctx.Err() // the runtime has given the pod up by now
	}
	if err != nil {
		return d.abandon(ctx, all, pod.Id, err)
	}
	for i, got := range done {
		a := all[i].Found()
		a.ID, a.Attached, a.Base, a.AttachedAt = got.ID, &got.State, got.Base, time.Now().UTC().Truncate(time.Second)
		a.Omitted = append(a.Omitted, got.Omitted...)
		if all[i] = a; d.store.Put(a) != nil {
			return d.abandon(ctx, all, pod.Id, fmt.Errorf("the book cannot be written in %s", d.cfg.StateDir))
		}
	}
	for _, a := range all {
		d.status.attached(a, a.Base)
		klog.FromContext(ctx).Info("Attached link", "link", a.Device.Link.Name, "as", a.Attached.Name, "claim", klog.KRef(a.Claim.Namespace, a.Claim.Name), "took", time.Since(started), "omitted", a.Omitted)
	}
	return nil
}

// abandon brings everything home after a failed attach and returns its error
// with whatever went wrong on the way back.
func (d *Driver) abandon(ctx context.Context, touched []allocation.Record, sandbox string, cause error) error {
	klog.FromContext(ctx).Error(cause, "Attach failed, bringing all links home")
	for _, a := range touched {
		if a.Original == nil {
			continue
		}
		if err := d.detach(context.WithoutCancel(ctx), []allocation.Record{a}, ""); err != nil {
			cause = errors.Join(cause, err)
		}
	}
	return errors.Join(cause, d.unpin(sandbox))
}

func (d *Driver) pin(sandbox string) string { return filepath.Join(d.cfg.StateDir, "netns", sandbox) }

// reload returns the allocation as the book has it now.
func (d *Driver) reload(a allocation.Record) allocation.Record {
	if now, ok := d.find(a.Claim.UID, a.Device.Name); ok {
		return now
	}
	return a
}

// find returns the allocation of a device to a claim.
func (d *Driver) find(claimUID, device string) (a allocation.Record, ok bool) {
	found := d.store.Find(func(a allocation.Record) bool { return a.Claim.UID == claimUID && a.Device.Name == device })
	if len(found) == 0 {
		return a, false
	}
	return found[0], true
}
