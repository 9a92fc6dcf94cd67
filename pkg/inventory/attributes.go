package inventory

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/deviceattribute"
)

// attribute is one row of the table: what a device says of itself.
type attribute struct {
	name resourceapi.QualifiedName
	doc  string
	read func(*probe) (resourceapi.DeviceAttribute, bool) // false: this device has no such attribute
}

// attributes are all there are. Those read with text, number or boolean alone are
// on every device, empty or 0 where nothing is known: to a CEL selector a
// missing attribute is an error, which ends the scheduling of the pod. The
// reference in docs/attributes.md follows with go test -update.
var attributes = []attribute{
	{"ifName", "Name of the link on the host.",
		text(func(p *probe) string { return p.link.Name })},
	{"mac", "Hardware address, `02:00:5e:10:00:01`.",
		text(func(p *probe) string { return p.link.MAC.String() })},
	{"mtu", "Maximum transmission unit in bytes.",
		number(func(p *probe) int { return p.link.MTU })},
	{"state", "Operational state: `up`, `down`, `lowerlayerdown`, `unknown`, …",
		text(func(p *probe) string { return p.link.State })},
	{"type", "Kind of the link as ip(8) names it: `veth`, `macvlan`, `dummy`, …; `device` for hardware.",
		text(kind)},
	{"virtual", "Whether the link has no device behind it.",
		boolean(func(p *probe) bool { return p.parent == "" })},
	{"encapsulation", "Link layer: `ether`, `infiniband`, …",
		text(func(p *probe) string { return p.link.Encapsulation })},
	{"alias", "Alias given by the administrator (`ip link set … alias`).",
		text(func(p *probe) string { return p.link.Alias })},
	{"ipv4", "Global IPv4 addresses, `192.0.2.7/24,198.51.100.7/24`; as many as fit in 64 bytes.",
		text(func(p *probe) string { return prefixes(p.link.Addresses, true) })},
	{"ipv6", "Global IPv6 addresses, likewise.",
		text(func(p *probe) string { return prefixes(p.link.Addresses, false) })},

	{"pciAddress", "Address of the PCI function, `0000:3b:00.0`; of a virtio NIC, the function it stands on.",
		onPCI(text(func(p *probe) string { return p.function }))},
	{"pciVendor", "PCI vendor, `0x8086`.",
		onPCI(text(func(p *probe) string { return p.pciFile("vendor") }))},
	{"pciDevice", "PCI device, `0x1572`.",
		onPCI(text(func(p *probe) string { return p.pciFile("device") }))},
	{"pciSubsystem", "PCI subsystem device, `0x0007`.",
		onPCI(text(func(p *probe) string { return p.pciFile("subsystem_device") }))},
	{"numaNode", "NUMA node, `-1` if the machine does not say.",
		onPCI(number(func(p *probe) int { return p.pciNumber("numa_node", -1) }))},
	{"sriov", "Whether the function can have virtual functions.",
		onPCI(boolean(func(p *probe) bool { return p.pciNumber("sriov_totalvfs", 0) > 0 }))},
	{"sriovVfs", "Number of virtual functions it has now.",
		onPCI(number(func(p *probe) int { return p.pciNumber("sriov_numvfs", 0) }))},
	{"isSriovVf", "Whether it is a virtual function.",
		onPCI(boolean(func(p *probe) bool { return p.physicalFunction() != "" }))},

	{deviceattribute.StandardDeviceAttributePCIBusID, "Address of the PCI function.",
		standard(func(p *probe) (deviceattribute.DeviceAttribute, error) {
			return deviceattribute.GetPCIBusIDAttribute(p.function)
		})},
	{deviceattribute.StandardDeviceAttributePCIeRoot, "PCIe root complex, `pci0000:3a`.",
		standard(func(p *probe) (deviceattribute.DeviceAttribute, error) {
			return deviceattribute.GetPCIeRootAttributeByPCIBusID(p.function, deviceattribute.WithFS(p.sys))
		})},
	{deviceattribute.StandardDeviceAttributeNUMANode, "NUMA node, if the machine says.",
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

// standard is for attributes that Kubernetes defines and derives from sysfs. A
// device of which sysfs does not tell has none.
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
	if p.link.Kind == "" {
		return "device"
	}
	return p.link.Kind
}

// prefixes lists the addresses of one family, whole entries only, as many as
// an attribute holds.
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

// cut makes a text fit an attribute: valid UTF-8, at most 64 bytes, no rune
// halved. An alias may be four times as long and have any bytes in it, and the
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
