package v1alpha1

// Names of attributes and capacities that a device has in a ResourceSlice, under
// the driver's name. docs/attributes.md describes all.
const (
	AttributeIfName        = "ifName"
	AttributeMAC           = "mac"
	AttributeMTU           = "mtu"
	AttributeMaxMTU        = "maxMTU"
	AttributeState         = "state"
	AttributeCarrier       = "carrier"
	AttributeSpeedMbps     = "speedMbps"
	AttributeType          = "type"
	AttributeVirtual       = "virtual"
	AttributeEncapsulation = "encapsulation"
	AttributeDriver        = "driver"
	AttributeAlias         = "alias"
	AttributeIPv4          = "ipv4"
	AttributeIPv6          = "ipv6"
	AttributeRDMA          = "rdma"

	AttributePCIAddress   = "pciAddress"
	AttributePCIVendor    = "pciVendor"
	AttributePCIDevice    = "pciDevice"
	AttributePCISubsystem = "pciSubsystem"
	AttributeNUMANode     = "numaNode"
	AttributeSRIOV        = "sriov"
	AttributeSRIOVVFs     = "sriovVfs"
	AttributeIsSRIOVVF    = "isSriovVf"

	CapacityBandwidth = "bandwidth"
)
