package driver

import (
	"errors"
	"testing"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/attachment"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// statusWorld is two writers of one claim with two devices, as two instances
// have them.
type statusWorld struct {
	*world
	claim        *resourceapi.ResourceClaim
	store        *allocation.Store
	older, newer *statusWriter
	seen         map[string]nic.Statistics // by device
}

func newStatusWorld(t *testing.T) *statusWorld {
	store, _, err := allocation.Open(t.Context(), t.TempDir()+"/allocations", "boot")
	must(t, err)
	w := &statusWorld{world: &world{t: t, ctx: t.Context(), client: newClient()}, store: store, seen: map[string]nic.Statistics{}}
	w.claim = w.world.claim("c", "h0", net1, "web")
	second := w.claim.Status.Allocation.Devices.Results[0]
	second.Device = "h1"
	w.claim.Status.Allocation.Devices.Results = append(w.claim.Status.Allocation.Devices.Results, second)
	must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), w.claim, "default"))
	latest := func(r allocation.Record) (o attachment.Observation, ok bool) {
		o.Link.Statistics, ok = w.seen[r.Device.Name]
		o.Time = time.Now()
		return o, ok
	}
	w.older, w.newer = newStatusWriter(w.client, store, latest), newStatusWriter(w.client, store, latest)
	return w
}

// prepared returns the record of a device that nothing is done to.
func (w *statusWorld) prepared(device string) allocation.Record {
	return allocation.Record{Claim: claimRef(w.claim), Pool: nodeName, Device: inventory.Device{Name: device, Link: netdev.Link{Name: device}}}
}

// attach returns the record of a device that is attached to a sandbox.
func (w *statusWorld) attach(device string) allocation.Record {
	r := w.prepared(device)
	return r.Begin(allocation.Sandbox{ID: "s"}, r.ID(), netdev.State{Name: device}, nil, time.Now(), time.Now()).
		AttachDone(netdev.Attached{State: netdev.State{Name: "net1"}}, time.Now())
}

// detached returns the record of a device that was detached from a sandbox.
func (w *statusWorld) detached(device string) allocation.Record {
	r, err := w.attach(device).Detached(netdev.Result{Final: &nic.Statistics{TxBytes: 7}}, nil, false, time.Now())
	must(w.t, err)
	return r
}

// put stores a record as an instance does that has changed it.
func (w *statusWorld) put(writer *statusWriter, r allocation.Record) {
	w.t.Helper()
	before, _ := w.store.Get(r.Key())
	must(w.t, w.store.Put(r))
	writer.changed(attachment.Change{Before: before, After: r})
}

// remove removes a record as an instance does that has released it.
func (w *statusWorld) remove(writer *statusWriter, device string) {
	w.t.Helper()
	r, _ := w.store.Get(w.prepared(device).Key())
	must(w.t, w.store.Release(r.Key()))
	writer.changed(attachment.Change{Before: r, After: r, Removed: true})
}

func (w *statusWorld) write(writer *statusWriter) {
	w.t.Helper()
	must(w.t, writer.sync(w.ctx, w.claim.UID))
}

// reasons are those of the claim's devices.
func (w *statusWorld) reasons() map[string]string {
	w.t.Helper()
	now, err := w.client.ResourceV1().ResourceClaims("default").Get(w.ctx, "c", metav1.GetOptions{})
	must(w.t, err)
	all := map[string]string{}
	for _, d := range now.Status.Devices {
		all[d.Device] = d.Conditions[0].Reason
	}
	return all
}

func (w *statusWorld) want(h0, h1 string) {
	w.t.Helper()
	if got := w.reasons(); got["h0"] != h0 || got["h1"] != h1 {
		w.t.Errorf("the claim has %v, want %s and %s", got, h0, h1)
	}
}

