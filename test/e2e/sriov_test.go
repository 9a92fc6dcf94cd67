//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// vfClass is a device class whose claims may set a VLAN of their virtual function.
const vfClass = `
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: vf-class}
spec:
  selectors: [{cel: {expression: device.driver == "dra-netdev.github.io"}}]
  config:
  - opaque:
      driver: dra-netdev.github.io
      parameters:
        claimMaySet: [interface.name, vf.vlan]
        vf: {spoofCheck: true, trust: false}
---
`

// TestNoVirtualFunction checks that an interface which is no virtual function is
// refused, by each field that the class or the claim sets, and that a claim sets
// only what its class names. No node of the cluster has a virtual function.
func TestNoVirtualFunction(t *testing.T) {
	eth1, eth2 := &nic{node: "n1", name: "eth1", n: 1}, &nic{node: "n1", name: "eth2", n: 2}
	makeNICs(t, eth1, eth2)
	check := untouched(t, eth1, eth2)
	manifest := nicClaim("vlan", "eth1", `{interface: {name: net1}, vf: {vlan: 100}}`) + podFor("vlan", "", "vlan") +
		nicClaim("trust", "eth2", `{vf: {vlan: 100, trust: true}}`) + podFor("trust", "", "trust")
	apply(t, vfClass+strings.ReplaceAll(manifest, "deviceClassName: dra-netdev", "deviceClassName: vf-class"))
	eventOf(t, "vlan", "FailedPrepareDynamicResources", `vf.vlan: "100": the interface is not a virtual function`, `vf.trust: "false"`, `vf.spoofCheck: "true"`)
	eventOf(t, "trust", "FailedPrepareDynamicResources", "vf.trust: cannot be set by a claim: device class vf-class", `"vf.vlan"`)
	awaitStatus(t, "vlan", "False", "PrepareFailed", func(s deviceStatus) error {
		return hasAll(s.Ready.Message, []string{`vf.vlan: "100": the interface is not a virtual function`})
	})
	notStarted(t, "vlan")
	notStarted(t, "trust")
	check()
}
