package driver

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// announced are the reasons of a claim's condition that are worth an event:
// the kubelet has events of its own for pods that cannot start.
var announced = map[string]string{ // reason → type of the event
	v1alpha1.ReasonMissing:                 corev1.EventTypeWarning,
	v1alpha1.ReasonDetachFailed:            corev1.EventTypeWarning,
	v1alpha1.ReasonRestoredWithDifferences: corev1.EventTypeWarning,
}

const maxNote = 1024 // bytes of an event's note: the API refuses longer ones

// announcer writes events (events.k8s.io/v1) about links. It says a thing once
// until something else is to be said of the link.
type eventRecorder struct {
	node        string
	broadcaster events.EventBroadcaster
	recorder    events.EventRecorder

	mu   sync.Mutex        // guards said
	said map[string]string // reason and message by claim and device
}

func newEventRecorder(client kubernetes.Interface, node string) *eventRecorder {
	b := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	return &eventRecorder{node: node, broadcaster: b, recorder: b.NewRecorder(scheme.Scheme, v1alpha1.DriverName), said: map[string]string{}}
}

// start sends, from now on, what is announced.
func (n *eventRecorder) start(ctx context.Context) error {
	if err := n.broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("start events: %w", err)
	}
	return nil
}

func (n *eventRecorder) stop() { n.broadcaster.Shutdown() }

// announce tells of a link, in an event of the pod that has or had it, or of
// the node when there is no such pod.
func (n *eventRecorder) announce(a allocation.Record, reason, message string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key, now := a.Claim.UID+"/"+a.Device.Name, reason+": "+message
	if n.said[key] == now {
		return
	}
	typ := announced[reason]
	if typ == "" {
		delete(n.said, key)
		return
	}
	n.said[key] = now
	claim := &resourceapi.ResourceClaim{}
	claim.Namespace, claim.Name, claim.UID = a.Claim.Namespace, a.Claim.Name, types.UID(a.Claim.UID)
	note := fmt.Sprintf("link %s of device %s: %s", a.Device.Link.Name, a.Device.Name, message)
	n.recorder.Eventf(n.about(a), claim, typ, reason, "Detach", "%s", cut(note, maxNote))
}

// forget forgets what was told of a claim that is gone.
func (n *eventRecorder) forget(claimUID string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.said, func(key, _ string) bool { return strings.HasPrefix(key, claimUID+"/") })
}

// about returns what an event about the link regards.
func (n *eventRecorder) about(a allocation.Record) runtime.Object {
	for _, p := range a.Pods {
		if p.UID == a.PodUID || len(a.Pods) == 1 {
			pod := &corev1.Pod{}
			pod.Namespace, pod.Name, pod.UID = p.Namespace, p.Name, types.UID(p.UID)
			return pod
		}
	}
	node := &corev1.Node{}
	node.Name, node.UID = n.node, types.UID(n.node)
	return node
}
