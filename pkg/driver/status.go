package driver

import (
	"context"
	"maps"
	"reflect"
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
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	flushTimeout  = 2 * time.Second        // for writing after the end
	attachingTime = 300 * time.Millisecond // an attach that ends sooner is not written: most do
)

// statusWriter writes what has become of devices into status.devices of their
// claims. It renders a claim from its records at the moment of writing; a queue
// holds the claims of which something has changed, so no caller waits for the
// API server, and what fails is tried again. It is safe for use by several
// goroutines at once.
type statusWriter struct {
	client kubernetes.Interface
	store  *allocation.Store
	latest func(allocation.Record) (attachment.Observation, bool)
	queue  workqueue.TypedRateLimitingInterface[types.UID]

	mu   sync.Mutex             // guards last
	last map[types.UID]farewell // of devices without a record, until it is written
}

// farewell is what remains to be written of devices of a claim that have no
// record any more, or never had one.
type farewell struct {
	claim   allocation.Ref
	devices map[string]deviceStatus // by pool and device
}

func newStatusWriter(client kubernetes.Interface, store *allocation.Store, latest func(allocation.Record) (attachment.Observation, bool)) *statusWriter {
	return &statusWriter{
		client: client, store: store, latest: latest, last: map[types.UID]farewell{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](500*time.Millisecond, time.Minute)),
	}
}

// add writes the status of a claim, if it differs.
func (w *statusWriter) add(claimUID string) { w.queue.Add(types.UID(claimUID)) }

// all writes the status of all claims that have records, as at the start: an
// earlier process may have been killed before it did.
func (w *statusWriter) all() {
	for _, r := range w.store.All() {
		w.add(r.Claim.UID)
	}
}

// changed writes the status of a claim of which a record has changed.
func (w *statusWriter) changed(c attachment.Change) {
	uid := types.UID(c.After.Claim.UID)
	w.mu.Lock()
	if c.Removed {
		w.say(c.After.Claim, w.render(c.After))
	} else {
		delete(w.last[uid].devices, c.After.Pool+"/"+c.After.Device.Name)
	}
	w.mu.Unlock()
	switch {
	case !c.Removed && reflect.DeepEqual(c.Before.Condition, c.After.Condition) && reflect.DeepEqual(leasesOf(c.Before), leasesOf(c.After)):
	case c.After.Attaching():
		w.queue.AddAfter(uid, attachingTime)
	default:
		w.queue.Add(uid)
	}
}

// failed reports that devices of a claim could not be prepared.
func (w *statusWriter) failed(claim allocation.Ref, results []resourceapi.DeviceRequestAllocationResult, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range results {
		w.say(claim, deviceStatus{Pool: r.Pool, Device: r.Device, Reason: v1alpha1.ReasonPrepareFailed, Message: cut(err.Error(), maxMessage)})
	}
	w.queue.Add(types.UID(claim.UID))
}

// say notes what is to be written of a device without a record. The caller
// holds mu.
func (w *statusWriter) say(claim allocation.Ref, s deviceStatus) {
	uid := types.UID(claim.UID)
	if w.last[uid].devices == nil {
		w.last[uid] = farewell{claim, map[string]deviceStatus{}}
	}
	if s.Reason != "" {
		w.last[uid].devices[s.Pool+"/"+s.Device] = s
	}
}

// run writes until ctx ends, and then, for a short while, what is still to be
// written: the next instance may not know it.
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
		if err := w.sync(last, uid); err != nil {
			klog.FromContext(ctx).Error(err, "Failed to write claim status; will retry", "claimUID", uid)
			w.queue.AddRateLimited(uid)
		} else {
			w.queue.Forget(uid)
		}
		w.queue.Done(uid)
	}
}

// sync makes the status of a claim what its records say. A claim that is gone,
// replaced or no longer allocated is left alone.
func (w *statusWriter) sync(ctx context.Context, uid types.UID) error {
	ref, want, ended := w.wanted(uid)
	if len(want) == 0 {
		w.drop(uid, want)
		return nil
	}
	now, err := w.client.ResourceV1().ResourceClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if err == nil && now.UID == uid {
		have := entriesOf(now)
		entries := merge(now, have, want)
		if len(entries) > 0 && !maps.EqualFunc(have, entries, same) {
			err = w.put(ctx, now, entries)
		}
	}
	switch {
	case err == nil || apierrors.IsNotFound(err):
	case wrong(err) || ended && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err)):
		klog.FromContext(ctx).Error(err, "Gave up writing a claim's status until it changes", "claim", klog.KObj(now), "fields", fieldsOf(err))
	default:
		return err
	}
	w.drop(uid, want)
	return nil
}

