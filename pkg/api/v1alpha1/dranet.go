package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// instead is what to use in the place of fields of dranet's that do not exist here,
// by their paths.
var instead = map[string]string{
	"profile":          "a profile is resolved by a provider of dranet: write its values into the claim or the DeviceClass",
	"interface.ipvlan": "an interface is moved as a whole: see interface.type",
}

// insteadOfIPVLAN is for the one type of dranet's that does not exist here.
const insteadOfIPVLAN = "an interface is moved into one pod as a whole: offer an IPVLAN interface that was made on the host, or a virtual function (SR-IOV)"

// explain adds to the error of an unknown field what to use in its place.
func explain(unknown string) string {
	for path, what := range instead {
		if strings.HasSuffix(unknown, fmt.Sprintf("unknown field %q", path)) {
			return unknown + ": " + what
		}
	}
	return unknown
}

// translate takes over what has another name in dranet, and returns an error for
// what contradicts itself.
func translate(c *nic.Config) error {
	for i := range c.Neighbors {
		n := &c.Neighbors[i]
		if n.Destination.IsValid() && n.IPAddress.IsValid() && n.Destination != n.IPAddress {
			return fmt.Errorf("neighbors[%d].ipAddress: %q: is another name of destination, which is %q", i, n.IPAddress, n.Destination)
		}
		if n.IPAddress.IsValid() {
			n.Destination, n.IPAddress = n.IPAddress, netip.Addr{}
		}
	}
	return nil
}

func validateType(c nic.Config, fault faultFunc) {
	if c.Interface.Type == "IPVLAN" {
		fault("interface.type", c.Interface.Type, insteadOfIPVLAN)
	}
}
