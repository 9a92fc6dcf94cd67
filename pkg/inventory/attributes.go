package inventory

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/deviceattribute"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// attribute is one row of the table of attributes.
type attribute struct {
	name resourceapi.QualifiedName
	doc  string                                           // its description in docs/attributes.md
	read func(*probe) (resourceapi.DeviceAttribute, bool) // false: this device has no such attribute
}

// attributes are all attributes of a device. Those that are read with text,
// number or boolean alone are on every device, with an empty value or 0 if
// nothing is known: in a CEL selector a missing attribute is an error, and the
// pod is then not scheduled. After a change, rewrite docs/attributes.md with
// go test ./pkg/inventory -update.
var attributes = []attribute{
	{v1alpha1.AttributeIfName, "Name of the interface on the host.",
		text(func(p *probe) string { return p.link.Name })},
	{v1alpha1.AttributeMAC, "Hardware address, `02:00:5e:10:00:01`.",
		text(func(p *probe) string { return p.link.MAC.String() })},
	{v1alpha1.AttributeMTU, "Maximum transmission unit in bytes.",
		number(func(p *probe) int { return p.link.MTU })},
	{v1alpha1.AttributeState, "Operational state: `up`, `down`, `lowerlayerdown`, `unknown`, …",
		text(func(p *probe) string { return p.link.State })},
	{v1alpha1.AttributeType, "Kind of the interface as ip(8) names it: `veth`, `macvlan`, `dummy`, …; `device` for hardware.",
		text(kind)},
	{v1alpha1.AttributeVirtual, "Whether the interface is virtual: no hardware, no virtio device.",
		boolean(func(p *probe) bool { return p.parent == "" })},
	{v1alpha1.AttributeEncapsulation, "Link layer: `ether`, `infiniband`, …",
		text(func(p *probe) string { return p.link.Encapsulation })},
	{v1alpha1.AttributeAlias, "Alias given by the administrator (`ip link set … alias`).",
		text(func(p *probe) string { return p.link.Alias })},
	{v1alpha1.AttributeIPv4, "Global IPv4 addresses, `192.0.2.7/24,198.51.100.7/24`; as many as fit in 64 bytes.",
		text(func(p *probe) string { return prefixes(p.link.Addresses, true) })},
	{v1alpha1.AttributeIPv6, "Global IPv6 addresses, as many as fit in 64 bytes.",
		text(func(p *probe) string { return prefixes(p.link.Addresses, false) })},

	{v1alpha1.AttributePCIAddress, "Address of the PCI function, `0000:3b:00.0`; of a virtio interface, the function that it belongs to.",
		onPCI(text(func(p *probe) string { return p.function }))},
	{v1alpha1.AttributePCIVendor, "PCI vendor, `0x8086`.",
		onPCI(text(func(p *probe) string { return p.pciFile("vendor") }))},
	{v1alpha1.AttributePCIDevice, "PCI device, `0x1572`.",
		onPCI(text(func(p *probe) string { return p.pciFile("device") }))},
	{v1alpha1.AttributePCISubsystem, "PCI subsystem device, `0x0007`.",
		onPCI(text(func(p *probe) string { return p.pciFile("subsystem_device") }))},
	{v1alpha1.AttributeNUMANode, "NUMA node, `-1` if unknown.",
		onPCI(number(func(p *probe) int { return p.pciNumber("numa_node", -1) }))},
	{v1alpha1.AttributeSRIOV, "Whether the function can have virtual functions.",
		onPCI(boolean(func(p *probe) bool { return p.pciNumber("sriov_totalvfs", 0) > 0 }))},
	{v1alpha1.AttributeSRIOVVFs, "Number of virtual functions that the function has now.",
		onPCI(number(func(p *probe) int { return p.pciNumber("sriov_numvfs", 0) }))},
	{v1alpha1.AttributeIsSRIOVVF, "Whether the function is a virtual function.",
		onPCI(boolean(func(p *probe) bool { return p.physicalFunction() != "" }))},

	{deviceattribute.StandardDeviceAttributePCIBusID, "Address of the PCI function.",
		standard(func(p *probe) (deviceattribute.DeviceAttribute, error) {
			return deviceattribute.GetPCIBusIDAttribute(p.function)
		})},
	{deviceattribute.StandardDeviceAttributePCIeRoot, "PCIe root complex, `pci0000:3a`.",
		standard(func(p *probe) (deviceattribute.DeviceAttribute, error) {
			return deviceattribute.GetPCIeRootAttributeByPCIBusID(p.function, deviceattribute.WithFS(p.sys))
		})},
	{deviceattribute.StandardDeviceAttributeNUMANode, "NUMA node; absent if unknown.",
		standard(func(p *probe) (deviceattribute.DeviceAttribute, error) {
			return deviceattribute.GetNUMANodeAttributeByPCIBusID(p.function,
				deviceattribute.ScalarAttribute, deviceattribute.WithFS(p.sys))
		})},
}

type reader = func(*probe) (resourceapi.DeviceAttribute, bool)

func text(read func(*probe) string) reader {
	return func(p *probe) (resourceapi.DeviceAttribute, bool) {
		return resourceapi.DeviceAttribute{StringValue: new(cut(read(p)))}, true
	}
}

func number(read func(*probe) int) reader {
	return func(p *probe) (resourceapi.DeviceAttribute, bool) {
		return resourceapi.DeviceAttribute{IntValue: new(int64(read(p)))}, true
	}
}

func boolean(read func(*probe) bool) reader {
	return func(p *probe) (resourceapi.DeviceAttribute, bool) {
		return resourceapi.DeviceAttribute{BoolValue: new(read(p))}, true
	}
}

// onPCI is for attributes that only devices with a PCI function have.
func onPCI(read reader) reader {
	return func(p *probe) (resourceapi.DeviceAttribute, bool) {
		if p.function == "" {
			return resourceapi.DeviceAttribute{}, false
		}
		return read(p)
	}
}

// standard is for attributes that Kubernetes defines and reads from sysfs. A
// device for which sysfs lacks the value does not have the attribute.
func standard(read func(*probe) (deviceattribute.DeviceAttribute, error)) reader {
	return onPCI(func(p *probe) (resourceapi.DeviceAttribute, bool) {
		a, err := read(p)
		return a.Value, err == nil
	})
}

func attributesOf(p *probe) map[resourceapi.QualifiedName]resourceapi.DeviceAttribute {
	out := make(map[resourceapi.QualifiedName]resourceapi.DeviceAttribute, len(attributes))
	for _, a := range attributes {
		if value, ok := a.read(p); ok {
			out[a.name] = value
		}
	}
	return out
}

func kind(p *probe) string {
	if p.link.Kind == "" && p.hasLink() {
		return "device"
	}
	return p.link.Kind
}

// prefixes lists the addresses of one family: as many as fit into an attribute,
// none of them shortened.
func prefixes(all []netip.Prefix, v4 bool) string {
	var list strings.Builder
	for _, prefix := range all {
		entry := prefix.String()
		if prefix.Addr().Is4() != v4 || list.Len()+1+len(entry) > resourceapi.DeviceAttributeMaxValueLength {
			continue
		}
		if list.Len() > 0 {
			list.WriteByte(',')
		}
		list.WriteString(entry)
	}
	return list.String()
}

// cut makes a text fit into an attribute: valid UTF-8, at most 64 bytes, not cut
// inside a rune. An alias may have 255 arbitrary bytes; with such a value the
// API server would refuse the node's whole slice.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= resourceapi.DeviceAttributeMaxValueLength {
		return s
	}
	end := resourceapi.DeviceAttributeMaxValueLength
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
