package v1alpha1

import (
	"fmt"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// validateDHCP checks that what is leased fits what else the config wants. What
// is the same for both families is also checked where the other field is.
func validateDHCP(c nic.Config, fault faultFunc) {
	i := c.Interface
	if i.Addressing == nic.AddressingDHCP && i.DHCP != nil && !*i.DHCP {
		fault("interface.addressing", i.Addressing, "is the same as interface.dhcp: true, which is false")
	}
	if !i.WantsDHCP6() {
		return
	}
	const field = "interface.dhcp6"
	switch {
	case i.Addressing == nic.AddressingUnnumbered || i.Addressing == nic.AddressingStatic:
		fault("interface.addressing", i.Addressing, "must be absent with %s", field)
	case i.VRF != (nic.VRF{}):
		fault(field, true, "must not be set with interface.vrf: what is leased is set in the main table")
	case i.RoutesBySource():
		fault("interface.sourceRouting", true, "must not be set with %s: what is leased is set in the main table", field)
	case i.MTU != 0 && i.MTU < minMTU6:
		fault("interface.mtu", i.MTU, "must be %d or more with %s", minMTU6, field)
	}
	for n, r := range i.AddressPool.Ranges {
		if r.First.Is6() {
			fault(fmt.Sprintf("interface.addressPool.ranges[%d]", n), r, "cannot be set together with %s", field)
		}
	}
}
