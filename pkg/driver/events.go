package driver

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
)

// eventTypes are the reasons of a claim's condition that are worth an event: the
// kubelet has events of its own for pods that cannot start.
var eventTypes = map[string]string{ // reason → type of the event
	v1alpha1.ReasonLeaseLost:               corev1.EventTypeWarning,
	v1alpha1.ReasonMissing:                 corev1.EventTypeWarning,
	v1alpha1.ReasonDetachFailed:            corev1.EventTypeWarning,
	v1alpha1.ReasonRestoredWithDifferences: corev1.EventTypeWarning,
}

const maxNote = 1024 // bytes of an event's note: the API refuses longer ones

// eventRecorder writes events (events.k8s.io/v1) about interfaces.
type eventRecorder struct {
	node        string
	broadcaster events.EventBroadcaster
	recorder    events.EventRecorder
}

func newEventRecorder(client kubernetes.Interface, node string) *eventRecorder {
	b := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	return &eventRecorder{node: node, broadcaster: b, recorder: b.NewRecorder(scheme.Scheme, v1alpha1.DriverName)}
}

// start sends, from now on, what is recorded.
func (n *eventRecorder) start(ctx context.Context) error {
	if err := n.broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("start events: %w", err)
	}
	return nil
}

func (n *eventRecorder) stop() { n.broadcaster.Shutdown() }

// changed records an event when a device's condition has become one that is
// worth it: of the pod that has or had the interface, or of the node when there
// is no such pod.
func (n *eventRecorder) changed(c attachment.Change) {
	before, after := c.Before.Condition, c.After.Condition
	typ := eventTypes[after.Reason]
	if typ == "" || c.Removed || before.Reason == after.Reason && before.Message == after.Message {
		return
	}
	var podUID string
	for _, r := range []allocation.Record{c.Before, c.After} {
		if r.Attachment != nil {
			podUID = r.Attachment.Sandbox.PodUID
		}
	}
	r, action := c.After, "Detach"
	if after.Reason == v1alpha1.ReasonLeaseLost {
		action = "ExtendLease"
	}
	note := fmt.Sprintf("device %s: %s", r.Device.Name, after.Message)
	if r.Device.HasLink() {
		note = fmt.Sprintf("interface %s of device %s: %s", r.Device.Link.Name, r.Device.Name, after.Message)
	}
	n.recorder.Eventf(n.regarding(r.Pods, podUID), claimObject(r.Claim), typ, after.Reason, action, "%s", cut(note, maxNote))
}

// regarding returns what an event is about: the pod of the UID, or the only one
// there is, or the node.
func (n *eventRecorder) regarding(pods []allocation.Ref, podUID string) runtime.Object {
	for _, p := range pods {
		if p.UID == podUID || len(pods) == 1 {
			pod := &corev1.Pod{}
			pod.Namespace, pod.Name, pod.UID = p.Namespace, p.Name, types.UID(p.UID)
			return pod
		}
	}
	node := &corev1.Node{}
	node.Name, node.UID = n.node, types.UID(n.node)
	return node
}

// notMade records, of the node, why virtual functions were not made.
func (n *eventRecorder) notMade(cause error) {
	n.recorder.Eventf(n.regarding(nil, ""), nil, corev1.EventTypeWarning, v1alpha1.ReasonVFsNotMade, "MakeVirtualFunctions", "%s", cut(cause.Error(), maxNote))
}

// claimObject returns what an event names of a claim.
func claimObject(ref allocation.Ref) *resourceapi.ResourceClaim {
	claim := &resourceapi.ResourceClaim{}
	claim.Namespace, claim.Name, claim.UID = ref.Namespace, ref.Name, types.UID(ref.UID)
	return claim
}

// refused records what the runtime hook refused, in an event of the pod, or of
// the node where the pod is not known. A pod of another namespace than the
// claim's has nothing to do with it.
func (n *eventRecorder) refused(ctx context.Context, store *allocation.Store, f refusal) {
	klog.FromContext(ctx).Info("Runtime hook refused a container", "pod", klog.KRef(f.Pod.Namespace, f.Pod.Name), "container", f.Container, "device", f.device, "at", f.Time, "reason", f.Reason)
	var r allocation.Record
	if known := store.Find(func(r allocation.Record) bool { return r.Claim.UID == f.claimUID && r.Device.Name == f.device }); len(known) > 0 {
		r = known[0]
	}
	pods := r.Pods
	if f.Pod.UID != "" && f.Pod.Name != "" && !r.ReservedFor(f.Pod.UID) {
		pods = nil
		if r.Claim.Name == "" || r.Claim.Namespace == f.Pod.Namespace {
			pods = []allocation.Ref{f.Pod}
		}
	}
	var related runtime.Object
	if r.Claim.Name != "" {
		related = claimObject(r.Claim)
	}
	note := fmt.Sprintf("device %s: container %s was refused at %s: %s", f.device, f.Container, f.Time.UTC().Format(time.RFC3339), f.Reason)
	n.recorder.Eventf(n.regarding(pods, f.Pod.UID), related, corev1.EventTypeWarning, v1alpha1.ReasonContainerRefused, "Start", "%s", cut(note, maxNote))
}
