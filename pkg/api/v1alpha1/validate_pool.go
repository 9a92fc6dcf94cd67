package v1alpha1

import (
	"fmt"
	"net/netip"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// validatePool checks the pool of a device class. Each address of it must be one
// that an interface can have.
func validatePool(c nic.Config, fault faultFunc) {
	const field = "interface.addressPool"
	pool := c.Interface.AddressPool
	if len(pool.Ranges) == 0 {
		if pool.Gateway.IsValid() {
			fault(field+".ranges", "", "required with a gateway")
		}
		return
	}
	if len(c.Interface.Addresses) > 0 {
		fault(field+".ranges", pool.Ranges, "cannot be set together with interface.addresses")
	}
	checkAddr(field+".gateway", pool.Gateway, false, fault)
	reached := !pool.Gateway.IsValid()
	for i, r := range pool.Ranges {
		at := fmt.Sprintf("%s.ranges[%d]", field, i)
		switch {
		case !unicast(r.First) || !unicast(r.Last) || r.Bits == 0:
			fault(at, r, "must be unicast addresses with their prefix length")
		case r.First.Is4() && r.Bits < 31 && (isNetworkOrBroadcast(r.First, r.Bits) || isNetworkOrBroadcast(r.Last, r.Bits)):
			fault(at, r, "must be host addresses, not that of the network or its broadcast address")
		}
		if r.First.Is4() && c.Interface.WantsDHCP() {
			fault(at, r, "cannot be set together with interface.dhcp")
		}
		network := netip.PrefixFrom(r.First, r.Bits).Masked()
		reached = reached || network.Contains(pool.Gateway) || pool.Gateway.IsLinkLocalUnicast() && pool.Gateway.Is4() == r.First.Is4()
	}
	if !reached {
		fault(field+".gateway", pool.Gateway, "is in the network of none of the ranges")
	}
}
