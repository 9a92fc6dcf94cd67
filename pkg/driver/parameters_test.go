package driver

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// config is an entry of a claim's allocation.
func config(source resourceapi.AllocationConfigSource, driver, parameters string, requests ...string) resourceapi.DeviceAllocationConfiguration {
	return resourceapi.DeviceAllocationConfiguration{Source: source, Requests: requests, DeviceConfiguration: resourceapi.DeviceConfiguration{
		Opaque: &resourceapi.OpaqueDeviceConfiguration{Driver: driver, Parameters: runtime.RawExtension{Raw: []byte(parameters)}},
	}}
}

// TestParameters checks which parameters a device gets, and whose they are.
func TestParameters(t *testing.T) {
	claim := &resourceapi.ResourceClaim{}
	claim.Spec.Devices.Requests = []resourceapi.DeviceRequest{
		{Name: "fast", Exactly: &resourceapi.ExactDeviceRequest{DeviceClassName: "fast-nic"}},
		{Name: "any", FirstAvailable: []resourceapi.DeviceSubRequest{{Name: "a", DeviceClassName: "class-a"}, {Name: "b", DeviceClassName: "class-b"}}},
	}
	const class, own = resourceapi.AllocationConfigSourceClass, resourceapi.AllocationConfigSourceClaim
	claim.Status.Allocation = &resourceapi.AllocationResult{}
	claim.Status.Allocation.Devices.Config = []resourceapi.DeviceAllocationConfiguration{
		config(class, v1alpha1.DriverName, "1", "fast"),
		config(class, v1alpha1.DriverName, "2", "any/b"),
		config(class, "gpu.example.com", "3", "fast"),
		config(class, v1alpha1.DriverName, "4", "gone"),
		config(own, v1alpha1.DriverName, "5"),
		config(own, v1alpha1.DriverName, "6", "any"),
		config("FromTheFuture", v1alpha1.DriverName, "7", "fast"),
	}
	for request, want := range map[string][]v1alpha1.Parameters{
		"fast":  {{Class: "fast-nic", Raw: []byte("1")}, {Raw: []byte("5")}, {Raw: []byte("7")}},
		"any/a": {{Raw: []byte("5")}, {Raw: []byte("6")}},
		"any/b": {{Class: "class-b", Raw: []byte("2")}, {Raw: []byte("5")}, {Raw: []byte("6")}},
		"gone":  {{Class: "of request gone", Raw: []byte("4")}, {Raw: []byte("5")}},
	} {
		got := parameters(claim, resourceapi.DeviceRequestAllocationResult{Request: request})
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", request, d)
		}
	}
}

// TestClassConfig checks that a device class decides what its claims may set,
// before anything is touched.
func TestClassConfig(t *testing.T) {
	w := newWorld(t, "")
	claim := func(name, own string) *resourceapi.ResourceClaim {
		c := w.claim(name, "h0", own, "web")
		c.Spec.Devices.Requests = []resourceapi.DeviceRequest{{Name: "nic", Exactly: &resourceapi.ExactDeviceRequest{DeviceClassName: "fixed"}}}
		all := &c.Status.Allocation.Devices.Config
		*all = append([]resourceapi.DeviceAllocationConfiguration{
			config(resourceapi.AllocationConfigSourceClass, v1alpha1.DriverName, `{"claimMaySet":["interface.name"],"interface":{"mtu":1400,"name":"class0"}}`, "nic"),
		}, *all...)
		must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), c, "default"))
		return c
	}
	refused(t, w.prepare(claim("more", `{"interface":{"name":"net1","mtu":1300}}`)), `interface.mtu: cannot be set by a claim: device class fixed lets it set only ["interface.name"]`)
	refused(t, w.prepare(claim("itself", `{"claimMaySet":["interface"],"interface":{"mtu":1300}}`)), `claimMaySet: ["interface"]: a claim cannot set it, only a device class`)
	w.restored()
	must(t, w.prepare(claim("name", `{"interface":{"name":"net1"}}`)))
	p := w.pod("web", "s1")
	must(t, w.run(p))
	if !has(p, "net1") {
		t.Error("the pod has no net1")
	}
	if a := w.driver.store.All(); len(a) != 1 || !a[0].Attached() || a[0].Attachment.InPod.State.MTU != 1400 {
		t.Errorf("the allocation is %+v, want one with the MTU of the class", a)
	}
	w.end(p)
	w.restored()
}

// TestHolderIsNotTold checks that the user of one namespace does not learn of
// the claims of another.
func TestHolderIsNotTold(t *testing.T) {
	w := newWorld(t, "")
	first := w.claim("first", "h0", net1, "web")
	must(t, w.prepare(first))
	refused(t, w.prepare(w.claim("second", "h0", net1, "other")), "held by claim default/first")
	foreign := first.DeepCopy()
	foreign.Namespace, foreign.Name, foreign.UID = "tenant", "theirs", "uid-theirs"
	again := first.DeepCopy()
	again.UID = "uid-again"
	p := &plugin{node: nodeName, store: w.driver.store, engine: w.driver.engine, ready: w.driver.canPrepare, device: w.driver.device}
	for _, c := range []*resourceapi.ResourceClaim{foreign, again} {
		_, err := p.prepare(w.ctx, c)
		want := map[string]string{"tenant": "held by a claim of another namespace", "default": "held by an earlier claim of the same name"}[c.Namespace]
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s/%s: got %v, want %q", c.Namespace, c.Name, err, want)
		}
	}
	w.restored()
}
