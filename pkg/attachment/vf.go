package attachment

import (
	"context"
	"errors"
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// What a config asks the physical function to set for a virtual one without an
// interface is set from Prepare to the end of the claim: a pod that starts while the
// driver is away gets the device all the same, and no runtime hook could tell.

// readVFs notes in fresh records how their virtual functions are.
func readVFs(fresh []allocation.Record) error {
	_, functions := split(fresh)
	if len(functions) == 0 {
		return nil
	}
	host, err := netdev.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	for i, r := range fresh {
		if r.Device.HasLink() {
			continue
		}
		s, err := host.ReadFunction(r.Device.Function.Address, r.Config)
		if err != nil {
			return fmt.Errorf("device %s: %w", r.Device.Name, err)
		}
		if s.VF != nil {
			fresh[i].OriginalVF = &s
		}
	}
	return nil
}

// setVFs sets what the configs ask for of devices that are recorded. On an error what
// fresh ones have is restored, and their records are removed.
func setVFs(ctx context.Context, e *Engine, all, fresh []allocation.Record) error {
	for _, r := range all {
		known, ok := e.Store.Get(r.Key())
		if !ok || known.OriginalVF == nil {
			continue
		}
		err := onHostNamespace(func(host *netdev.NetNS) error { return host.GiveFunction(*known.OriginalVF, known.Config) })
		if err == nil {
			continue
		}
		err = fmt.Errorf("device %s: %w", r.Device.Name, err)
		for _, f := range fresh {
			if f, ok := e.Store.Get(f.Key()); ok && f.Attachment == nil {
				err = errors.Join(err, e.remove(ctx, f))
			}
		}
		return err
	}
	return nil
}

// restoreVF restores what the physical function had set before the claim. While that
// fails the record stays, as that of a claim that has ended, and the device unoffered.
func restoreVF(ctx context.Context, c *records, r allocation.Record) error {
	if r.OriginalVF == nil {
		return nil
	}
	err := onHostNamespace(func(host *netdev.NetNS) error { return host.TakeFunction(*r.OriginalVF, r.Config) })
	if err != nil {
		c.transition(ctx, r.Key(), func(r allocation.Record) allocation.Record { r.Released = true; return r })
	}
	return err
}

func onHostNamespace(f func(host *netdev.NetNS) error) error {
	host, err := netdev.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	return f(host)
}
