package v1alpha1

// DriverName is the name under which Kubernetes knows the driver: in device
// classes, ResourceSlices and the status of claims.
const DriverName = "dra-netdev.github.io"

// ConditionReady is the type of the condition that each device of a claim has
// in status.devices: it is True while the device's interface is in the pod as
// the claim wants it.
const ConditionReady = "Ready"

// Reasons of the condition Ready.
const (
	// ReasonAttached: the interface is in the pod as the claim wants it.
	ReasonAttached = "Attached"
	// ReasonAttaching: the interface is on its way into the pod. The pod's
	// containers wait for it.
	ReasonAttaching = "Attaching"
	// ReasonPrepareFailed: the claim cannot be served; nothing was touched.
	ReasonPrepareFailed = "PrepareFailed"
	// ReasonAttachFailed: the interface could not be moved into the pod, and is
	// on the host as it was.
	ReasonAttachFailed = "AttachFailed"
	// ReasonDetached: the interface is on the host as it was.
	ReasonDetached = "Detached"
	// ReasonDetachFailed: the interface is not on the host as it was; the driver
	// tries again.
	ReasonDetachFailed = "DetachFailed"
	// ReasonRestoredWithDifferences: the interface is on the host, but settings
	// that the message names could not be restored.
	ReasonRestoredWithDifferences = "RestoredWithDifferences"
	// ReasonMissing: the interface is neither in the pod nor on the host.
	ReasonMissing = "Missing"
	// ReasonSandboxEnded: the interface is in a pod sandbox that has ended,
	// though the container runtime did not report its end.
	ReasonSandboxEnded = "SandboxEnded"
)

// ReasonContainerRefused is the reason of the event that a pod gets when the
// runtime hook refused one of its containers.
const ReasonContainerRefused = "ContainerRefused"
