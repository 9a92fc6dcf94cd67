package attachment

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// A device without an interface is given to a pod and taken back in its record
// alone: nothing is moved, so there is no job, no pin, and nothing for the runtime
// hook to look for. What a container gets of it stands in the claim's CDI spec.

// split returns the records of devices with an interface, and of those without.
func split(all []allocation.Record) (links, functions []allocation.Record) {
	for _, r := range all {
		if r.Device.HasLink() {
			links = append(links, r)
		} else {
			functions = append(functions, r)
		}
	}
	return links, functions
}

// checkModes returns an error if a config asks for another kind of device than it
// got.
func checkModes(all []allocation.Record) error {
	for _, r := range all {
		is := r.Device.Function
		switch mode := r.Config.Mode; {
		case mode == nic.ModeVFIO && r.Device.HasLink():
			return fmt.Errorf("device %s: mode: %q: it has the interface %s: its function is to be bound to vfio-pci on the host", r.Device.Name, mode, r.Device.Link.Name)
		case mode == nic.ModeVFIO && !is.VFIO():
			return fmt.Errorf("device %s: mode: %q: PCI function %s has the driver %s: it is to be bound to vfio-pci on the host", r.Device.Name, mode, is.Address, is.Driver)
		case mode == nic.ModeNetdev && !r.Device.HasLink():
			return fmt.Errorf("device %s: mode: %q: it has no interface (driver %s)", r.Device.Name, mode, is.Driver)
		}
	}
	return nil
}

// checkFunctions returns an error if a device without an interface cannot be given
// to a pod now, or its config needs an interface.
func (c *checks) checkFunctions(ctx context.Context, all []allocation.Record) error {
	if len(all) == 0 {
		return nil
	}
	links, err := netdev.Links(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if field, value := r.Config.FirstField(); field != "" {
			return fmt.Errorf("device %s: %s: %q: it has no interface (driver %s), so no such field can be set", r.Device.Name, field, value, r.Device.Function.Driver)
		}
		if why := c.options().FunctionReason(links, c.sys, r.Device); why != "" {
			return fmt.Errorf("device %s cannot be given to a pod: %s", r.Device.Name, why)
		}
		if err := checkMode(r); err != nil {
			return err
		}
	}
	return nil
}

// checkMode returns an error if an RDMA device without an interface is of no use in
// a pod, since it is in the host's network namespace alone.
func checkMode(r allocation.Record) error {
	if r.Device.Function.VFIO() {
		return nil
	}
	host, err := netdev.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	exclusive, err := host.RDMAExclusive()
	if exclusive && err == nil {
		err = fmt.Errorf("device %s cannot be given to a pod: the kernel's RDMA mode is exclusive (`rdma system`), in which a device without an interface stays on the host", r.Device.Name)
	}
	return err
}

// give records that the pod of the sandbox may use the devices, all of them or
// none. The caller holds the claims.
func (m *attacher) give(ctx context.Context, s allocation.Sandbox, all []allocation.Record) error {
	if err := m.checkFunctions(ctx, all); err != nil {
		return err
	}
	for i, r := range all {
		_, err := m.update(ctx, r.Key(), OperationAttach, time.Now(), func(r allocation.Record) (allocation.Record, error) {
			now := time.Now()
			return r.Begin(s, netdev.Ident{}, netdev.State{}, nil, now, now).AttachDone(netdev.Attached{}, now), nil
		})
		if err != nil {
			for _, given := range all[:i] {
				m.takeBack(ctx, given)
			}
			return err
		}
	}
	return nil
}

// takeBack records that no pod may use the device any more.
func (m *restorer) takeBack(ctx context.Context, r allocation.Record) (allocation.Record, error) {
	return m.update(ctx, r.Key(), OperationDetach, time.Now(), func(r allocation.Record) (allocation.Record, error) {
		if r.Attachment == nil {
			return r, nil
		}
		return r.Detached(netdev.Result{}, nil, false, time.Now())
	})
}

// sandboxOnly returns the sandbox with what tells it from others, for devices
// that need no network namespace: a pod in the host's has none of its own.
func sandboxOnly(s allocation.Sandbox) (allocation.Sandbox, error) {
	if s.NetNS == "" {
		return s, nil
	}
	host, err := netdev.Open("")
	if err != nil {
		return s, err
	}
	defer host.Close()
	pod, err := netdev.Open(s.NetNS)
	if err != nil {
		return s, err
	}
	defer pod.Close()
	if pod.Cookie() == host.Cookie() {
		s.NetNS = ""
		return s, nil
	}
	s.NetNS, s.Cookie, s.PodLink = pod.String(), pod.Cookie(), networkOf(pod)
	return s, nil
}

// observeFunction looks at a device without an interface, and records what it saw.
func (m *attacher) observeFunction(ctx context.Context, r allocation.Record, ended bool) Observation {
	failed := r.Device.Check(m.sys)
	if reflect.DeepEqual(r, r.Seen(failed, ended, time.Now())) {
		return Observation{Record: r, Err: failed, Time: time.Now()}
	}
	now, err := m.update(ctx, r.Key(), "", time.Time{}, func(known allocation.Record) (allocation.Record, error) {
		if !sameAttachment(r, known) {
			return known, nil
		}
		return known.Seen(failed, ended, time.Now()), nil
	})
	return Observation{Record: now, Err: errors.Join(failed, err), Time: time.Now()}
}

// withoutFunctions returns the records of devices with an interface.
func withoutFunctions(all []allocation.Record) []allocation.Record {
	return slices.DeleteFunc(slices.Clone(all), func(r allocation.Record) bool { return !r.Device.HasLink() })
}
