package driver

import (
	"strings"
	"testing"

	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
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

// TestAddressPool checks that each interface of a class with a pool gets an address
// of its own and the pool's gateway, that claims keep theirs, and that a pool
// without a free address is refused until a claim ends.
func TestAddressPool(t *testing.T) {
	w := newWorld(t, "ip link add h1 type veth peer name x1\nip link add h2 type veth peer name x2")
	const pool = `{"interface":{"name":"net%d","addressPool":{"ranges":["10.9.0.1-10.9.0.3/24"],"gateway":"10.9.0.1"}},"routes":[{"destination":"10.10.0.0/16"}]}`
	claim := func(name, device, pod string) *resourceapi.ResourceClaim {
		c := w.claim(name, device, `{}`, pod)
		c.Spec.Devices.Requests = []resourceapi.DeviceRequest{{Name: "nic", Exactly: &resourceapi.ExactDeviceRequest{DeviceClassName: "pool"}}}
		all := &c.Status.Allocation.Devices.Config
		*all = append([]resourceapi.DeviceAllocationConfiguration{config(resourceapi.AllocationConfigSourceClass, v1alpha1.DriverName, pool, "nic")}, *all...)
		must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), c, "default"))
		return c
	}
	first, second, third := claim("first", "h0", "a"), claim("second", "h1", "b"), claim("third", "h2", "c")
	must(t, w.prepare(first))
	must(t, w.prepare(second))
	must(t, w.prepare(first)) // again: it keeps its address
	const full = `device h2: interface.addressPool.ranges: "[10.9.0.1-10.9.0.3/24]": no address of [10.9.0.1-10.9.0.3/24] is free on this node`
	refused(t, w.prepare(third), full)
	a, b := w.pod("a", "s1"), w.pod("b", "s2")
	must(t, w.run(a))
	must(t, w.run(b))
	for _, want := range []struct {
		p       pod
		address string
	}{{a, "inet 10.9.0.2/24"}, {b, "inet 10.9.0.3/24"}} {
		if got := want.p.ns.Run("ip -4 addr show dev net0"); !strings.Contains(got, want.address) {
			t.Errorf("got %s, want %s", got, want.address)
		}
		if got := want.p.ns.Run("ip route"); !strings.Contains(got, "10.10.0.0/16 via 10.9.0.1 dev net0") {
			t.Errorf("got the routes %s, want one by the pool's gateway", got)
		}
	}
	w.end(a)
	w.unprepare(first)
	must(t, w.prepare(third))
	if got := w.driver.store.OfClaim(string(third.UID)); len(got) != 1 || got[0].Config.Interface.Addresses[0].String() != "10.9.0.2/24" {
		t.Errorf("got %+v, want the address that became free", got)
	}
	w.end(b)
	w.restored()
}
