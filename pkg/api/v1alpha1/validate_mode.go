package v1alpha1

import "github.com/dra-netdev/dra-netdev/pkg/netdev/nic"

// validateMode checks that a device without an interface is not to have one
// configured.
func validateMode(c nic.Config, fault faultFunc) {
	if path, value := c.FirstField(); c.Mode == nic.ModeVFIO && path != "" {
		fault(path, value, "a device of mode VFIO has no interface")
	}
}
