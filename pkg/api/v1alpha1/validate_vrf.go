package v1alpha1

import (
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const tableDefault = 253 // RT_TABLE_DEFAULT

// validateVRF checks that the VRF's name and table have no other use.
func validateVRF(c nic.Config, fault faultFunc) {
	const name, table = "interface.vrf.name", "interface.vrf.table"
	v := c.Interface.VRF
	if v == (nic.VRF{}) {
		return
	}
	switch err := nic.CheckName(v.Name); {
	case v.Name == "":
		fault(name, "", "required")
	case err != nil:
		fault(name, v.Name, "%v", err)
	case v.Name == c.Interface.Name:
		fault(name, v.Name, "is the name of the interface")
	}
	if c.Interface.WantsDHCP() {
		fault("interface.dhcp", true, "must not be set with interface.vrf: what is leased is set in the main table")
	}
	if c.Interface.WantsDHCP6() {
		fault("interface.dhcp6", true, "must not be set with interface.vrf: what is leased is set in the main table")
	}
	if s := c.Interface.SourceRouting; s != nil && *s {
		fault("interface.sourceRouting", true, "must not be set with interface.vrf, whose routes only traffic of the VRF uses")
	}
	if v.Table >= tableDefault && v.Table <= tableLocal {
		fault(table, v.Table, "must not be main, default or local, which are the pod's own")
	}
	if v.Table != 0 {
		return
	}
	used := func(field string, number uint32) {
		if number == v.TableNumber() {
			fault(field, number, "is the table that follows from the name of the VRF %s: set interface.vrf.table", v.Name)
		}
	}
	for i, r := range c.Routes {
		used(fmt.Sprintf("routes[%d].table", i), r.Table)
	}
	for i, r := range c.Rules {
		used(fmt.Sprintf("rules[%d].table", i), r.Table)
	}
}