// TestStatusOfOtherInstances checks that an instance which writes of one device
// keeps what another one, or an earlier one, wrote of others, and that nobody
// writes again what has ended.
func TestStatusOfOtherInstances(t *testing.T) {
	w := newStatusWorld(t)
	w.put(w.older, w.attach("h0"))
	w.put(w.older, w.attach("h1").Seen(netdev.ErrNotFound, false, time.Now()))
	w.write(w.older)
	w.want(v1alpha1.ReasonAttached, v1alpha1.ReasonMissing)
	w.seen["h0"] = nic.Statistics{RxBytes: 1}
	w.write(w.newer)
	w.want(v1alpha1.ReasonAttached, v1alpha1.ReasonMissing)
	delete(w.seen, "h0") // an instance that has not looked yet
	w.write(w.older)
	now, err := w.client.ResourceV1().ResourceClaims("default").Get(w.ctx, "c", metav1.GetOptions{})
	must(t, err)
	if got := entriesOf(now)[nodeName+"/h0"]; got.Data == nil || got.Data.Statistics.RxBytes != 1 {
		t.Errorf("the counters are %+v, want those that were written", got.Data)
	}

	w.put(w.newer, w.attach("h1")) // queued, and then overtaken
	w.put(w.older, w.detached("h1"))
	w.write(w.older)
	w.write(w.newer)
	w.want(v1alpha1.ReasonAttached, v1alpha1.ReasonDetached)

	w.put(w.older, w.detached("h0"))
	w.write(w.older)
	w.put(w.newer, w.prepared("h1").AttachFailed(errors.New("no"), time.Now()))
	w.write(w.newer)
	w.want(v1alpha1.ReasonDetached, v1alpha1.ReasonAttachFailed)

	w.older.failed(allocation.Ref{Namespace: "default", Name: "c", UID: "replaced"}, w.claim.Status.Allocation.Devices.Results, errors.New("no"))
	must(t, w.older.sync(w.ctx, "replaced"))
	w.want(v1alpha1.ReasonDetached, v1alpha1.ReasonAttachFailed)
	if len(w.older.last) != 0 {
		t.Errorf("a replaced claim is kept: %v", w.older.last)
	}
}

// TestStatusOutlivesRecord checks that what was last recorded of a device is
// written though its record is gone by then, with its final counters, once, and
// not over the news of a claim that is prepared again.
func TestStatusOutlivesRecord(t *testing.T) {
	w := newStatusWorld(t)
	w.put(w.older, w.attach("h0"))
	w.put(w.older, w.attach("h1"))
	w.write(w.older)
	for _, device := range []string{"h0", "h1"} {
		w.put(w.older, w.detached(device))
		w.remove(w.older, device)
	}
	w.put(w.older, w.attach("h1"))
	w.write(w.older)
	w.want(v1alpha1.ReasonDetached, v1alpha1.ReasonAttached)
	now, err := w.client.ResourceV1().ResourceClaims("default").Get(w.ctx, "c", metav1.GetOptions{})
	must(t, err)
	if got := entriesOf(now)[nodeName+"/h0"]; got.Data == nil || got.Data.Statistics.TxBytes != 7 {
		t.Errorf("the final counters are %+v, want 7 bytes sent", got.Data)
	}
	if len(w.older.last) != 0 {
		t.Errorf("it is kept after it was written: %v", w.older.last)
	}
}

// TestNewsWhileWriting checks that what becomes of a link while its attachment
// is about to be written is written, not forgotten with it.
func TestNewsWhileWriting(t *testing.T) {
	w := newStatusWorld(t)
	w.put(w.older, w.attach("h0"))
	ended := false
	w.client.PrependReactor("get", "resourceclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
		if !ended {
			ended = true
			w.put(w.older, w.detached("h0"))
			w.remove(w.older, "h0")
		}
		return false, nil, nil
	})
	w.write(w.older)
	w.write(w.older) // the news is in the queue
	w.want(v1alpha1.ReasonDetached, "")
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		s    string
		max  int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"ab\u00e4", 3, "ab"}, {"\u20ac", 2, ""}, {"a\xff", 4, "a\ufffd"}, {"a\xff", 3, "a"}} {
		if got := cut(tt.s, tt.max); got != tt.want {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.s, tt.max, got, tt.want)
		}
	}
}
