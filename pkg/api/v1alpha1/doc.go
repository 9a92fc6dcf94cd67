// Package v1alpha1 holds the user's words: NetDeviceConfig, the opaque
// parameters of a claim or a device class, and NetDeviceStatus, what the
// driver writes into the claim's status.
//
// It hides how text becomes types, and who may set which field. Decode is the
// only door: what it returns is parsed and valid, and what it refuses it names
// by field and value. The shape of NetDeviceConfig is that of dranet's
// NetworkConfig, with more fields; dranet.go has what differs
// (TestDranetConfigs). The table of fields is the source of the reference, the
// JSON schema and the chart's admission policy, which tests make.
//
// The package knows neither the kernel nor Kubernetes' clients.
package v1alpha1

const (
	// GroupVersion is the apiVersion of both types.
	GroupVersion = "dra-netdev.github.io/v1alpha1"
	// ConfigKind is the kind of NetDeviceConfig.
	ConfigKind = "NetDeviceConfig"
	// StatusKind is the kind of NetDeviceStatus.
	StatusKind = "NetDeviceStatus"
)
