package attachment

import (
	"context"
	"fmt"
	"io/fs"
	"reflect"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// checks are what must be true before a link is touched.
type checks struct {
	store   *allocation.Store
	sys     fs.ReadLinkFS
	options func() inventory.Options
}

// tryOut returns an error if a link of the host cannot be as its record wants
// it in the pod.
func (c *checks) tryOut(ctx context.Context, all []allocation.Record) error {
	if err := checkModes(all); err != nil {
		return err
	}
	all, functions := split(all)
	if err := c.checkFunctions(ctx, functions); err != nil || len(all) == 0 {
		return err
	}
	host, err := netdev.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	found, err := c.readOnHost(ctx, host, all)
	if err != nil {
		return err
	}
	for i, r := range all {
		if _, _, err := netdev.Desired(found[i].link, found[i].state, r.Config); err != nil {
			return fmt.Errorf("device %s: %w", r.Device.Name, err)
		}
	}
	return nil
}

// onHost is a link of the host, and all that is kept of it.
type onHost struct {
	link  netdev.Link
	state netdev.State
}

// readOnHost returns how the links are, all of which are on the host, or an
// error if one of them must stay there: between Prepare and a sandbox may lie
// hours. The reasons are the inventory's.
func (c *checks) readOnHost(ctx context.Context, host *netdev.NetNS, all []allocation.Record) ([]onHost, error) {
	links, err := host.Links()
	if err != nil {
		return nil, err
	}
	opts := c.options()
	found := make([]onHost, len(all))
	for i, r := range all {
		state, l, err := netdev.Read(ctx, host, r.ID())
		if err != nil {
			return nil, err
		}
		found[i] = onHost{l, state}
		if why := opts.Reason(links, c.sys, l.Index); why != "" {
			return nil, fmt.Errorf("interface %s of claim %s stays on the host: %s", l.Name, r.Claim, why)
		}
	}
	return found, nil
}

// checkHeld returns an error if another claim holds one of the devices.
func (c *checks) checkHeld(all []allocation.Record) error {
	for _, r := range all {
		held := c.store.Find(func(o allocation.Record) bool { return o.Device.Name == r.Device.Name && o.Key() != r.Key() })
		if len(held) > 0 {
			return fmt.Errorf("device %s: another claim holds it", r.Device.Name)
		}
	}
	return nil
}

// checkPFs returns an error if another claim holds the physical function of one
// of the devices, or a virtual one of it, or if a claim has both and is to have the
// physical function set something on the host.
func (c *checks) checkPFs(all []allocation.Record) error {
	for _, r := range all {
		for _, o := range c.store.Find(func(o allocation.Record) bool { return o.Claim.UID != r.Claim.UID }) {
			if why := r.Device.ControlledWith(o.Device); why != "" {
				return fmt.Errorf("device %s: %s to another claim", r.Device.Name, why)
			}
		}
		for _, o := range all {
			if why := r.Device.ControlledWith(o.Device); why != "" && !reflect.ValueOf(r.Config.VF).IsZero() {
				return fmt.Errorf("device %s: vf: %s to the claim too, and cannot be set from the host then", r.Device.Name, why)
			}
		}
	}
	return nil
}

// checkNames returns an error if two interfaces of one pod would have one name.
func (c *checks) checkNames(all []allocation.Record) error {
	for i, r := range all {
		for _, o := range c.beside(r, all[:i]) {
			if o.Interface() != r.Interface() || !r.Device.HasLink() || !o.Device.HasLink() {
				continue
			}
			const format = "interface.name: %q: device %s of claim %s has this name in the same pod; a template such as net%%d gives each its own"
			return fmt.Errorf(format, r.Interface(), o.Device.Name, o.Claim)
		}
	}
	return nil
}

// beside returns the records of the other devices that share a pod with r: those
// in the store, and of its own claim those given.
func (c *checks) beside(r allocation.Record, claim []allocation.Record) []allocation.Record {
	others := slices.Clone(claim)
	for _, pod := range r.Pods {
		others = append(others, c.store.OfPod(pod.UID)...)
	}
	return slices.DeleteFunc(others, func(o allocation.Record) bool { return o.Key() == r.Key() })
}
