package v1alpha1

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

func validateVF(c nic.Config, fault faultFunc) {
	v := c.VF
	if v.VLAN == nil || *v.VLAN == 0 {
		if v.QoS != nil && *v.QoS != 0 {
			fault("vf.qos", *v.QoS, "needs vf.vlan from 1 to 4094")
		}
		if v.Proto != "" {
			fault("vf.proto", v.Proto, "needs vf.vlan from 1 to 4094")
		}
	}
	if v.MinTxRate != nil && v.MaxTxRate != nil && *v.MaxTxRate != 0 && *v.MinTxRate > *v.MaxTxRate {
		fault("vf.minTxRate", *v.MinTxRate, "must be at most vf.maxTxRate, %d", *v.MaxTxRate)
	}
	const mac = "vf.mac"
	switch own := c.Interface.HardwareAddr; {
	case len(v.MAC) == 0:
	case !v.MAC.Unicast():
		fault(mac, v.MAC, "must be a unicast hardware address and not zero")
	case len(own) > 0 && !bytes.Equal(own, v.MAC):
		fault("interface.hardwareAddr", own, "must be vf.mac, %s", v.MAC)
	}
}

// checkGranted returns an error if c, the config of a claim, sets what the claim may
// only set if a class says so by name: what separates the virtual functions of one
// NIC from each other. Without it a tenant could join another's VLAN.
func (c NetDeviceConfig) checkGranted(configs []NetDeviceConfig) error {
	_, set := settable(nic.Config{VF: c.VF})
	var refused []string
	for _, field := range set {
		granted := func(class NetDeviceConfig) bool {
			return slices.ContainsFunc(class.ClaimMaySet, func(name string) bool { return covers(name, field) })
		}
		if !slices.ContainsFunc(configs, granted) {
			refused = append(refused, field)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return fmt.Errorf("%s: a claim can set it only if claimMaySet of its device class names it", strings.Join(refused, ", "))
}
