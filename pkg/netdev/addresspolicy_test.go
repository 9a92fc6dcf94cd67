package netdev

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAddressPolicy checks which addresses and routes a link has in the pod by each
// policy, that all of the config's settings of an address are set there, and that
// the host's are restored.
func TestAddressPolicy(t *testing.T) {
	const onHost = "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0\nip addr add 192.0.2.2/24 dev h0\nip addr add 2001:db8::1/64 dev h0 nodad\n" +
		"ip route add 10.1.0.0/16 via 192.0.2.254 dev h0\nip -6 route add 2001:db8:1::/48 via 2001:db8::fe dev h0"
	hosts := []string{"inet 192.0.2.1/24 scope global net1", "inet 192.0.2.2/24 scope global secondary net1", "inet6 2001:db8::1/64 scope global nodad"}
	const own = `"addresses":["198.51.100.7/24",{"address":"2001:db8:7::7/64","noprefixroute":true},` +
		`{"address":"198.51.100.8/32","label":"net1:web"},{"address":"203.0.113.7/24","metric":77,"label":"net1"},{"address":"203.0.113.8/25","noprefixroute":true}]`
	owns := []string{
		"inet 198.51.100.7/24 brd 198.51.100.255 scope global net1", "inet 198.51.100.8/32 scope global net1:web",
		"inet 203.0.113.7/24 metric 77 brd 203.0.113.255 scope global net1", "inet 203.0.113.8/25 brd 203.0.113.127 scope global noprefixroute net1",
		"inet6 2001:db8:7::7/64 scope global nodad noprefixroute",
	}
	routes := []string{"198.51.100.0/24 dev net1 proto kernel scope link src 198.51.100.7", "203.0.113.0/24 dev net1 proto kernel scope link src 203.0.113.7 metric 77"}
	kept := []string{"10.1.0.0/16 via 192.0.2.254", "2001:db8:1::/48 via 2001:db8::fe"}
	lost := []string{"route 10.1.0.0/16 via 192.0.2.254", "route 2001:db8:1::/48 via 2001:db8::fe"}
	for _, tt := range []struct {
		name, config       string
		want, not, omitted []string
	}{
		{name: "absent", config: `"mtu":1400`, want: append(hosts, kept...)},
		{name: "Keep", config: `"addressPolicy":"Keep"`, want: append(hosts, kept...)},
		{name: "Replace", config: `"addressPolicy":"Replace",` + own, want: append(owns, routes...), not: append(hosts, "203.0.113.0/25 dev"), omitted: lost},
		{name: "Static", config: `"addressing":"Static",` + own, want: append(owns, routes...), not: hosts, omitted: lost},
		{name: "Add", config: `"addressPolicy":"Add",` + own, want: append(append(append(hosts, owns...), routes...), kept...)},
		{
			name: "Add one that the host has", config: `"addressPolicy":"Add","addresses":["192.0.2.1/25",{"address":"2001:db8::1/64","metric":9}]`,
			want: []string{"inet 192.0.2.2/24 scope global net1", "inet 192.0.2.1/25 brd 192.0.2.127 scope global net1", "inet6 2001:db8::1/64 metric 9 scope global nodad", kept[0]},
			not:  []string{"192.0.2.1/24"},
		},
		{name: "None", config: `"addressPolicy":"None"`, not: append(hosts, kept...), omitted: lost},
		{name: "Unnumbered", config: `"addressing":"Unnumbered"`, not: append(hosts, kept...), omitted: lost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, onHost, "")
			p := w.plan("h0", `{"interface":{"name":"net1",`+tt.config+`}}`)
			if d := cmp.Diff(tt.omitted, w.omitted); d != "" {
				t.Errorf("omitted (-want +got):\n%s", d)
			}
			p.ID = w.attach(p)[0].ID
			w.attach(p) // again: it is as wanted
			got := w.Pod.Snapshot()
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("the pod lacks %q", want)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(got, not) {
					t.Errorf("the pod has %q", not)
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
