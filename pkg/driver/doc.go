// Package driver connects the node's engine (package attachment) to Kubernetes
// and to the container runtime. It is a set of adapters, one a file, that know
// the engine and the records and never each other: driver.go wires them.
//
//	dra.go       answers the kubelet: claims are prepared and released
//	handlers.go  answers the container runtime (NRI): sandboxes and containers come and go
//	cdi.go       writes what a container gets that uses a device: the runtime hook that guards it
//	slices.go    publishes devices as ResourceSlices
//	status.go    renders the records into the status of their claims
//	events.go    writes events of what an administrator must know
//	metrics.go   counts
//	health.go    serves liveness, readiness and metrics
//
// Any event of the kubelet or the runtime may be missing, late, or come twice.
// A second pod on a claim and a new sandbox of a pod get no Prepare; a kubelet
// restart brings a second one. So the records decide what is to be done, not
// the events, and doing it again is harmless.
//
// Handlers answer before the runtime's timeout, since it takes a late handler
// for one that succeeded. None calls the API server, except CreateContainer of
// a pod that the records do not know, for at most 500 ms.
package driver
