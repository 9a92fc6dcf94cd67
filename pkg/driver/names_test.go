package driver

import (
	"testing"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestNames checks that templates become names in the order of the claims and
// their devices, that an interface whose name cannot be used in a pod gets one,
// and that a name which the pod's own network has by then is passed over.
func TestNames(t *testing.T) {
	w := newWorld(t, "ip link add h1 type ifb\nip link add h2 type ifb\nip link add a@b type ifb\nip link add eth0 type ifb")
	const rail = `{"interface":{"name":"rail%d"}}`
	fixed := w.claim("fixed", "h2", `{"interface":{"name":"rail1"}}`, "web")
	first, second := w.claim("first", "h0", rail, "web"), w.claim("second", "h1", rail, "web")
	odd, reserved := w.claim("odd", "net-mfage", `{}`, "web"), w.claim("reserved", "eth0", `{"interface":{"mtu":1400}}`, "web")
	for _, c := range []*resourceapi.ResourceClaim{fixed, first, second, odd, reserved} {
		must(t, w.prepare(c))
		must(t, w.prepare(c)) // again: each keeps its name
	}
	p := w.pod("web", "s1")
	p.ns.Lines("ip link add rail2 type ifb\nip link add net0 type ifb")
	must(t, w.run(p))
	w.eventually("all in the claims", func() bool { _, _, _, _, network := w.device(reserved); return network != nil })
	for _, want := range []struct {
		claim *resourceapi.ResourceClaim
		name  string
	}{{fixed, "rail1"}, {first, "rail0"}, {second, "rail3"}, {odd, "net2"}, {reserved, "net1"}} {
		w.eventually(want.claim.Name+" is ready", func() bool { ready, _, _, _, _ := w.device(want.claim); return ready == "True" })
		if _, _, _, _, network := w.device(want.claim); network.InterfaceName != want.name {
			t.Errorf("claim %s: the interface is %s in the pod, want %s", want.claim.Name, network.InterfaceName, want.name)
		}
	}
	w.end(p)
	w.restored()
}

// TestNameOfSeveral checks that a name which only one interface can have is
// refused for a request of several devices.
func TestNameOfSeveral(t *testing.T) {
	requests := []resourceapi.DeviceRequest{
		{Name: "one", Exactly: &resourceapi.ExactDeviceRequest{Count: 1}},
		{Name: "two", Exactly: &resourceapi.ExactDeviceRequest{Count: 2}},
		{Name: "all", Exactly: &resourceapi.ExactDeviceRequest{AllocationMode: resourceapi.DeviceAllocationModeAll}},
		{Name: "any", FirstAvailable: []resourceapi.DeviceSubRequest{{Name: "a", Count: 2}, {Name: "b", Count: 1}}},
	}
	tests := []struct{ request, name, want string }{
		{"one", "net1", ""}, {"two", "net%d", ""}, {"two", "", ""}, {"all", "net%d", ""}, {"any/b", "net1", ""}, {"gone", "net1", ""},
		{"two", "net1", `interface.name: "net1": request two is for 2 devices, and each needs its own name: write a template such as net%d`},
		{"all", "net1", `interface.name: "net1": request all is for all devices that match, and each needs its own name: write a template such as net%d`},
		{"any/a", "net1", `interface.name: "net1": request any/a is for 2 devices, and each needs its own name: write a template such as net%d`},
	}
	for _, tt := range tests {
		got := ""
		if err := checkName(requests, tt.request, nic.Config{Interface: nic.Interface{Name: tt.name}}); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("request %s, name %q: got error %q, want %q", tt.request, tt.name, got, tt.want)
		}
	}
}
