package driver

import (
	"errors"
	"testing"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// statusWorld is two writers of one claim with two devices, as two instances
// have them.
type statusWorld struct {
	*world
	claim        *resourceapi.ResourceClaim
	book         *allocation.Store
	older, newer *statusWriter
}

func newStatusWorld(t *testing.T) *statusWorld {
	book, _, err := allocation.Open(t.Context(), t.TempDir()+"/allocations", "boot")
	must(t, err)
	w := &statusWorld{world: &world{t: t, ctx: t.Context(), client: newClient()}, book: book}
	w.claim = w.world.claim("c", "h0", net1, "web")
	second := w.claim.Status.Allocation.Devices.Results[0]
	second.Device = "h1"
	w.claim.Status.Allocation.Devices.Results = append(w.claim.Status.Allocation.Devices.Results, second)
	must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), w.claim, "default"))
	w.older, w.newer = newStatusWriter(w.client, book), newStatusWriter(w.client, book)
	return w
}

// put enters a device into the book, attached or not, and returns it.
func (w *statusWorld) put(device string, attached bool) allocation.Record {
	w.t.Helper()
	a := allocation.Record{Claim: claimRef(w.claim), Pool: nodeName, Device: inventory.Device{Name: device, Link: netdev.Link{Name: device}}}
	if state := (netdev.State{Name: "net1"}); attached {
		a.Original, a.Want, a.Attached = &state, &state, &state
	}
	must(w.t, w.book.Put(a))
	return a
}

func (w *statusWorld) write(writer *statusWriter) {
	w.t.Helper()
	must(w.t, writer.write(w.ctx, w.claim.UID))
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
		w.t.Errorf("the claim says %v, want %s and %s", got, h0, h1)
	}
}

// TestStatusOfOtherInstances holds that an instance which writes of one device
// keeps what another one, or an earlier one, said of others, and that nobody
// says again what has ended.
func TestStatusOfOtherInstances(t *testing.T) {
	w := newStatusWorld(t)
	h0, h1 := w.put("h0", true), w.put("h1", true)
	w.older.attached(h0, v1alpha1.Statistics{})
	w.older.detached(h1, v1alpha1.ReasonMissing, "gone", nil)
	w.write(w.older)
	w.want(v1alpha1.ReasonAttached, v1alpha1.ReasonMissing)
	w.newer.attached(h0, v1alpha1.Statistics{RxBytes: 1})
	w.write(w.newer)
	w.want(v1alpha1.ReasonAttached, v1alpha1.ReasonMissing)

	w.newer.attached(h1, v1alpha1.Statistics{}) // queued, and then overtaken
	w.put("h1", false)
	w.older.detached(h1, v1alpha1.ReasonDetached, "home", nil)
	w.write(w.older)
	w.write(w.newer)
	w.want(v1alpha1.ReasonAttached, v1alpha1.ReasonDetached)

	w.older.detached(h0, v1alpha1.ReasonDetached, "home", nil)
	w.put("h0", false)
	w.write(w.older)
	w.newer.detached(h1, v1alpha1.ReasonAttachFailed, "no", nil)
	w.write(w.newer)
	w.want(v1alpha1.ReasonDetached, v1alpha1.ReasonAttachFailed)

	w.newer.end(string(w.claim.UID))
	w.write(w.newer)
	w.want(v1alpha1.ReasonDetached, v1alpha1.ReasonAttachFailed)
	if len(w.newer.claims) != 0 {
		t.Errorf("an ended claim is kept: %v", w.newer.claims)
	}
	w.older.failed(allocation.Ref{Namespace: "default", Name: "c", UID: "replaced"}, w.claim.Status.Allocation.Devices.Results, v1alpha1.ReasonPrepareFailed, errors.New("no"))
	must(t, w.older.write(w.ctx, "replaced"))
	w.want(v1alpha1.ReasonDetached, v1alpha1.ReasonAttachFailed)
}

// TestNewsWhileWriting holds that what becomes of a link while its attachment
// is about to be written is written, not forgotten with it.
func TestNewsWhileWriting(t *testing.T) {
	w := newStatusWorld(t)
	w.older.attached(w.put("h0", true), v1alpha1.Statistics{})
	ended := false
	w.client.PrependReactor("get", "resourceclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
		if !ended {
			ended = true
			w.older.detached(w.put("h0", false), v1alpha1.ReasonDetached, "home", nil)
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