// wanted returns a claim with what is to be written of its devices, by pool and
// device, and whether all of its records have ended.
func (w *statusWriter) wanted(uid types.UID) (ref allocation.Ref, want map[string]deviceStatus, ended bool) {
	w.mu.Lock()
	last := w.last[uid]
	ref, want, ended = last.claim, map[string]deviceStatus{}, true
	maps.Copy(want, last.devices)
	w.mu.Unlock()
	for _, r := range w.store.OfClaim(string(uid)) {
		ref, ended = r.Claim, ended && r.Released
		if s := w.render(r); s.Reason != "" {
			want[s.Pool+"/"+s.Device] = s
		}
	}
	return ref, want, ended
}

// drop forgets what was written of devices without a record, unless there is
// something else to be written by now.
func (w *statusWriter) drop(uid types.UID, written map[string]deviceStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.last[uid].devices, func(key string, s deviceStatus) bool { return reflect.DeepEqual(written[key], s) })
	if len(w.last[uid].devices) == 0 {
		delete(w.last, uid)
	}
}

// render returns the status of a record's device, with the counters that were
// seen last.
func (w *statusWriter) render(r allocation.Record) deviceStatus {
	s := deviceStatus{
		Pool: r.Pool, Device: r.Device.Name, Ready: r.Condition.Ready(), Since: r.Condition.Since,
		Reason: r.Condition.Reason, Message: cut(r.Condition.Message, maxMessage),
	}
	switch {
	case !r.Device.HasLink(): // it has neither addresses nor counters
	case r.Condition.Ready() && r.Attached():
		s.Network = networkData(withLeases(r))
		var counted nic.Statistics
		at := r.Attachment.Since
		seen, ok := w.latest(r)
		if s.unseen = !ok || seen.Err != nil; !s.unseen {
			counted, at = seen.Link.Statistics.Since(r.Attachment.InPod.Base), seen.Time
		}
		s.Data = data(r, counted, seen.RDMA, at)
	case r.Condition.Final != nil:
		s.Data = data(r, *r.Condition.Final, nil, time.Now())
	}
	return s
}

// merge returns the entries that the claim is to have: those of ours that it
// has, with what is wanted over them. status.devices may name devices only that
// are allocated to the claim now.
func merge(now *resourceapi.ResourceClaim, have, want map[string]deviceStatus) map[string]deviceStatus {
	entries := maps.Clone(have)
	for key, s := range want {
		if last, ok := have[key]; s.Since.IsZero() && ok && last.Ready == s.Ready {
			s.Since = last.Since
		}
		if last, ok := have[key]; s.unseen && ok && last.Ready && last.Since.Equal(s.Since) && last.Data != nil {
			seen := *last.Data // another process, or an earlier one, has looked
			if s.Data != nil {
				seen.Leases, seen.MTU, seen.Identity = s.Data.Leases, s.Data.MTU, s.Data.Identity
				if seen.RDMA == nil || s.Data.RDMA == nil {
					seen.RDMA = s.Data.RDMA
				}
			}
			s.Data = &seen
		}
		if last, ok := have[key]; ok && s.Data == nil && last.Data != nil && !last.Data.Identity.IsZero() {
			kept := *last.Data // by which the next Prepare recognizes the interface
			kept.MTU, kept.Omitted, kept.Leases = 0, nil, nil
			s.Data = &kept
		}
		s.unseen = false
		if s.Since.IsZero() {
			s.Since = time.Now().UTC().Truncate(time.Second)
		}
		entries[key] = s
	}
	allocated := map[string]bool{}
	if a := now.Status.Allocation; a != nil {
		for _, r := range a.Devices.Results {
			allocated[r.Pool+"/"+r.Device] = r.Driver == v1alpha1.DriverName
		}
	}
	maps.DeleteFunc(entries, func(key string, _ deviceStatus) bool { return !allocated[key] })
	return entries
}
