package inventory

import (
	"strings"
	"testing"

	resourceapi "k8s.io/api/resource/v1"
)

// TestMultus checks that PCI devices, also those without an interface, have what
// Multus reads, beside all that they have without, and that the API has room for it.
func TestMultus(t *testing.T) {
	for name, m := range map[string]*machine{"fattest": fattest(), "hypervisor": hypervisor(), "vm": vm(), "node": node()} {
		before := m.scan()
		m.opts.Multus = "example.com/nics"
		for i, d := range m.scan() {
			bus, pci := d.Attributes["resource.kubernetes.io/pciBusID"]
			added := len(d.Attributes) - len(before[i].Attributes)
			var got []string
			for _, a := range []resourceapi.QualifiedName{"k8s.cni.cncf.io/deviceID", "k8s.cni.cncf.io/resourceName"} {
				if value, ok := d.Attributes[a]; ok {
					got = append(got, *value.StringValue)
				}
			}
			want := ""
			if pci {
				want = *bus.StringValue + " example.com/nics"
			}
			if strings.Join(got, " ") != want || added != len(got) {
				t.Errorf("%s: %s: got %q and %d more attributes, want %q", name, d.Name, got, added, want)
			}
			if n := len(d.Attributes) + len(d.capacity()); n > resourceapi.ResourceSliceMaxAttributesAndCapacitiesPerDevice-2 {
				t.Errorf("%s: %s: %d attributes and capacities: no room for an administrator's", name, d.Name, n)
			}
		}
	}
}
