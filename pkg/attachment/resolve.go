package attachment

import (
	"fmt"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// resolve returns the records of one claim with all that their configs leave to
// the node: each template of a name becomes a name, in the order of the devices.
// A device without a name in its config whose name on the host cannot be used in
// a pod gets one from the default template. Records that are known keep theirs.
func (c *checks) resolve(all []allocation.Record) []allocation.Record {
	all = slices.Clone(all)
	for i, r := range all {
		if known, ok := c.store.Get(r.Key()); ok {
			all[i] = known
			all[i].Pods = r.Pods
			continue
		}
		switch name := r.Config.Interface.Name; {
		case nic.IsTemplate(name):
			all[i].NameTemplate = name
		case name == "" && nic.CheckName(r.Device.Link.Name) != nil:
			all[i].NameTemplate = nic.DefaultNames
		}
	}
	for i, r := range all {
		if r.NameTemplate != "" && (r.Config.Interface.Name == "" || nic.IsTemplate(r.Config.Interface.Name)) {
			all[i].Config.Interface.Name = c.nameFor(r, all, func(string) bool { return false })
		}
	}
	return all
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
