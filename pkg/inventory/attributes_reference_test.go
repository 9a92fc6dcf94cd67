package inventory

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	resourceapi "k8s.io/api/resource/v1"
)

const referenceHead = `# Device attributes

Each device of a ResourceSlice has these attributes. A selector reads them
under the driver's name: ` + "`device.attributes[\"dra-netdev.github.io\"].ifName == \"eth1\"`" + `.
Reading an attribute that a device does not have is an error in CEL, and the pod
is then not scheduled. So read those that are not on every device with
` + "`device.attributes[\"dra-netdev.github.io\"].?isSriovVf.orValue(false)`" + `.

The attributes with the prefix ` + "`resource.kubernetes.io/`" + ` are defined by Kubernetes: the
devices of other drivers have them too, so ` + "`matchAttribute`" + ` can compare them. A selector reads
them as ` + "`device.attributes[\"resource.kubernetes.io\"].?pciBusID.orValue(\"\")`" + `.
A claim for a GPU and a NIC below one PCIe root: [16-gpu-and-nic.yaml](../examples/16-gpu-and-nic.yaml).

What the driver cannot read, such as the rail of a NIC, an administrator adds:
[attributes of your own](configuration.md#attributes-of-your-own).

A device [without an interface](vfio.md) has those of every device too: ` + "`ifName`, `mac` and `type`" + ` are
empty, and what only an interface has is 0 or false. Of an RDMA device ` + "`state`, `carrier`, `speedMbps`\nand `encapsulation`" + ` are those of its first port.

This page is generated from the tables in pkg/inventory/attributes_table.go by
` + "`go test ./pkg/inventory -update`" + `.

`

const referenceSpare = `
## If there is room

Kubernetes allows a device 32 attributes and capacities. The driver itself gives it
%d at most; the others are for [Multus](from-multus.md) and for [attributes of
your own](configuration.md#attributes-of-your-own). So what is at the end of the table is missing
first, and a function with SR-IOV or RDMA has only the first one or two: an attribute that is
missing here may be unknown, also ` + "`ebpf`" + `.

`

const referenceCapacities = `
## Capacities

A claim can request some of a capacity, ` + "`capacity: {requests: {bandwidth: 25G}}`" + `, and gets a
device that has as much. It gets the whole device: nothing is shared, and the interface is not
limited to it. A selector reads it as
` + "`device.capacity[\"dra-netdev.github.io\"].?bandwidth.orValue(quantity(\"0\")).isGreaterThan(quantity(\"20G\"))`" + `.

`

const referenceOmitted = `
## What is not an attribute

| fact | why, and what to use |
|---|---|
| link type | ` + "`encapsulation` is it: `ether` or `infiniband`" + ` |
| ` + "`permanentMAC` equal to `mac`" + ` | ` + "`device.attributes[\"dra-netdev.github.io\"].?permanentMAC.orValue(device.attributes[\"dra-netdev.github.io\"].mac)`" + ` |
| firmware of a virtual function | it is that of its physical function |
| counters, the number of virtual functions that are in pods | each change would write the node's slice; there are [metrics](operations.md#metrics) |

` + "`state`, `carrier` and `speedMbps`" + ` change by themselves, at most once a second in a slice. Speed, duplex
mode, firmware, eBPF programs and the mode of the switch are asked for when the interface is new, when
its carrier has changed, and once a minute. A device that is in a pod keeps the values that it
had on the host.
`

// TestReference checks that docs/attributes.md is what the tables generate.
func TestReference(t *testing.T) {
	var text strings.Builder
	table := func(rows []attribute) {
		text.WriteString("| attribute | type | on | meaning |\n|---|---|---|---|\n")
		for _, a := range rows {
			fmt.Fprintf(&text, "| `%s` | %s | %s | %s |\n", a.name, a.typ, a.on.doc, a.doc)
		}
	}
	text.WriteString(referenceHead)
	table(attributes)
	fmt.Fprintf(&text, referenceSpare, maxOwn)
	table(spare)
	text.WriteString(referenceCapacities + "| capacity | meaning |\n|---|---|\n")
	for _, c := range capacities {
		fmt.Fprintf(&text, "| `%s` | %s |\n", c.name, c.doc)
	}
	text.WriteString(referenceOmitted)
	golden(t, "../../../docs/attributes.md", text.String())
}

// TestAttributeTypes checks that values have the type of their row, and that those
// that are said to be on every device are.
func TestAttributeTypes(t *testing.T) {
	types := map[resourceapi.QualifiedName]string{}
	for _, table := range [][]attribute{attributes, spare} {
		for _, a := range table {
			types[a.name] = a.typ
		}
	}
	for _, m := range []*machine{server(), vm(), node(), odd(), fattest()} {
		for _, d := range m.scan() {
			for name, value := range d.Attributes {
				if valueType(value) != types[name] {
					t.Errorf("%s: %s is a %s, want %s", d.Name, name, valueType(value), types[name])
				}
			}
		}
	}
	nothing := attributesOf(&probe{sys: fstest.MapFS{}})
	for _, a := range attributes {
		if _, ok := nothing[a.name]; ok != (a.on.doc == everywhere.doc) {
			t.Errorf("%s is said to be on %s; on a device of which nothing is known: %t", a.name, a.on.doc, ok)
		}
	}
}
