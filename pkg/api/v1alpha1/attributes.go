package v1alpha1

// Names of the attributes that a device has in a ResourceSlice, under the
// driver's name. docs/attributes.md describes each of them.
const (
	AttributeIfName        = "ifName"
	AttributeMAC           = "mac"
	AttributeMTU           = "mtu"
	AttributeState         = "state"
	AttributeType          = "type"
	AttributeVirtual       = "virtual"
	AttributeEncapsulation = "encapsulation"
	AttributeAlias         = "alias"
	AttributeIPv4          = "ipv4"
	AttributeIPv6          = "ipv6"

	AttributePCIAddress   = "pciAddress"
	AttributePCIVendor    = "pciVendor"
	AttributePCIDevice    = "pciDevice"
	AttributePCISubsystem = "pciSubsystem"
	AttributeNUMANode     = "numaNode"
	AttributeSRIOV        = "sriov"
	AttributeSRIOVVFs     = "sriovVfs"
	AttributeIsSRIOVVF    = "isSriovVf"
)
