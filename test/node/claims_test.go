package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// TestAPIServerAway checks that a pod's start and end need no API server once
// its claim is prepared, nor does a driver that starts, and that the claim is
// told when the server is back.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.claim("c", "h0", "net1", p)
	w.must(w.prepare(p))
	w.gate.cut()
	for _, id := range []string{"s1", "s2"} { // the second with a driver that never saw the server
		s := w.sandbox(p, id)
		w.must(w.run(s))
		w.must(w.create(s))
		w.has(s, "h0", "net1")
		w.end(s)
		w.isHome()
		w.kill()
		w.startDriver()
		w.hooked()
	}
	s := w.sandbox(p, "s3")
	w.must(w.run(s))
	w.must(w.create(s))
	if got := w.status(c); got.ready != "" {
		t.Errorf("the claim says %+v, though nobody could write it", got)
	}
	w.gate.mend()
	w.says(c, "True", "Attached")
	w.gate.cut()
	w.end(s)
	w.isHome()
	w.registered()
	w.unprepare(p)
	w.nothingLeft()
	w.gate.mend()
	w.says(c, "False", "Detached")
}

// TestParametersInAnyOrder checks that a claim reports its link whatever the
// order of its parameters' keys. The API server sorts them when a status is
// applied, and refuses the claim that results as a change of its allocation.
func TestParametersInAnyOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pod("web", "c")
	c := w.newClaim("c")
	parameters := fmt.Sprintf(`{"kind":%q,"interface":{"name":"net1"},"apiVersion":%q}`, v1alpha1.ConfigKind, v1alpha1.GroupVersion)
	c = w.allocateWith(c, []result{{driverName, w.node, "h0"}, {gpuDriver, "gpus", "gpu0"}}, parameters, p)
	// What another driver says of the claim is none of ours to change.
	theirs := resourceapi.AllocatedDeviceStatus{Driver: gpuDriver, Pool: "gpus", Device: "gpu0", Conditions: []metav1.Condition{
		{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Ready", Message: "warm", LastTransitionTime: metav1.Now().Rfc3339Copy()},
	}}
	c.Status.Devices = []resourceapi.AllocatedDeviceStatus{theirs}
	c, err := master.client.ResourceV1().ResourceClaims(w.node).UpdateStatus(w.ctx, c, metav1.UpdateOptions{})
	w.must(err)
	startGPU(w).works.Store(true)
	w.must(w.prepare(p))
	s := w.sandbox(p, "s1")
	w.must(w.run(s))
	w.must(w.create(s))
	w.says(c, "True", "Attached")
	w.finish(p, s)
	w.says(c, "False", "Detached")
	now, err := master.client.ResourceV1().ResourceClaims(w.node).Get(w.ctx, c.Name, metav1.GetOptions{})
	w.must(err)
	if diff := cmp.Diff([]resourceapi.AllocatedDeviceStatus{theirs}, slices.DeleteFunc(now.Status.Devices, func(d resourceapi.AllocatedDeviceStatus) bool { return d.Driver == driverName })); diff != "" {
		t.Errorf("the other driver's status (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(c.Status.Allocation, now.Status.Allocation); diff != "" {
		t.Errorf("the allocation (-want +got):\n%s", diff)
	}
}

// TestClaimDeletedByForce checks that a link is restored though nothing in the
// API server speaks of it any more.
func TestClaimDeletedByForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.deleteClaim(c)
	w.has(s, "h0", "net1")
	w.finish(p, s)
	w.eventually("the device can be had again", func() bool {
		next := w.pod("next", "c") // of the same name, as a template or a StatefulSet makes it
		w.claim("c", "h0", "net1", next)
		err := w.prepare(next)
		w.check(err)
		w.unprepare(next)
		return err == nil
	})
}

// TestSecondPodOnClaim checks that a second pod, for which the kubelet prepares
// nothing, waits for the first one's end and then gets the link.
func TestSecondPodOnClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.pod("first", "c"), w.pod("second", "c")
	c := w.claim("c", "h0", "net1", first)
	w.must(w.prepare(first))
	s1 := w.sandbox(first, "s1")
	w.must(w.run(s1))
	w.must(w.create(s1))
	// The scheduler reserves it for the second one while the first one runs.
	w.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now, err := master.client.ResourceV1().ResourceClaims(w.node).Get(w.ctx, c.Name, metav1.GetOptions{})
		w.must(err)
		now.Status.ReservedFor = append(now.Status.ReservedFor, resourceapi.ResourceClaimConsumerReference{Resource: "pods", Name: second.Name, UID: second.UID})
		_, err = master.client.ResourceV1().ResourceClaims(w.node).UpdateStatus(w.ctx, now, metav1.UpdateOptions{})
		return err
	}))
	w.must(w.prepare(second))
	s2 := w.sandbox(second, "s2")
	if err := w.run(s2); err == nil { // the driver has not been told of this pod
		w.refused(w.create(s2), errNRI)
		w.end(s2)
	}
	w.has(s1, "h0", "net1")
	w.says(c, "True", "Attached")
	w.end(s1)
	w.isHome()
	w.unprepare(first) // of which the driver hears nothing: the claim has a pod
	s3 := w.sandbox(second, "s3")
	w.eventually("the second pod gets the link", func() bool { return w.run(s3) == nil && w.create(s3) == nil })
	w.has(s3, "h0", "net1")
	w.says(c, "True", "Attached")
	w.finish(second, s3)
}

