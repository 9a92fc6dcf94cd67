package driver

import (
	"context"
	"errors"
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"k8s.io/klog/v2"
)

// scan publishes the inventory until ctx ends.
func (d *Driver) scan(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	select {
	case <-d.nodes.known: // else the node's own link might be offered
	case <-ctx.Done():
		return ctx.Err()
	}
	return inventory.Run(ctx, inventory.RunConfig{
		Links: netdev.Links, Watch: netdev.Watch, Sys: d.cfg.Sys,
		Options: d.scanOptions,
		OnError: func(err error) { logger.Error(err, "Failed to read the inventory; will retry") },
	}, func(devices []inventory.Device) { d.slices.publish(ctx, devices) })
}

func (d *Driver) scanOptions() inventory.Options {
	return inventory.Options{NodeAddresses: d.nodes.get(), Filter: d.cfg.Filter, Include: d.cfg.Include, Multus: d.cfg.Multus, Held: devicesOf(d.store.All(), anyRecord)}
}

// device returns the device of a name as it is on the host, with the attributes
// that an administrator adds: containers read them as device metadata.
func (d *Driver) device(ctx context.Context, name string) (inventory.Device, error) {
	dev, ok := findDevice(exclude(d.slices.scanned(), d.store.All()), name)
	if !ok || dev.Skipped != "" { // it may have come, or been mended, since the last scan
		links, err := netdev.Links(ctx)
		if err != nil {
			return dev, err
		}
		dev, ok = findDevice(exclude(inventory.Scan(links, d.cfg.Sys, d.scanOptions()), d.store.All()), name)
	}
	switch {
	case !ok:
		return dev, errors.New("not on this node (any more)")
	case dev.Skipped != "":
		return dev, fmt.Errorf("%s is not offered (any more): %s", dev, dev.Skipped)
	}
	with, _ := d.added.get().Apply([]inventory.Device{dev})
	return with[0], nil
}
