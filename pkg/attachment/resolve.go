package attachment

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// resolve returns the records of one claim with all that their configs leave to
// the node, in the order of the devices: a template of a name becomes a name, a
// pool of addresses the interface's addresses. A device without a name in its
// config whose name on the host cannot be used in a pod gets one from the default
// template. Records that are known keep what they have.
func (c *checks) resolve(all []allocation.Record) ([]allocation.Record, error) {
	all = slices.Clone(all)
	var fresh []int
	for i, r := range all {
		known, ok := c.store.Get(r.Key())
		if ok {
			known.Pods = r.Pods
			all[i] = known
			continue
		}
		if !r.Device.HasLink() {
			continue
		}
		fresh = append(fresh, i)
		switch name := r.Config.Interface.Name; {
		case nic.IsTemplate(name):
			all[i].NameTemplate = name
		case name == "" && nic.CheckName(r.Device.Link.Name) != nil:
			all[i].NameTemplate = nic.DefaultNames
		}
	}
	for _, i := range fresh {
		if all[i].NameTemplate != "" {
			all[i].Config.Interface.Name = c.nameFor(all[i], all, func(string) bool { return false })
		}
		config, err := c.fromPool(all[i].Config, all)
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", all[i].Device.Name, err)
		}
		all[i].Config = config
	}
	return all, nil
}

// nameFor returns a name from the template of r that none of the other devices of
// its pods has, those of its own claim included, and that is not taken.
func (c *checks) nameFor(r allocation.Record, claim []allocation.Record, taken func(string) bool) string {
	others := c.beside(r, claim)
	name := nic.NameFrom(r.NameTemplate, func(name string) bool {
		return taken(name) || slices.ContainsFunc(others, func(o allocation.Record) bool { return o.Interface() == name })
	})
	if name == "" {
		return r.NameTemplate // which is refused as a name
	}
	return name
}

// renumber returns the record with another name from its template if a link of the
// pod's namespace has its name: one of the pod's own network, which nobody knew
// of when the claim was prepared.
func (c *checks) renumber(pod *netdev.NetNS, r allocation.Record, claim []allocation.Record) (allocation.Record, error) {
	err := pod.Vacant(r.Interface())
	if err != nil && r.NameTemplate != "" {
		r.Config.Interface.Name = c.nameFor(r, claim, func(name string) bool { return pod.Vacant(name) != nil })
		err = pod.Vacant(r.Interface())
	}
	if err != nil {
		return r, fmt.Errorf("attach %s to %s: %w", r.Device.Link.Name, pod, err)
	}
	return r, nil
}

// fromPool returns the config with addresses from its pool that no record of the
// node and no other device of the claim has, and with the pool's gateway in the
// routes that have none.
func (c *checks) fromPool(config nic.Config, claim []allocation.Record) (nic.Config, error) {
	pool := config.Interface.AddressPool
	if len(pool.Ranges) == 0 {
		return config, nil
	}
	taken := addressesOf(append(c.store.All(), claim...))
	picked, err := pool.Pick(func(a netip.Addr) bool { return taken[a] })
	if err != nil {
		return config, fmt.Errorf("interface.addressPool.ranges: %q: %w", fmt.Sprint(pool.Ranges), err)
	}
	config.Interface.Addresses = nil
	for _, p := range picked {
		config.Interface.Addresses = append(config.Interface.Addresses, nic.Address{Prefix: p})
	}
	config.Routes = slices.Clone(config.Routes)
	for i, r := range config.Routes {
		leads := r.Gateway.IsValid() || r.Scope != 0 || len(r.Multipath) > 0 || r.Type.Deviceless()
		if !leads && r.Destination.Addr().Is4() == pool.Gateway.Is4() {
			config.Routes[i].Gateway = pool.Gateway
		}
	}
	return config, nil
}

// checkPool returns an error if a record of another claim has an address that was
// just taken from a pool.
func (c *checks) checkPool(all []allocation.Record) error {
	for _, r := range all {
		if len(r.Config.Interface.AddressPool.Ranges) == 0 {
			continue
		}
		taken := addressesOf(c.store.Find(func(o allocation.Record) bool { return o.Key() != r.Key() }))
		for _, p := range r.Config.Interface.Addresses {
			if taken[p.Prefix.Addr()] {
				return fmt.Errorf("device %s: address %s was given to another interface meanwhile", r.Device.Name, p)
			}
		}
	}
	return nil
}

// addressesOf returns the addresses that the records' configs give to interfaces.
func addressesOf(all []allocation.Record) map[netip.Addr]bool {
	addresses := map[netip.Addr]bool{}
	for _, r := range all {
		for _, p := range r.Config.Interface.Addresses {
			addresses[p.Prefix.Addr()] = true
		}
	}
	return addresses
}
