package inventory

import (
	"strings"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/deviceattribute"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// attributes are those that a device has if it is in their place. Those of every
// device have an empty value, 0 or false if nothing is known: in a CEL selector a
// missing attribute is an error, and the pod is then not scheduled. No kind of
// device may have more of them than maxOwn leaves room for, see TestRoom. After a
// change, rewrite docs/attributes.md with go test ./pkg/inventory -update.
var attributes = []attribute{
	{v1alpha1.AttributeIfName, everywhere, "Name of the interface on the host.",
		text(func(p *probe) string { return p.link.Name })},
	{v1alpha1.AttributeMAC, everywhere, "Hardware address, `02:00:5e:10:00:01`; of IPoIB it has 20 bytes.",
		text(func(p *probe) string { return p.link.MAC.String() })},
	{v1alpha1.AttributeMTU, everywhere, "Maximum transmission unit in bytes.",
		number(func(p *probe) int { return p.link.MTU })},
	{v1alpha1.AttributeMaxMTU, everywhere, "Largest `mtu` that the interface takes; 65535 if it has no limit.",
		number(maxMTU)},
	{v1alpha1.AttributeState, everywhere, "Operational state: `up`, `down`, `lowerlayerdown`, `unknown`, …",
		text(func(p *probe) string { return portState(p).state })},
	{v1alpha1.AttributeCarrier, everywhere, "Whether there is a carrier. An interface that is set down has none.",
		boolean(func(p *probe) bool { return portState(p).carrier })},
	{v1alpha1.AttributeSpeedMbps, everywhere, "Speed in Mb/s; without a carrier the most that the interface supports; 0 if unknown.",
		number(func(p *probe) int { return portState(p).speed })},
	{v1alpha1.AttributeType, everywhere, "Kind of the interface as ip(8) names it: `veth`, `macvlan`, `dummy`, …; `device` for hardware.",
		text(kind)},
	{v1alpha1.AttributeVirtual, everywhere, "Whether the interface is virtual: no hardware, no virtio device.",
		boolean(func(p *probe) bool { return p.parent == "" })},
	{v1alpha1.AttributeEncapsulation, everywhere, "Link layer: `ether`, `infiniband`, …",
		text(func(p *probe) string { return portState(p).encapsulation })},
	{v1alpha1.AttributeDriver, everywhere, "Driver of the hardware, `mlx5_core`; of a virtual interface its kind.",
		text(func(p *probe) string {
			if p.parent == "" {
				return p.link.Kind
			}
			return base(p.readLink(p.parentPath("driver")))
		})},
	{v1alpha1.AttributeAlias, everywhere, "Alias given by the administrator (`ip link set … alias`).",
		text(func(p *probe) string { return p.link.Alias })},
	{v1alpha1.AttributeIPv4, everywhere, "Global IPv4 addresses, `192.0.2.7/24,198.51.100.7/24`; as many as fit in 64 bytes.",
		text(func(p *probe) string { return prefixes(p.link.Addresses, true) })},
	{v1alpha1.AttributeIPv6, everywhere, "Global IPv6 addresses, as many as fit in 64 bytes.",
		text(func(p *probe) string { return prefixes(p.link.Addresses, false) })},
	{v1alpha1.AttributeRDMA, everywhere, "Whether the hardware is an RDMA device too (RoCE, InfiniBand, iWARP).",
		boolean(func(p *probe) bool { return rdmaDevice(p) != "" })},

	{deviceattribute.StandardDeviceAttributePCIBusID, onPCI, "Address of the PCI function, `0000:3b:00.0`; of a virtio interface, the function that it belongs to.",
		standard("string", func(p *probe) (deviceattribute.DeviceAttribute, error) {
			return deviceattribute.GetPCIBusIDAttribute(p.function)
		})},
	{deviceattribute.StandardDeviceAttributePCIeRoot, onPCI, "PCIe root complex, `pci0000:3a`.",
		standard("string", func(p *probe) (deviceattribute.DeviceAttribute, error) {
			return deviceattribute.GetPCIeRootAttributeByPCIBusID(p.function, deviceattribute.WithFS(p.sys))
		})},
	{deviceattribute.StandardDeviceAttributeNUMANode, onPCI, "NUMA node; absent if unknown.",
		standard("int", func(p *probe) (deviceattribute.DeviceAttribute, error) {
			return deviceattribute.GetNUMANodeAttributeByPCIBusID(p.function,
				deviceattribute.ScalarAttribute, deviceattribute.WithFS(p.sys))
		})},
	{v1alpha1.AttributePCIAddress, onPCI, "The same as `resource.kubernetes.io/pciBusID`, under dranet's name for it.",
		text(func(p *probe) string { return p.function })},
	{v1alpha1.AttributeNUMANode, onPCI, "NUMA node, `-1` if unknown.",
		number(func(p *probe) int { return p.pciNumber("numa_node", -1) })},
	{v1alpha1.AttributePCIVendor, onPCI, "PCI vendor, `0x8086`.",
		text(func(p *probe) string { return p.pciFile("vendor") })},
	{v1alpha1.AttributePCIDevice, onPCI, "PCI device, `0x1572`.",
		text(func(p *probe) string { return p.pciFile("device") })},

	{v1alpha1.AttributeSRIOV, onPF, "`true`: the function can have virtual functions.",
		boolean(isPF)},
	{v1alpha1.AttributeSRIOVVFs, onPF, "How many virtual functions it has now.",
		number(func(p *probe) int { return p.vfs })},
	{"sriovVFsFree", onPF, "How many more it could have.",
		number(func(p *probe) int { return max(p.totalVFs-p.vfs, 0) })},
	{"eswitchMode", notOnVF, "Mode of the switch between a physical function and its virtual ones, `switchdev`; absent if that is `legacy` or unknown.",
		known(text(func(p *probe) string { return strings.TrimPrefix(p.link.EswitchMode, "legacy") }))},
	{v1alpha1.AttributeIsSRIOVVF, onVF, "`true`.",
		boolean(isVF)},
	{"pfName", onVF, "Name of its physical function's interface; absent if that has none.",
		known(text(func(p *probe) string { return p.relations.pfName }))},
	{"pfPCIAddress", onVF, "PCI address of its physical function.",
		text(func(p *probe) string { return p.physical })},
	{"vfIndex", onVF, "Its number, from 0, as in `ip link set … vf N`.",
		reader{"int", func(p *probe) (resourceapi.DeviceAttribute, bool) {
			return resourceapi.DeviceAttribute{IntValue: new(int64(p.relations.vfIndex))}, p.relations.vfIndex >= 0
		}}},

	{"rdmaDevice", onRDMA, "Name of the RDMA device, `mlx5_0`.",
		text(rdmaDevice)},
}

// spare are further attributes, the most useful first. A device has those for which
// maxOwn leaves room.
var spare = []attribute{
	{"ebpf", everywhere, "`true`: eBPF programs are attached, by tc, tcx or XDP.",
		known(boolean(func(p *probe) bool { return p.link.EBPF }))},
	{"firmwareVersion", notOnVF, "Version of the firmware, where the driver reports it.",
		known(text(func(p *probe) string { return p.link.Firmware }))},
	{"vlan", onVirtual, "ID of a VLAN interface.",
		known(number(func(p *probe) int { return p.link.VLAN }))},
	{"bond", everywhere, "Name of the bond or team that the interface is, is a port of, or has as lower interface at any depth.",
		known(text(func(p *probe) string { return p.relations.bond }))},
	{"portName", onHardware, "Name of the port on the hardware, `p0`, or of what a representor stands for, `pf0vf1`.",
		known(text(func(p *probe) string { return p.link.PortName }))},
	{"switchID", onHardware, "The same for all ports and representors of one switch.",
		known(text(func(p *probe) string { return p.link.SwitchID }))},
	{"permanentMAC", onHardware, "Hardware address that the device was made with, where `mac` is another.",
		known(text(func(p *probe) string {
			if string(p.link.PermMAC) == string(p.link.MAC) {
				return ""
			}
			return p.link.PermMAC.String()
		}))},
	{"driverVersion", onHardware, "Version of the driver's module, where it has one: most have that only outside of the kernel's source tree.",
		known(text(func(p *probe) string { return p.readFile(p.parentPath("driver/module/version")) }))},
	{"rxQueues", onHardware, "How many receive queues the interface can use at most.",
		known(number(func(p *probe) int { return p.link.RxQueues }))},
	{"txQueues", onHardware, "How many transmit queues.",
		known(number(func(p *probe) int { return p.link.TxQueues }))},
	{"duplex", everywhere, "`full` or `half`, with a carrier.",
		known(text(func(p *probe) string { return p.link.Duplex }))},
	{v1alpha1.AttributePCISubsystem, onPCI, "PCI subsystem device, `0x0007`.",
		text(func(p *probe) string { return p.pciFile("subsystem_device") })},
	{"tcxProgramNames", everywhere, "Names of the tcx programs, `first,second`; as many as fit in 64 bytes.",
		known(text(func(p *probe) string { return joined(p.link.Programs) }))},
	{"tcFilterNames", everywhere, "Names of the tc filters that have an eBPF program, likewise.",
		known(text(func(p *probe) string { return joined(p.link.Filters) }))},
}

// standard is for attributes that Kubernetes defines and reads from sysfs. A
// device for which sysfs lacks the value does not have the attribute.
func standard(typ string, read func(*probe) (deviceattribute.DeviceAttribute, error)) reader {
	return reader{typ, func(p *probe) (resourceapi.DeviceAttribute, bool) {
		a, err := read(p)
		return a.Value, err == nil
	}}
}

func kind(p *probe) string {
	if p.link.Kind == "" && p.hasLink() {
		return "device"
	}
	return p.link.Kind
}

// maxMTU returns the largest MTU of a link. What has no limit takes any number, but
// no packet of IP is longer than 65535 bytes.
func maxMTU(p *probe) int {
	const unlimited = 65535
	switch {
	case !p.hasLink():
		return 0
	case p.link.MaxMTU == 0:
		return max(unlimited, p.link.MTU)
	}
	return p.link.MaxMTU
}
