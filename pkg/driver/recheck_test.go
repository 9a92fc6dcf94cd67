package driver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// TestNeededSincePrepare checks that a link which the host came to need after
// its claim was prepared is refused to the pod, by the reason for which the
// inventory does not offer it, and that the pod gets it when that is over.
func TestNeededSincePrepare(t *testing.T) {
	tests := []struct{ name, need, over, want string }{
		{"port", "ip link add br0 type bridge\nip link set h0 master br0", "ip link del br0", "it is a port of bridge br0"},
		{"route", "ip route add default via 192.0.2.254 dev h0", "ip route del default", "it carries the node's default route"},
		{"route6", "ip -6 route add default via 2001:db8::fe dev h0", "ip -6 route del default", "it carries the node's default route"},
		{"address", "ip addr add 203.0.113.7/32 dev h0", "ip addr del 203.0.113.7/32 dev h0", "it carries the node's address 203.0.113.7"},
		{"upper", "ip link add m0 link h0 type macvlan", "ip link del m0", "it has upper interfaces: m0"},
		{"uplink", "ip link add m0 link h0 type macvlan\nip link set m0 up\nip addr add 203.0.113.7/32 dev m0", "ip link del m0", "it is a lower device of the node's uplink m0"},
		{"table", "ip route add default via 192.0.2.254 dev h0 table 7\nip rule add from 198.51.100.7 lookup 7", "ip rule del from 198.51.100.7 lookup 7\nip route flush table 7", "rules of the host send traffic to its default route in table 7"},
		{"elsewhere", "bridge fdb add 02:00:00:00:00:77 dev h0 self permanent", "bridge fdb del 02:00:00:00:00:77 dev h0 self", "it receives for others than the host: promiscuity 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.driver.nodes.mu.Lock()
			w.driver.nodes.addrs = []netip.Addr{netip.MustParseAddr("203.0.113.7")}
			w.driver.nodes.mu.Unlock()
			c := w.claim("c", "h0", net1, "web")
			must(t, w.prepare(c))
			w.host(tt.need)
			links, err := netdev.Links(w.ctx)
			must(t, err)
			offered := inventory.Scan(links, w.driver.cfg.Sys, w.driver.scanOptions())
			if i := slices.IndexFunc(offered, func(d inventory.Device) bool { return d.Name == "h0" }); offered[i].Skipped != tt.want {
				t.Errorf("the inventory says %q, want %q", offered[i].Skipped, tt.want)
			}
			needed := w.snapshot()
			refused(t, w.run(w.pod("web", "s1")), "interface h0 of claim default/c stays on the host: "+tt.want)
			late := w.pod("web", "s2")
			refused(t, w.create(late, c), tt.want)
			if now := w.snapshot(); now != needed {
				t.Errorf("the refusal changed h0:\n%s\nnow:\n%s", needed, now)
			}
			w.eventually("the claim says so", func() bool {
				_, reason, message, _, _ := w.device(c)
				return reason == v1alpha1.ReasonAttachFailed && strings.Contains(message, tt.want)
			})
			w.host(tt.over)
			later := time.Now().Add(time.Minute)
			w.driver.engine.Now = func() time.Time { return later }
			must(t, w.create(late, c))
			// What the host has meanwhile is nothing to a link that is there.
			must(t, w.create(late, c))
			w.end(late)
			w.unprepare(c)
			w.eventually("the link is restored", func() bool { return strings.Contains(w.snapshot(), "192.0.2.1/24") })
			w.restored()
		})
	}
}

// TestNeededCost holds what that costs on a host with many links.
func TestNeededCost(t *testing.T) {
	w := newWorld(t, "")
	var add, del strings.Builder
	for i := range 200 {
		fmt.Fprintf(&add, "link add x%d type ifb\n", i)
		fmt.Fprintf(&del, "link del x%d\n", i)
	}
	batch(t, add.String())
	t.Cleanup(func() { batch(t, del.String()) })
	c := w.claim("c", "h0", net1, "web")
	must(t, w.prepare(c))
	peer := w.driver.store.All()
	peer[0].Claim.UID, peer[0].Device = "uid-peer", inventory.Device{Name: "p0", Link: netdev.Link{Name: "p0", Kind: "veth"}}
	peer[0].Config.Interface.Name = "net1" // so that it is refused after the look
	var times []time.Duration
	for range 11 {
		start := time.Now()
		refused(t, w.driver.engine.Prepare(w.ctx, peer), "has this name in the same pod")
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	t.Logf("with 200 links the last look takes %v (median)", times[len(times)/2])
	if times[len(times)/2] > 100*time.Millisecond {
		t.Errorf("a look takes %v", times)
	}
	w.unprepare(c)
}
