package driver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	jitter      = 0.1              // of the status interval, either way, so nodes do not write together
	healthEvery = 10 * time.Second // the kubelet forgets what is older than three times that
)

// sample brings the statistics in the claims up to date every status interval,
// until ctx ends.
func (d *Driver) sample(ctx context.Context) error {
	if d.cfg.StatusInterval <= 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		wait := time.Duration(float64(d.cfg.StatusInterval) * (1 - jitter + 2*jitter*rand.Float64()))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		for _, a := range d.attachedNow() {
			d.sampleOne(ctx, a)
		}
	}
}

// sampleOne writes into the claim what a link in a pod has counted, or that it
// is not there any more.
func (d *Driver) sampleOne(ctx context.Context, a allocation.Record) {
	switch l, err := d.inspect(ctx, a); {
	case errors.Is(err, netdev.ErrNotFound) != a.Missing:
		d.confirm(ctx, a)
	case err == nil && !a.SandboxEnded:
		d.counted(ctx, a, l.Statistics)
	case err != nil && !a.Missing:
		klog.FromContext(ctx).Error(err, "Sample link", "link", a.Device.Link.Name)
	}
}

// counted writes into the claim what the link has counted, unless it has left
// the sandbox since it was looked at: the claim was told so, and must not hear
// of an attachment again that has ended.
func (d *Driver) counted(ctx context.Context, a allocation.Record, now v1alpha1.Statistics) {
	unlock, err := d.store.Lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	if latest, ok := d.find(a.Claim.UID, a.Device.Name); ok && latest.AttachedTo(a.Sandbox) && !latest.SandboxEnded {
		d.status.attached(latest, now)
	}
}

// look finds the links that have left their pods, and those that are back, and
// the sandboxes that have ended without a word from the runtime.
func (d *Driver) look(ctx context.Context) {
	for _, a := range d.attachedNow() {
		d.checkSandbox(ctx, a)
		if _, err := d.inspect(ctx, a); a.Missing || errors.Is(err, netdev.ErrNotFound) {
			d.confirm(ctx, a)
		}
	}
}

// confirm looks again with the book held, since the link may just have been on
// its way home, and notes whether it is lost. One that has come to the host by
// itself, as hardware does when the namespace ends into which a pod moved it,
// is made as it was.
func (d *Driver) confirm(ctx context.Context, a allocation.Record) {
	unlock, err := d.store.Lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	now, ok := d.find(a.Claim.UID, a.Device.Name)
	if !ok || now.Attached == nil {
		return
	}
	l, err := d.inspect(ctx, now)
	gone := errors.Is(err, netdev.ErrNotFound)
	if gone && d.isOnHost(ctx, now) {
		d.detach(ctx, []allocation.Record{now}, "")
		d.republishSoon(ctx)
		return
	}
	if gone == now.Missing || err != nil && !gone {
		return
	}
	if gone {
		now = d.lose(now)
		d.tell(now, v1alpha1.ReasonMissing, "the link is not in the pod any more: it was destroyed, or moved on by the pod", nil)
	} else {
		now = now.Found()
		d.status.attached(now, l.Statistics)
	}
	if err := d.store.Put(now); err != nil {
		klog.FromContext(ctx).Error(err, "Note that a link is lost, or back")
	}
	d.republishSoon(ctx)
}

// onHost says whether the link is on the host though a pod should have it.
func (d *Driver) isOnHost(ctx context.Context, a allocation.Record) bool {
	host, err := netdev.Open("")
	if err != nil {
		return false
	}
	defer host.Close()
	_, _, err = netdev.Read(ctx, host, a.ID)
	return err == nil
}

// lose returns the allocation of a link that is lost, which counts once.
func (d *Driver) lose(a allocation.Record) allocation.Record {
	if !a.Missing {
		d.metrics.missing.Inc()
		a.Missing, a.MissingSince = true, time.Now().UTC()
	}
	return a
}

func (d *Driver) attachedNow() []allocation.Record {
	return d.store.Find(func(a allocation.Record) bool { return a.Attached != nil })
}

// inspect reads a link that is in a pod.
func (d *Driver) inspect(ctx context.Context, a allocation.Record) (netdev.Link, error) {
	ns, err := d.openSandbox(a, "")
	if err != nil {
		return netdev.Link{}, err
	}
	if ns == nil {
		return netdev.Link{}, fmt.Errorf("link %s: the pod's network namespace is gone: %w", a.Device.Link.Name, netdev.ErrNotFound)
	}
	defer ns.Close()
	return netdev.Inspect(ctx, ns, a.ID)
}

// WatchHealthStatus implements kubeletplugin.DRAPlugin: it reports the links
// that are in pods, now and every ten seconds, until ctx ends.
func (d *plugin) WatchHealthStatus(ctx context.Context, reports chan<- kubeletplugin.DeviceHealthReport) error {
	every(ctx, healthEvery, func(ctx context.Context) {
		select {
		case reports <- d.health(ctx):
		case <-ctx.Done():
		}
	})
	return nil
}

func (d *Driver) health(ctx context.Context) kubeletplugin.DeviceHealthReport {
	var report kubeletplugin.DeviceHealthReport
	for _, a := range d.attachedNow() {
		h := kubeletplugin.DeviceHealth{PoolName: a.Pool, DeviceName: a.Device.Name, Health: kubeletplugin.HealthStatusHealthy, LastUpdated: time.Now(), HealthCheckTimeout: 3 * healthEvery}
		switch l, err := d.inspect(ctx, a); {
		case err != nil:
			h.Health, h.Message = kubeletplugin.HealthStatusUnhealthy, err.Error()
		case !l.Carrier:
			h.Health, h.Message = kubeletplugin.HealthStatusUnhealthy, fmt.Sprintf("link %s has no carrier", l.Name)
		}
		report.Devices = append(report.Devices, h)
	}
	return report
}
