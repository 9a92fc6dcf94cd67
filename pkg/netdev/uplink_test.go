package netdev

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// twoPairs makes the links h0 and h1, with addresses and carrier.
const twoPairs = `ip link set lo up
	ip link add h0 type veth peer name p0
	ip link add h1 type veth peer name p1
	ip link set p0 up
	ip link set p1 up
	ip link set h0 up
	ip link set h1 up
	ip addr add 192.0.2.1/24 dev h0
	ip addr add 198.51.100.1/24 dev h1
	ip addr add 198.51.100.2/24 dev h1
	ip addr add 2001:db8::1/64 dev h0 nodad
	ip addr add 2001:db8:1::1/64 dev h1 nodad
`

// TestUplinks checks which links have the best default route of a family, a
// default route at all, and one of another table that rules give traffic to.
func TestUplinks(t *testing.T) {
	const wrapped = "; "
	tests := []struct{ name, routes, want string }{
		{"none", "", ""},
		{"one", "ip route add default via 192.0.2.9", "h0 route uplink"},
		{"metric 0 is the best", "ip route add default via 192.0.2.9; ip route add default via 198.51.100.9 metric 100", "h0 route uplink, h1 route"},
		{"the lower metric", "ip route add default via 192.0.2.9 metric 200 proto dhcp; ip route add default via 198.51.100.9 metric 100 proto dhcp", "h0 route, h1 route uplink"},
		{"equal metrics", "ip route add default via 192.0.2.9 metric 100; ip route append default via 198.51.100.9 metric 100", "h0 route uplink, h1 route uplink"},
		{"equal metrics, other TOS", "ip route add default via 192.0.2.9; ip route add default tos 0x10 via 198.51.100.9", "h0 route uplink, h1 route uplink"},
		{"several next hops", "ip route add default nexthop via 192.0.2.9 nexthop via 198.51.100.9", "h0 route uplink, h1 route uplink"},
		{"several next hops, worse", "ip route add default metric 5 nexthop via 192.0.2.9 nexthop via 198.51.100.9; ip route add default via 192.0.2.9", "h0 route uplink, h1 route"},
		{"no unicast route is none", "ip route add unreachable default; ip -6 route add unreachable default metric 1; ip route add default via 192.0.2.9 metric 7", "h0 route uplink"},
		{"best without a carrier", "ip route add default via 192.0.2.9; ip route add default via 198.51.100.9 metric 100; ip link set p0 down", "h0 route uplink, h1 route uplink"},
		{"best next hops without a carrier", "ip route add default nexthop via 192.0.2.9 nexthop via 192.0.2.8; ip route add default via 198.51.100.9 metric 100; ip link set p0 down", "h0 route uplink, h1 route uplink"},
		{"each family", "ip route add default via 192.0.2.9; ip -6 route add default via 2001:db8:1::9", "h0 route uplink, h1 route uplink"},
		{"router advertisements", "ip -6 route add default via fe80::9 dev h0 proto static metric 512; ip -6 route add default via fe80::99 dev h1 proto ra metric 1024 expires 1800 pref high", "h0 route uplink, h1 route"},
		{"IPv6 without a metric has 1024", "ip -6 route add default via fe80::9 dev h0; ip -6 route add default via fe80::99 dev h1 proto ra metric 512 expires 1800", "h0 route, h1 route uplink"},
		{"router preference", "ip -6 route add default via fe80::9 dev h0 proto ra metric 1024 expires 1800 pref high; ip -6 route append default via fe80::99 dev h1 proto ra metric 1024 expires 1800 pref low", "h0 route uplink, h1 route uplink"},
		{"another table without a rule", "ip route add default via 198.51.100.9 table 2", ""},
		{"another table with a rule", "ip route add default via 198.51.100.9 table 2; ip rule add from 198.51.100.50 lookup 2", "h1 table 2"},
		{"next hops in another table", "ip route add default table 2 nexthop via 192.0.2.9 nexthop via 198.51.100.9; ip rule add fwmark 1 lookup 2", "h0 table 2, h1 table 2"},
		{"rule of its own address", "ip route add default via 198.51.100.9 table 2; ip rule add from 198.51.100.2 lookup 2", ""},
		{"rule of its own address and others", "ip route add default via 198.51.100.9 table 2; ip rule add from 198.51.100.2 lookup 2; ip rule add not from 198.51.100.1 lookup 2", "h1 table 2"},
		{"rule of its subnet", "ip route add default via 198.51.100.9 table 2; ip rule add from 198.51.100.0/24 lookup 2", "h1 table 2"},
		{"rule of itself", "ip route add default via 198.51.100.9 table 2; ip rule add iif h1 lookup 2; ip rule add oif h1 lookup 2", ""},
		{"rule with a selector that is not known", "ip route add default via 198.51.100.9 table 2; ip rule add uidrange 1-2 lookup 2", "h1 table 2"},
		{"rule to no table", "ip route add default via 198.51.100.9 table 2; ip rule add from 203.0.113.1 prohibit", ""},
		{"rule of the other family", "ip route add default via 198.51.100.9 table 2; ip -6 rule add from 2001:db8:7::7 lookup 2", ""},
		{"IPv6 in another table", "ip -6 route add default via 2001:db8:1::9 table 3000; ip -6 rule add to 2001:db8:7::/48 lookup 3000", "h1 table 3000"},
		{"table default", "ip route add default via 198.51.100.9 table default", "h1 table 253"},
		{"only specific routes", "ip route add 10.0.0.0/8 via 198.51.100.9 table 2; ip rule add from 10.1.1.1 lookup 2; ip route add 10.0.0.0/8 via 192.0.2.9", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := nstest.New(t)
			h.Lines(twoPairs + strings.ReplaceAll(tt.routes, wrapped, "\n"))
			for range 100 { // the kernel marks the routes a little later
				if !strings.Contains(tt.routes, "p0 down") || strings.Contains(h.Run("ip route"), "linkdown") {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			links, err := open(t, h.Path).Links()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, l := range links {
				text := l.Name
				for _, f := range []struct {
					is   bool
					text string
				}{{l.HasRoute, " route"}, {l.Uplink, " uplink"}, {l.PolicyTable != 0, fmt.Sprintf(" table %d", l.PolicyTable)}} {
					if f.is {
						text += f.text
					}
				}
				got[l.Name] = text
			}
			var found []string
			for _, name := range []string{"h0", "h1"} {
				if got[name] != name {
					found = append(found, got[name])
				}
				delete(got, name)
			}
			for name, text := range got {
				if text != name {
					t.Errorf("%s", text)
				}
			}
			if d := cmp.Diff(tt.want, strings.Join(found, ", ")); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestUppersElsewhere checks what the host shows of a link that is the lower
// device of a macvlan in another namespace, and that it shows nothing when that
// is gone.
func TestUppersElsewhere(t *testing.T) {
	host, other := nstest.New(t), nstest.New(t)
	host.Lines(twoPairs + "ip link add m0 link h0 type macvlan mode bridge")
	n := open(t, host.Path)
	check := func(when string, promiscuity uint32, addresses int) {
		t.Helper()
		l, err := n.conn.linkByName("h0")
		if err != nil {
			t.Fatal(err)
		}
		all := make([]Link, fewLinks+1) // so that they are not asked one by one
		for i := range all {
			all[i] = Link{Index: l.Index + i, Parent: "0000:3b:00.0"}
		}
		port := Link{Index: l.Index, Parent: "0000:3b:00.0", Master: 7}
		for which, tt := range map[string]struct {
			links []Link
			want  int
		}{"alone": {all[:1], addresses}, "of many": {all, addresses}, "virtual": {[]Link{l}, 0}, "port": {[]Link{port}, 0}} {
			found, err := n.conn.unicastFilters(tt.links)
			if err != nil || len(found[l.Index]) != tt.want {
				t.Errorf("%s, %s: addresses %v, %v; want %d", when, which, found, err, tt.want)
			}
		}
		if l.Promiscuity != promiscuity {
			t.Errorf("%s: promiscuity %d, want %d", when, l.Promiscuity, promiscuity)
		}
	}
	check("a macvlan that is down", 0, 0)
	host.Run("ip link set h0 promisc on")
	check("promiscuous by a user", 0, 0)
	host.Run("ip link set m0 netns " + other.Path)
	other.Run("ip link set m0 up")
	check("promiscuous by a user and a macvlan", 1, 1)
	host.Run("ip link set h0 promisc off")
	check("a macvlan elsewhere", 1, 1)
	other.Run("ip link del m0")
	check("the macvlan is gone", 0, 0)
	for what, index := range map[string]int{"lo": loopbackIndex, "a link that is gone": 9999} {
		if found, err := n.conn.unicast(index); err != nil || len(found) > 0 {
			t.Errorf("%s has %v, %v", what, found, err)
		}
	}
}
