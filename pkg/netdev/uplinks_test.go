package netdev

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// TestUplinks checks which links carry the traffic of the host: those of the best
// default route of a family, and those that policy rules use for others than the
// link.
func TestUplinks(t *testing.T) {
	const base = `ip link set lo up
		ip link add h0 type veth peer name p0
		ip link add h1 type veth peer name p1
		ip link set p0 up
		ip link set p1 up
		ip link set h0 up
		ip link set h1 up
		ip addr add 10.0.0.5/24 dev h0
		ip addr add 10.1.0.5/24 dev h1
		ip -6 addr add 2001:db8:1::5/64 dev h1 nodad
		`
	tests := []struct{ name, script, want string }{
		{"none", "", ""},
		{"one", "ip route add default via 10.0.0.1", "h0"},
		{"a worse one of a lease", "ip route add default via 10.0.0.1\nip route add default via 10.1.0.1 metric 100 proto dhcp", "h0"},
		{"the same metric, other type of service", "ip route add default via 10.0.0.1 metric 5\nip route add default via 10.1.0.1 metric 5 tos 4", "h0 h1"},
		{"several next hops", "ip route add default nexthop via 10.0.0.1 nexthop via 10.1.0.1", "h0 h1"},
		{"of the other family", "ip route add default via 10.0.0.1\nip -6 route add default via fe80::1 dev h1 proto ra metric 1024 expires 1800", "h0 h1"},
		{"a worse one of an advertisement", "ip -6 route add default via fe80::1 dev h0 metric 100\nip -6 route add default via fe80::1 dev h1 proto ra metric 1024 expires 1800", "h0"},
		{"the same metric, IPv6", "ip -6 route add default via fe80::1 dev h0 metric 1024\nip -6 route append default via fe80::1 dev h1 metric 1024", "h0 h1"},
		{"the best has no carrier", "ip route add default via 10.0.0.1 metric 5\nip route add default via 10.1.0.1 metric 9\nip link set p0 down", "h0 h1"},
		{"no route but to nowhere", "ip route add unreachable default metric 1\nip route add default via 10.1.0.1 metric 9", "h1"},
		{"another table, no rule", "ip route add default via 10.1.0.1 dev h1 table 2", ""},
		{"others' addresses", "ip route add default via 10.1.0.1 dev h1 table 2\nip rule add from 10.1.0.77 lookup 2", "h1:2"},
		{"a mark", "ip route add default via 10.1.0.1 dev h1 table 2\nip rule add fwmark 1 lookup 2", "h1:2"},
		{"its own address", "ip route add default via 10.1.0.1 dev h1 table 2\nip rule add from 10.1.0.5 lookup 2", ""},
		{"its own network", "ip route add default via 10.1.0.1 dev h1 table 2\nip rule add from 10.1.0.0/24 lookup 2", ""},
		{"all but its own address", "ip route add default via 10.1.0.1 dev h1 table 2\nip rule add not from 10.1.0.5 lookup 2", "h1:2"},
		{"what arrived by it", "ip route add default via 10.1.0.1 dev h1 table 2\nip rule add iif h1 lookup 2", ""},
		{"its own address, IPv6", "ip -6 route add default via fe80::1 dev h1 table 2\nip -6 rule add from 2001:db8:1::5 lookup 2", ""},
		{"others, IPv6", "ip -6 route add default via fe80::1 dev h1 table 2\nip -6 rule add from 2001:db8:9::/64 lookup 2", "h1:2"},
		{"a table of the other family", "ip -6 route add default via fe80::1 dev h1 table 2\nip rule add from 10.9.0.0/16 lookup 2", ""},
		{"a rule to a table without a default route", "ip route add 10.9.0.0/16 via 10.1.0.1 dev h1 table 2\nip rule add from 10.9.0.0/16 lookup 2", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := nstest.New(t)
			h.Lines(base + tt.script)
			links, err := open(t, h.Path).Links()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range links {
				if l.HasRoute {
					got = append(got, l.Name)
				}
				if l.PolicyTable != 0 {
					got = append(got, fmt.Sprintf("%s:%d", l.Name, l.PolicyTable))
				}
			}
			if strings.Join(slices.Sorted(slices.Values(got)), " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestPromiscuity checks that a link shows that an interface in another namespace
// is on top of it.
func TestPromiscuity(t *testing.T) {
	h, other := nstest.New(t), nstest.New(t)
	h.Lines("ip link add h0 type veth peer name p0\nip link set p0 up\nip link set h0 up\nip link add link h0 name m0 type macvlan mode bridge")
	h.Run("ip link set m0 netns " + other.Path)
	other.Run("ip link set m0 up")
	links, err := open(t, h.Path).Links()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if want := l.Name == "h0"; (l.Promiscuity > 0) != want || l.Promiscuous {
			t.Errorf("%s: promiscuity %d, set by a user: %t", l.Name, l.Promiscuity, l.Promiscuous)
		}
	}
}
