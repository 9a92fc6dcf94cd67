package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// vfMaker makes virtual functions.
type vfMaker struct {
	counts  inventory.VFCounts
	sys     fs.ReadLinkFS
	options func() inventory.Options
	store   *allocation.Store
	links   func(context.Context) ([]netdev.Link, error)
	set     func(pf netdev.Link, have, want int) error
	failed  func(error) // reports what was not done
}

func newVFMaker(d *Driver) *vfMaker {
	return &vfMaker{
		counts: d.cfg.VFs, sys: d.cfg.Sys, options: d.scanOptions, store: d.store,
		links: netdev.Links, set: netdev.Link.SetVFs, failed: d.events.notMade,
	}
}

// plan returns which physical functions are to have another number of virtual
// functions. An error names a number that one cannot have.
func (m *vfMaker) plan(ctx context.Context) ([]inventory.VFChange, error) {
	if len(m.counts) == 0 {
		return nil, nil
	}
	links, err := m.links(ctx)
	if err != nil {
		return nil, err
	}
	changes, err := m.counts.Plan(links, m.sys, m.options())
	if err != nil {
		return nil, fmt.Errorf("--sriov-vfs: %w", err)
	}
	return changes, nil
}

// run makes the virtual functions that are missing, once. To replace some it holds
// the store, so that no claim gets one of them meanwhile; to make the first ones it
// does not, since that can take a minute. Another instance may do the same: the
// kernel takes no number but 0 where there are some.
func (m *vfMaker) run(ctx context.Context) {
	if len(m.counts) == 0 {
		return
	}
	m.change(ctx, func(c inventory.VFChange) bool { return c.Have == 0 })
	unlock, err := m.store.Lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	m.change(ctx, func(c inventory.VFChange) bool { return c.Have > 0 })
}

func (m *vfMaker) change(ctx context.Context, chosen func(inventory.VFChange) bool) {
	logger := klog.FromContext(ctx)
	changes, err := m.plan(ctx)
	if err != nil {
		logger.Error(err, "Failed to plan virtual functions")
		return
	}
	for _, c := range changes {
		if !chosen(c) {
			continue
		}
		if c.InUse != "" {
			err = errors.New("in use: " + c.InUse)
		} else {
			err = m.set(c.Link, c.Have, c.Want)
		}
		if err != nil {
			err = fmt.Errorf("--sriov-vfs: %s: %w", c, err)
			logger.Error(err, "Did not change the number of virtual functions")
			m.failed(err)
			continue
		}
		logger.Info("Changed the number of virtual functions", "interface", c.Link.Name, "function", c.Link.Parent, "before", c.Have, "now", c.Want)
	}
}
