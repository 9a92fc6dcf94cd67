package driver

import (
	"context"
	"maps"
	"sync"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

const (
	flushTimeout = 2 * time.Second // for writing after the end

	maxMessage = 32768 // bytes of a condition's message
)

// statusWriter writes what became of devices into status.devices of their
// claims, by server-side apply under our own field manager. It keeps the
// wanted status of each claim and a queue of those that differ from what was
// last written, so no caller waits for the API server, and what fails is tried
// again. It is safe for use by several goroutines at once.
type statusWriter struct {
	client kubernetes.Interface
	// attachedNow says whether the device of the claim is in a pod, as the book
	// has it.
	attachedNow func(claimUID, device string) bool
	queue       workqueue.TypedRateLimitingInterface[types.UID]

	mu     sync.Mutex // guards claims
	claims map[types.UID]*claimStatus
}

// claimStatus is the wanted status of a claim and the one last written.
type claimStatus struct {
	ref           allocation.Ref
	want, written map[string]deviceStatus // by pool and device
	ended         bool                    // nothing more will come: forget it once it is written
}

func newStatusWriter(client kubernetes.Interface, book *allocation.Store) *statusWriter {
	return &statusWriter{
		client: client,
		attachedNow: func(claimUID, device string) bool {
			return len(book.Find(func(a allocation.Record) bool {
				return a.Claim.UID == claimUID && a.Device.Name == device && a.Attached != nil
			})) > 0
		},
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](500*time.Millisecond, time.Minute)),
		claims: map[types.UID]*claimStatus{},
	}
}

// attached says that the link is in the pod, with these counters.
func (w *statusWriter) attached(a allocation.Record, now v1alpha1.Statistics) {
	w.set(a.Claim, deviceStatus{
		Pool: a.Pool, Device: a.Device.Name, Ready: true, Since: a.AttachedAt,
		Reason: v1alpha1.ReasonAttached, Message: "the link is in the pod as " + a.Attached.Name,
		Network: networkData(a), Data: data(a, now.Since(a.Base)),
	})
}

// detached says that the link is not in the pod, and why; final are the
// counters of its time there, if they are known.
func (w *statusWriter) detached(a allocation.Record, reason, message string, final *v1alpha1.Statistics) {
	s := deviceStatus{Pool: a.Pool, Device: a.Device.Name, Reason: reason, Message: message}
	if final != nil {
		s.Data = data(a, *final)
	}
	w.set(a.Claim, s)
}

// failed says that devices of a claim could not be prepared.
func (w *statusWriter) failed(claim allocation.Ref, results []resourceapi.DeviceRequestAllocationResult, reason string, err error) {
	for _, r := range results {
		w.set(claim, deviceStatus{Pool: r.Pool, Device: r.Device, Reason: reason, Message: err.Error()})
	}
}

// set changes the wanted status of one device.
func (w *statusWriter) set(claim allocation.Ref, s deviceStatus) {
	s.Message = cut(s.Message, maxMessage)
	w.mu.Lock()
	defer w.mu.Unlock()
	uid := types.UID(claim.UID)
	c := w.claims[uid]
	if c == nil {
		c = &claimStatus{ref: claim, want: map[string]deviceStatus{}, written: map[string]deviceStatus{}}
		w.claims[uid] = c
	}
	key := s.Pool + "/" + s.Device
	if last, ok := c.want[key]; ok && last.Ready == s.Ready && s.Since.IsZero() {
		s.Since = last.Since
	}
	if s.Since.IsZero() {
		s.Since = time.Now().UTC().Truncate(time.Second)
	}
	c.want[key], c.ended = s, false
	if !same(c.written[key], s) {
		w.queue.Add(uid)
	}
}

// run writes until ctx ends, and then, for a short while, what is still to be
// written: the next instance cannot know it.
func (w *statusWriter) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, w.queue.ShutDown)
	defer stop()
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(flushTimeout, cancel) })
	for {
		uid, shutdown := w.queue.Get()
		if shutdown {
			return
		}
		if err := w.write(last, uid); err != nil {
			klog.FromContext(ctx).Error(err, "Write claim status, trying again", "claimUID", uid)
			w.queue.AddRateLimited(uid)
		} else {
			w.queue.Forget(uid)
		}
		w.queue.Done(uid)
	}
}

// write applies the wanted status of a claim. A claim that is gone, replaced or
// no longer allocated is forgotten.
func (w *statusWriter) write(ctx context.Context, uid types.UID) error {
	ref, want := w.wanted(uid)
	if len(want) == 0 || w.done(uid) {
		return nil
	}
	now, err := w.client.ResourceV1().ResourceClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	var entries map[string]deviceStatus
	if err == nil && now.UID == uid {
		entries = w.merge(uid, want, now)
	}
	if len(entries) == 0 {
		w.forget(uid, want)
		return nil
	}
	err = w.put(ctx, now, entries)
	if err != nil && (wrong(err) || w.hopeless(uid, err)) {
		klog.FromContext(ctx).Error(err, "Gave up writing claim status until there is news", "claim", klog.KObj(now), "fields", fieldsOf(err))
		w.forget(uid, want)
		return nil
	}
	if err != nil {
		return err
	}
	w.wrote(uid, want, entries)
	return nil
}

// wrote notes what stands in the claim now; want is what was to be written.
func (w *statusWriter) wrote(uid types.UID, want, entries map[string]deviceStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.claims[uid]
	if c == nil {
		return
	}
	for key, s := range c.want {
		if last, ok := want[key]; ok && same(last, s) { // else it changed while it was being written
			if s, ok = entries[key]; ok {
				c.want[key] = s
			} else {
				delete(c.want, key)
			}
		}
	}
	c.written = maps.Clone(entries)
	for key := range c.written {
		if _, ok := c.want[key]; !ok {
			delete(c.written, key) // another's
		}
	}
	switch {
	case !maps.EqualFunc(c.want, c.written, same):
		w.queue.Add(uid)
	case c.ended:
		delete(w.claims, uid)
	}
}

// done says whether there is nothing new to write, and lets go of a claim of
// which nothing will come.
func (w *statusWriter) done(uid types.UID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.claims[uid]
	if c == nil || !maps.EqualFunc(c.want, c.written, same) {
		return c == nil
	}
	if c.ended {
		delete(w.claims, uid)
	}
	return true
}

// end lets go of a claim as soon as its last status is written.
func (w *statusWriter) end(claimUID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.claims[types.UID(claimUID)]; c != nil {
		c.ended = true
		w.queue.Add(types.UID(claimUID))
	}
}

func (w *statusWriter) wanted(uid types.UID) (allocation.Ref, map[string]deviceStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.claims[uid]
	if c == nil {
		return allocation.Ref{}, nil
	}
	want := map[string]deviceStatus{}
	for k, s := range c.want {
		want[k] = s
	}
	return c.ref, want
}

// hopeless says whether the API server refuses what we have to say of a claim
// that has ended: there will be nothing better to say.
func (w *statusWriter) hopeless(uid types.UID, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.claims[uid]
	return c != nil && c.ended && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err))
}

// forget ends the writing for a claim, unless there is other news by now than
// what was to be written.
func (w *statusWriter) forget(uid types.UID, want map[string]deviceStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.claims[uid]; c != nil && maps.EqualFunc(c.want, want, same) {
		delete(w.claims, uid)
	}
}
