package v1alpha1

// DriverName is the driver's name in Kubernetes: in device classes,
// ResourceSlices and the status of claims.
const DriverName = "dra-netdev.github.io"

// ConditionReady is the type of the condition that each device has in the status
// of a claim (status.devices[].conditions). It is True while the device's
// interface is in the pod and configured as the claim requests, or while the pod
// may use the device, if that has no interface.
const ConditionReady = "Ready"

// ConditionRDMAReady is the type of a second condition of an interface that has an
// RDMA device. It is True while the pod can use that device.
const ConditionRDMAReady = "RDMAReady"

// Reasons of the condition RDMAReady.
const (
	// ReasonRDMAAvailable: containers that list the claim have the device's nodes.
	ReasonRDMAAvailable = "RDMAAvailable"
	// ReasonRDMAUnavailable: the message names the cause.
	ReasonRDMAUnavailable = "RDMAUnavailable"
)

// Reasons of the condition Ready.
const (
	// ReasonAttached: the interface is in the pod, configured as the claim
	// requests.
	ReasonAttached = "Attached"
	// ReasonAvailable: the device has no interface, and the pod's containers that
	// list the claim may use it.
	ReasonAvailable = "Available"
	// ReasonAttaching: the driver is moving the interface into the pod. No
	// container of the pod starts before that is done.
	ReasonAttaching = "Attaching"
	// ReasonPrepareFailed: the claim cannot be prepared. Nothing was changed.
	ReasonPrepareFailed = "PrepareFailed"
	// ReasonAttachFailed: the interface could not be moved into the pod. It is on
	// the host with its original settings.
	ReasonAttachFailed = "AttachFailed"
	// ReasonDetached: the interface is on the host with its original settings.
	ReasonDetached = "Detached"
	// ReasonDetachFailed: the interface could not be moved back to the host or
	// restored there. The driver retries.
	ReasonDetachFailed = "DetachFailed"
	// ReasonRestoredWithDifferences: the interface is on the host, but the
	// settings that the message names could not be restored.
	ReasonRestoredWithDifferences = "RestoredWithDifferences"
	// ReasonMissing: the interface is neither in the pod nor on the host.
	ReasonMissing = "Missing"
	// ReasonLeaseLost: the interface is in the pod, but its address, which was
	// leased from a DHCP server, is not: no server has extended the lease. The
	// driver asks again.
	ReasonLeaseLost = "LeaseLost"
	// ReasonSandboxEnded: the interface is in a pod sandbox that ended without a
	// report from the container runtime.
	ReasonSandboxEnded = "SandboxEnded"
)

// ReasonContainerRefused is the reason of the event on a pod when the runtime
// hook has refused one of its containers.
const ReasonContainerRefused = "ContainerRefused"

// ReasonVFsNotMade is the reason of the event on a node when a physical function
// keeps another number of virtual functions than it is to have.
const ReasonVFsNotMade = "VirtualFunctionsNotMade"
