package v1alpha1

import "github.com/dra-netdev/dra-netdev/pkg/netdev/nic"

func validateEthtool(c nic.Config, fault faultFunc) {
	e := c.Ethtool
	for long, short := range nic.FeatureNames {
		if a, ok := e.Features[long]; ok {
			if b, ok := e.Features[short]; ok && a != b {
				fault("ethtool.features."+short, b, "%s is the same feature and has %t", long, a)
			}
		}
	}
	if e.Autoneg != nil && !*e.Autoneg && e.Speed == nil {
		fault("ethtool.autoneg", false, "needs ethtool.speed")
	}
	if e.Duplex != "" && e.Speed == nil {
		fault("ethtool.duplex", e.Duplex, "needs ethtool.speed")
	}
	if r := e.Channels; zero(r.Combined) && (zero(r.RX) || zero(r.TX)) {
		fault("ethtool.channels", 0, "one queue at least must receive, and one send")
	}
}

// zero reports whether a number is set, and is 0.
func zero(n *uint32) bool { return n != nil && *n == 0 }
