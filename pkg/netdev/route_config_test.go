package netdev

import (
	"context"
	"strings"
	"testing"
)

// TestRouteFields checks that the pod has the routes of a config with all their fields,
// and that they are gone when the link has left.
func TestRouteFields(t *testing.T) {
	tests := []struct {
		name, routes string
		want, not    []string
	}{
		{
			"metric, MTU, protocol, onLink",
			`{"destination":"10.1.0.0/16","gateway":"192.0.2.9","metric":100,"mtu":1400,"protocol":186,"table":77},{"destination":"10.2.0.0/16","gateway":"100.64.0.1","onLink":true},
			{"destination":"2001:db8:1::/48","gateway":"2001:db8::9","metric":100,"mtu":1400,"protocol":186},{"destination":"2001:db8:2::/48","gateway":"2001:db8:ffff::1","onLink":true},
			{"destination":"10.3.0.0/16","gateway":"192.0.2.9"},{"destination":"10.3.0.0/16","gateway":"192.0.2.9","metric":5},{"destination":"10.4.0.0/16","mtu":1300}`,
			[]string{
				"10.1.0.0/16 via 192.0.2.9 dev net1 table 77 proto bgp metric 100 mtu 1400", "10.2.0.0/16 via 100.64.0.1 dev net1 proto static onlink",
				"2001:db8:1::/48 via 2001:db8::9 dev net1 proto bgp metric 100 mtu 1400", "2001:db8:2::/48 via 2001:db8:ffff::1 dev net1 proto static metric 1024 onlink",
				"10.3.0.0/16 via 192.0.2.9 dev net1 proto static\n", "10.3.0.0/16 via 192.0.2.9 dev net1 proto static metric 5", "10.4.0.0/16 dev net1 proto static scope link mtu 1300",
			},
			nil,
		},
		{
			"multipath",
			`{"destination":"0.0.0.0/0","metric":7,"multipath":[{"gateway":"192.0.2.8","weight":256},{"gateway":"192.0.2.9"},{"gateway":"100.64.0.1","onLink":true}]},
			{"destination":"::/0","table":9,"multipath":[{"gateway":"2001:db8::8","weight":3},{"gateway":"2001:db8::9"},{"gateway":"fe80::1"}]}`,
			[]string{
				"default proto static metric 7", "nexthop via 192.0.2.8 dev net1 weight 256", "nexthop via 192.0.2.9 dev net1 weight 1", "nexthop via 100.64.0.1 dev net1 weight 1 onlink",
				"default table 9 proto static metric 1024", "nexthop via 2001:db8::8 dev net1 weight 3", "nexthop via 2001:db8::9 dev net1 weight 1", "nexthop via fe80::1 dev net1 weight 1",
			},
			nil,
		},
		{
			"types",
			`{"destination":"0.0.0.0/0","gateway":"192.0.2.9","type":"unicast","table":100},{"destination":"0.0.0.0/0","type":"unreachable","metric":4278198272,"table":100},
			{"destination":"10.0.0.0/8","type":"blackhole"},{"destination":"10.1.0.0/16","type":"prohibit","table":100},{"destination":"10.2.0.0/16","type":"throw","table":100},
			{"destination":"::/0","type":"unreachable","table":100},{"destination":"2001:db8:1::/48","type":"blackhole"},{"destination":"2001:db8:2::/48","type":"prohibit","metric":5},{"destination":"2001:db8:3::/48","type":"throw","table":100}`,
			[]string{
				"default via 192.0.2.9 dev net1 table 100 proto static", "unreachable default table 100 proto 77 metric 4278198272", "blackhole 10.0.0.0/8 proto 77", "prohibit 10.1.0.0/16 table 100 proto 77", "throw 10.2.0.0/16 table 100 proto 77",
				"unreachable default dev lo table 100 proto 77 metric 1024", "blackhole 2001:db8:1::/48 dev lo proto 77 metric 1024", "prohibit 2001:db8:2::/48 dev lo proto 77 metric 5", "throw 2001:db8:3::/48 dev lo table 100 proto 77 metric 1024",
			},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, addressed, "")
			p := w.plan("h0", `{"interface":{"name":"net1"},"routes":[`+tt.routes+`]}`)
			p.ID = w.attach(p)[0].ID
			w.attach(p) // as the next process does
			got := w.Pod.Snapshot() + "\n"
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("the pod lacks %q", want)
				}
			}
			if t.Failed() {
				t.Log(got)
			}
			w.detach(p)
			w.asBefore()
		})
	}
}

// TestPodHasTheBlackhole checks that a route without a link which the pod's network has
// is refused by name and stays there.
func TestPodHasTheBlackhole(t *testing.T) {
	w := newWorld(t, addressed, "ip route add unreachable 10.0.0.0/8 table 100\nip route add blackhole 10.9.0.0/16 proto 77")
	p := w.plan("h0", `{"interface":{"name":"net1"},"routes":[{"destination":"172.16.0.0/12","type":"blackhole"},{"destination":"10.0.0.0/8","type":"unreachable","table":100}]}`)
	_, err := Attach(context.Background(), w.host, w.pod, []Plan{p})
	if err == nil || !strings.Contains(err.Error(), "add route unreachable 10.0.0.0/8 table 100") {
		t.Errorf("Attach: got error %v", err)
	}
	w.asBefore()
}
