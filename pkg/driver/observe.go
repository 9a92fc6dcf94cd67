package driver

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

const (
	jitter       = 0.1              // of the status interval, either way, so that nodes do not write together
	observeEvery = 10 * time.Second // the kubelet forgets health that is older than three times that
)

// observe looks at the links in pods until ctx ends. What it sees is read by
// the claims' status, by the health reports and by metrics.
func (d *Driver) observe(ctx context.Context) error {
	period := observeEvery
	if i := d.cfg.StatusInterval; i > 0 && i < period {
		period = i
	}
	next := time.Now()
	return every(ctx, period, func(ctx context.Context) {
		seen := d.engine.Observe(ctx)
		for _, o := range seen {
			if o.Err != nil && !errors.Is(o.Err, netdev.ErrNotFound) {
				klog.FromContext(ctx).Error(o.Err, "Failed to read an interface in a pod", "interface", o.Record.Device.Link.Name)
			}
		}
		if d.cfg.StatusInterval <= 0 || time.Now().Before(next) {
			return
		}
		next = time.Now().Add(time.Duration(float64(d.cfg.StatusInterval)*(1-jitter+2*jitter*rand.Float64())) - period/2)
		for _, o := range seen {
			d.status.add(o.Record.Claim.UID)
		}
	})
}
