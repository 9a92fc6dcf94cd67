package netdev

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// routesIn returns the pod's routes of the family in the table, which may not exist.
func (w *world) routesIn(family, table string) []string {
	out, err := w.Pod.Try("ip " + family + " route show table " + table)
	if err != nil {
		return nil
	}
	var all []string
	for _, line := range strings.Split(out, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, strings.Join(strings.Fields(line), " "))
		}
	}
	return all
}

// podNetwork is a pod's own network, with default routes.
const podNetwork = `ip link add eth0 type veth peer name x
	ip link set x up
	ip link set eth0 up
	ip addr add 10.78.0.2/24 dev eth0
	ip addr add fd00::2/64 dev eth0 nodad
	ip route add default via 10.78.0.1
	ip -6 route add default via fd00::1`

// TestSourceRouting checks that with sourceRouting the link's default routes are in its
// own table only, which holds for traffic from its addresses, and that the pod keeps
// its own for the rest.
func TestSourceRouting(t *testing.T) {
	tests := []struct {
		name, onHost, config string
		table4, table6       []string
		rules                []string
		omitted              []string
		leaves               string // by which traffic from the address leaves
	}{
		{
			"config", "", `{"interface":{"name":"net1","sourceRouting":true,"addresses":["192.0.2.1/24","192.0.2.2/24","203.0.113.1/32","2001:db8::1/64","fe80::9/64"]},
				"routes":[{"destination":"0.0.0.0/0","gateway":"192.0.2.9"},{"destination":"10.5.0.0/16","gateway":"192.0.2.8"},{"destination":"::/0","gateway":"2001:db8::9","metric":7}]}`,
			[]string{"default via 192.0.2.9 dev net1 proto static", "10.5.0.0/16 via 192.0.2.8 dev net1 proto static", "192.0.2.0/24 dev net1 proto static scope link src 192.0.2.1"},
			[]string{"2001:db8::/64 dev net1 proto static metric 1024 pref medium", "fe80::/64 dev net1 proto static metric 1024 pref medium", "default via 2001:db8::9 dev net1 proto static metric 7 pref medium"},
			[]string{"31000: from 192.0.2.1 lookup TABLE", "31000: from 203.0.113.1 lookup TABLE", "31000: from 192.0.2.2 lookup TABLE", "31000: from 2001:db8::1 lookup TABLE"},
			nil, "net1",
		},
		{
			"the host's, of a network manager",
			"ip addr add 192.0.2.1/24 dev h0 noprefixroute\nip route add 192.0.2.0/24 dev h0 proto kernel scope link src 192.0.2.1 metric 100\nip route add default via 192.0.2.9 dev h0 proto dhcp metric 100\nip rule add from 192.0.2.1 lookup 100",
			`{"interface":{"name":"net1","sourceRouting":true},"rules":[{"fwmark":"0x1","family":"IPv4"}]}`,
			[]string{"default via 192.0.2.9 dev net1 proto dhcp metric 100", "192.0.2.0/24 dev net1 proto static scope link src 192.0.2.1 metric 100"},
			nil,
			[]string{"30000: from all fwmark 0x1 lookup main", "31000: from 192.0.2.1 lookup TABLE"},
			nil, "net1",
		},
		{
			"no default route", "", `{"interface":{"name":"net1","sourceRouting":true,"addresses":["192.0.2.1/24"]}}`,
			[]string{"192.0.2.0/24 dev net1 proto static scope link src 192.0.2.1"},
			nil,
			[]string{"31000: from 192.0.2.1 lookup TABLE"},
			[]string{"interface.sourceRouting: the interface has no IPv4 default route, so its addresses send to other networks by the pod's"}, "eth0",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\n"+tt.onHost, podNetwork)
			p := w.plan("h0", tt.config)
			if d := cmp.Diff(tt.omitted, w.omitted); d != "" {
				t.Errorf("omitted (-want +got):\n%s", d)
			}
			defaults := func() string { return w.Pod.Run("ip route show default") + w.Pod.Run("ip -6 route show default") }
			before := defaults()
			a := w.attach(p)[0]
			p.ID = a.ID
			if len(a.Omitted) > 0 {
				t.Errorf("refused: %q", a.Omitted)
			}
			table := fmt.Sprint(100_000 + p.Original.Index)
			if d := cmp.Diff(tt.table4, w.routesIn("-4", table)); d != "" {
				t.Errorf("IPv4 table %s (-want +got):\n%s", table, d)
			}
			if d := cmp.Diff(tt.table6, w.routesIn("-6", table)); d != "" {
				t.Errorf("IPv6 table %s (-want +got):\n%s", table, d)
			}
			var rules []string
			for _, r := range tt.rules {
				rules = append(rules, strings.Replace(r, "TABLE", table, 1))
			}
			if d := cmp.Diff(rules, w.rulesIn()); d != "" {
				t.Errorf("rules (-want +got):\n%s", d)
			}
			if d := cmp.Diff(before, defaults()); d != "" {
				t.Errorf("default routes of the main table (-before +now):\n%s", d)
			}
			for get, dev := range map[string]string{"ip route get 198.51.100.9": "eth0", "ip route get 198.51.100.9 from 192.0.2.1": tt.leaves, "ip route get 192.0.2.77": "net1"} {
				if got := w.Pod.Run(get); !strings.Contains(got, "dev "+dev+" ") {
					t.Errorf("%s: got %s, want %s", get, got, dev)
				}
			}
			w.detach(p)
			w.asBefore()
		})
	}
}

// TestSourceTable checks that the table of a link is none that it has another use for.
func TestSourceTable(t *testing.T) {
	on := true
	c := nic.Config{Interface: nic.Interface{SourceRouting: &on}, Rules: []nic.Rule{{Table: 100_007}}, Routes: []nic.Route{{Table: 200_007}}}
	original := State{Index: 7, Routes: []Route{{Table: 300_007}}}
	if got := sourceTable(original, c); got != 400_007 {
		t.Errorf("got %d, want 400007", got)
	}
	if got := sourceTable(original, nic.Config{}); got != 0 {
		t.Errorf("without source routing: got %d, want 0", got)
	}
}
