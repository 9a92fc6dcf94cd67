package netdev

import (
	"fmt"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// loss is something of the host's that the move destroys and that cannot be
// restored. A property's read finds it. Each is either accepted by the config, or
// refused.
type loss struct {
	Kind string `json:"kind"` // a key of nic.Losses
	What string `json:"what"` // as "qdisc fq_pie 1:"
}

// accept returns in words the losses of the original state that the config
// accepts, and an error that names the others.
func (s State) accept(c nic.Config, link string) (omitted []string, err error) {
	var errs []error
	for _, o := range s.Losses {
		if slices.Contains(c.Interface.AllowLoss, o.Kind) {
			omitted = append(omitted, o.What+" (is not restored on the host)")
			continue
		}
		errs = append(errs, fmt.Errorf("interface.allowLoss: the host's %s on %s would not be restored: add %q to accept that", o.What, link, o.Kind))
	}
	return omitted, join(errs...)
}
