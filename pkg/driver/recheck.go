package driver

import (
	"context"
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// onHost is a link of the host, and all that is kept of it.
type onHost struct {
	link  netdev.Link
	state netdev.State
}

// readToMove returns how the links are, all of which are on the host, or an
// error if one of them must stay there by now: between Prepare and a sandbox
// may lie hours. The reasons are the inventory's.
func (d *Driver) readToMove(ctx context.Context, host *netdev.NetNS, all []allocation.Record) ([]onHost, error) {
	links, err := host.Links()
	if err != nil {
		return nil, err
	}
	opts := d.scanOptions()
	found := make([]onHost, len(all))
	for i, a := range all {
		state, l, err := netdev.Read(ctx, host, a.ID)
		if err != nil {
			return nil, err
		}
		found[i] = onHost{l, state}
		if why := opts.Reason(links, d.cfg.Sys, l.Index); why != "" {
			return nil, fmt.Errorf("link %s of claim %s/%s stays on the host: %s", l.Name, a.Claim.Namespace, a.Claim.Name, why)
		}
	}
	return found, nil
}