// TestSamePodNameAgain checks that a pod of the same name, whose claim of the
// same name the API server has already given the device, waits for the end of
// the old pod's containers, and then gets it.
func TestSamePodNameAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, c, s := w.running()
	w.deleteClaim(c) // with the pod, by force
	for _, name := range []string{"c", "c-x7k2p"} {
		next := w.pod("web", name)
		w.claim(name, "h0", "net1", next)
		if err := w.prepare(next); err == nil {
			t.Errorf("claim %s is prepared while the old pod runs", name)
		} else if name != "c" && !strings.Contains(err.Error(), "held by claim") {
			t.Errorf("claim %s: %v, want to hear who holds the device", name, err)
		}
		w.has(s, "h0", "net1")
		w.unprepare(next)
	}
	w.end(s)
	w.unprepare(p)
	next := w.pod("web", "c-q8w3r")
	c = w.claim("c-q8w3r", "h0", "net1", next)
	w.must(w.prepare(next))
	s = w.sandbox(next, "s2")
	w.must(w.run(s))
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	w.says(c, "True", "Attached")
	w.finish(next, s)
}

// TestTwoClaims checks that the end of one claim of a pod leaves its other one
// alone, and that a claim which a second pod shares is not released with the
// first.
func TestTwoClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, other := w.pod("web", "c0", "c1"), w.pod("other", "c1")
	c0, c1 := w.claim("c0", "h0", "net0", p), w.claim("c1", "h1", "net1", p, other)
	w.must(w.prepare(p))
	w.must(w.prepare(other))
	s := w.sandbox(p, "s1")
	w.must(w.run(s))
	w.must(w.create(s))
	w.has(s, "h0", "net0")
	w.has(s, "h1", "net1")
	// The kubelet's own end of a pod, but for one of its claims.
	only := p.DeepCopy()
	only.Spec.ResourceClaims = only.Spec.ResourceClaims[:1]
	w.unprepare(only)
	w.says(c0, "False", "Detached")
	w.has(s, "h1", "net1")
	w.says(c1, "True", "Attached")
	w.host.Run("ip link show h0")
	if err := w.create(s); err == nil {
		t.Error("a container starts that lacks one of its two links")
	}
	w.end(s)
	w.isHome()
	w.unprepare(p)
	if left, _ := os.ReadDir(w.dir + "/state/allocations"); len(left) != 1 {
		t.Errorf("the store has %v, want the claim that is shared", left)
	}
	s = w.sandbox(other, "s2")
	w.must(w.run(s))
	w.must(w.create(s))
	w.has(s, "h1", "net1")
	w.finish(other, s)
}

// gpu is another driver on the node, which fails until it is told not to.
type gpu struct{ works atomic.Bool }

const gpuDriver = "gpu.example.com"

func (g *gpu) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	results := map[types.UID]kubeletplugin.PrepareResult{}
	for _, c := range claims {
		if !g.works.Load() {
			results[c.UID] = kubeletplugin.PrepareResult{Err: errors.New("the GPU is broken")}
			continue
		}
		results[c.UID] = kubeletplugin.PrepareResult{Devices: []kubeletplugin.Device{{Requests: []string{"nic"}, PoolName: "gpus", DeviceName: "gpu0"}}}
	}
	return results, nil
}

func (g *gpu) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, c := range claims {
		results[c.UID] = nil
	}
	return results, nil
}

func (*gpu) HandleError(context.Context, error, string) {}

func (*gpu) WatchHealthStatus(context.Context, chan<- kubeletplugin.DeviceHealthReport) error {
	return kubeletplugin.ErrHealthNotSupported
}

// startGPU starts it, until the test ends.
func startGPU(w *world) *gpu {
	w.t.Helper()
	g := &gpu{}
	data := w.dir + "/kubelet/plugins/" + gpuDriver
	w.must(os.MkdirAll(data, 0o755))
	helper, err := kubeletplugin.Start(w.kubelet.ctx, g, kubeletplugin.DriverName(gpuDriver), kubeletplugin.NodeName(w.node), kubeletplugin.KubeClient(w.gated),
		kubeletplugin.RegistrarDirectoryPath(w.dir+"/kubelet/plugins_registry"), kubeletplugin.PluginDataDirectoryPath(data))
	w.must(err)
	w.t.Cleanup(helper.Stop)
	w.knows(gpuDriver)
	return g
}

// TestOtherDriverFails checks that a NIC of a pod that cannot start for another
// driver's sake is not stranded: nothing moves, and the end of the pod frees it.
func TestOtherDriverFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := startGPU(w)
	start := func(claim string) *corev1.Pod {
		p := w.pod("web", claim)
		w.allocate(w.newClaim(claim), []result{{driverName, w.node, "h0"}, {gpuDriver, "gpus", "gpu0"}}, "net1", p)
		return p
	}
	p := start("c")
	for range 5 { // as often as not our driver is asked first
		if err := w.prepare(p); err == nil || !strings.Contains(err.Error(), "the GPU is broken") {
			t.Fatalf("prepare: %v", err)
		}
	}
	w.isHome()
	w.unprepare(p)
	w.nothingLeft()

	p = start("c2")
	if err := w.prepare(p); err == nil {
		t.Error("the GPU works")
	}
	g.works.Store(true)
	w.eventually("the kubelet tries again", func() bool { return w.prepare(p) == nil })
	s := w.sandbox(p, "s1")
	w.must(w.run(s))
	w.must(w.create(s))
	w.has(s, "h0", "net1")
	time.Sleep(statusEvery)
	w.finish(p, s)
}
