// Package driver is Kubernetes' room: it answers the kubelet's DRA calls and
// the container runtime's NRI hooks, publishes ResourceSlices, and writes what
// became of each device into its claim. It hides clients, sockets and the
// order of events; the kernel's work is netdev's and the memory allocation's.
//
// # Life of a device
//
//	event                    from      what happens
//	Prepare                  kubelet   the claim's devices go into the book, once tried against the links as they are
//	RunPodSandbox            runtime   the links of the pod's claims move into its namespace, all or none
//	CreateContainer          runtime   refused unless the pod's links are in its sandbox, or can be brought there now
//	StopPodSandbox, Remove…  runtime   the links come home
//	Unprepare                kubelet   they are restored, if they are not; the claim's records go; refused while the pod runs
//	Synchronize              runtime   nothing but the news that the runtime is there
//	start                    –         links of an attach that was cut off are restored; what the runtime hook refused is reported
//
// Any of these may be missing, late, or come twice. A second pod on a claim and
// a new sandbox of a pod get no Prepare; a kubelet restart brings a second one.
// So the book, not the event, says what is to be done, and doing it again is
// harmless.
//
// No hook waits for longer than the runtime waits for it, and none for the API
// server, but a container's of a pod that the book does not know, for half a
// second. Whoever moves links holds the book, in this process or in a newer
// one beside it.
package driver
