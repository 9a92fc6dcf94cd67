//go:build vm

package netdev

import (
	"slices"
	"strings"
	"testing"
)

// TestVMUppersElsewhere checks what a NIC's host shows of a macvlan on it in
// another namespace, by drivers with and without a filter for several unicast
// addresses, and that it shows nothing without one, and nothing of an ipvlan.
func TestVMUppersElsewhere(t *testing.T) {
	for _, driver := range []string{"e1000e", "virtio_net", "8139cp"} {
		t.Run(driver, func(t *testing.T) {
			w, _ := vmWorld(t, driver, "")
			shown := func() Link {
				links, err := w.host.Links()
				if err != nil {
					t.Fatal(err)
				}
				return links[slices.IndexFunc(links, func(l Link) bool { return l.Name == "h0" })]
			}
			if l := shown(); l.Promiscuity != 0 || len(l.Unicast) != 0 || l.Parent == "" {
				t.Errorf("without upper devices: promiscuity %d, addresses %v, parent %q", l.Promiscuity, l.Unicast, l.Parent)
			}
			for kind, shows := range map[string]bool{"macvlan": true, "ipvlan": false} {
				lines(t, w.Host, "ip link add up0 link h0 type "+kind+"\nip link set up0 netns "+w.Pod.Path)
				lines(t, w.Pod, "ip link set up0 up")
				l := shown()
				t.Logf("%s: promiscuity %d, addresses %v, its own %s", kind, l.Promiscuity, l.Unicast, l.MAC)
				if got := l.Promiscuity > 0 || len(l.Unicast) > 0; got != shows {
					t.Errorf("a %s in another namespace is shown %v, want %v", kind, got, shows)
				}
				lines(t, w.Pod, "ip link del up0")
				if l := shown(); l.Promiscuity != 0 || len(l.Unicast) != 0 {
					t.Errorf("after that: promiscuity %d, addresses %v", l.Promiscuity, l.Unicast)
				}
			}
		})
	}
}

// TestVMWireGuard checks the kind of a WireGuard interface.
func TestVMWireGuard(t *testing.T) {
	w, _ := vmWorld(t, "e1000e", "ip link add wg0 type wireguard")
	links, err := w.host.Links()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(links, func(l Link) bool {
		return l.Name == "wg0" && l.Kind == "wireguard" && strings.EqualFold(l.Encapsulation, "none")
	}) {
		t.Errorf("no WireGuard interface in %+v", links)
	}
}
