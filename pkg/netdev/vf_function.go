package netdev

import (
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// ReadFunction returns what the physical function has set for a virtual one without a
// link, which a process gets as it is, and what a config asks for. An error names what
// cannot be set. The state is zero if nothing is asked.
func (n *NetNS) ReadFunction(function string, c nic.Config) (s State, err error) {
	if len(vfAsked(c.VF)) == 0 {
		return s, nil
	}
	if s.VF = n.virtualFunction(Link{Parent: function, ParentBus: pciBus}); s.VF != nil {
		s.VF.Asked = c.VF
	}
	var errs []error
	checkVF(Link{}, s, c, func(field string, value any, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %q: %w", field, fmt.Sprint(value), fmt.Errorf(format, args...)))
	})
	return s, join(errs...)
}

// GiveFunction sets what a config asks for. original is what ReadFunction has returned.
func (n *NetNS) GiveFunction(original State, c nic.Config) error {
	if original.VF == nil {
		return nil
	}
	asked := *original.VF
	asked.Asked = c.VF
	return n.setForPod(&asked)
}

// TakeFunction restores what a config had set. To repeat it is harmless. That the
// driver cannot take back a hardware address is no error: see restoreVF.
func (n *NetNS) TakeFunction(original State, c nic.Config) error {
	if original.VF == nil {
		return nil
	}
	asked := *original.VF
	asked.Asked = c.VF
	return n.run(vfSteps(original.asOriginal(State{VF: &asked}))).err
}
