package netdev

import (
	"slices"
	"strings"
	"testing"
)

// nextHopsOfTwo is a host with next hop objects of two links in common groups.
const nextHopsOfTwo = `
	ip link set h0 up
	ip addr add 192.0.2.1/24 dev h0
	ip link add h1 type veth peer name p1
	ip link set p1 up
	ip link set h1 up
	ip addr add 198.51.100.1/24 dev h1
	ip nexthop add id 1 via 192.0.2.9 dev h0
	ip nexthop add id 2 via 198.51.100.9 dev h1
	ip nexthop add id 3 via 198.51.100.8 dev h1
	ip nexthop add id 10 group 1/2,7
	ip nexthop add id 11 group 1
	ip route add 10.1.0.0/16 nhid 1
	ip route add 10.2.0.0/16 nhid 10
	ip route add 10.3.0.0/16 nhid 11`

// TestNextHopIDsOfOthers checks that a next hop object which the host has made
// meanwhile is left alone, and that what cannot be restored for that is reported.
func TestNextHopIDsOfOthers(t *testing.T) {
	const taken = ": the host has another next hop with this id"
	tests := []struct {
		name, meanwhile string
		routes          []string // of the host afterwards, all that there are by objects
		unset           []string
	}{
		{"none", "", []string{"10.1.0.0/16 nhid 1 h0", "10.2.0.0/16 nhid 10 h0 h1", "10.3.0.0/16 nhid 11 h0"}, nil},
		{"of a single one", "ip nexthop add id 1 via 198.51.100.7 dev h1\nip route add 10.7.0.0/16 nhid 1",
			[]string{"10.2.0.0/16 nhid 10 h1", "10.7.0.0/16 nhid 1 h1"},
			[]string{"add next hop id 1" + taken, "add next hop id 10: its next hop id 1 was not restored", "add next hop id 11: its next hop id 1 was not restored",
				"add route 10.1.0.0/16 via 192.0.2.9: next hop id 1 was not restored", "add route 10.2.0.0/16 nexthop via 192.0.2.9 nexthop via 198.51.100.9: next hop id 10 was not restored",
				"add route 10.3.0.0/16 via 192.0.2.9: next hop id 11 was not restored"}},
		{"of a blackhole", "ip nexthop add id 1 blackhole\nip route add 10.7.0.0/16 nhid 1", nil, []string{"add next hop id 1" + taken}},
		{"of a group", "ip nexthop replace id 10 group 2/3\nip route add 10.7.0.0/16 nhid 10",
			[]string{"10.1.0.0/16 nhid 1 h0", "10.2.0.0/16 nhid 10 h1 h1", "10.3.0.0/16 nhid 11 h0", "10.7.0.0/16 nhid 10 h1 h1"},
			[]string{"add next hop id 10" + taken, "add route 10.2.0.0/16 nexthop via 192.0.2.9 nexthop via 198.51.100.9: next hop id 10 was not restored"}},
		{"with another weight in a group", "ip nexthop replace id 10 group 2,6", nil, []string{"add next hop id 10" + taken}},
		{"of a group by a single one", "ip nexthop add id 11 via 198.51.100.7 dev h1", nil, []string{"add next hop id 11" + taken}},
	}
	for _, tt := range tests {
		for name, mode := range compat {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				w := newWorld(t, "sysctl -qw net.ipv4.nexthop_compat_mode="+mode+nextHopsOfTwo, "")
				p := w.plan("h0", `{"interface":{"name":"net1"}}`)
				p.ID = w.attach(p)[0].ID
				w.Host.Lines(tt.meanwhile)
				theirs := strings.Split(w.Host.Run("ip nexthop show"), "\n")
				got := w.detach(p)[0].Unset
				for _, want := range tt.unset {
					if !slices.Contains(got, want) {
						t.Errorf("unset: got %q, want %q in it", got, want)
					}
				}
				if tt.routes != nil && len(got) != len(tt.unset) {
					t.Errorf("unset: got %q, want %q", got, tt.unset)
				}
				if len(tt.unset) == 0 {
					w.asBefore()
				}
				now := w.Host.Run("ip nexthop show")
				for _, line := range theirs {
					taken := slices.ContainsFunc(tt.unset, func(u string) bool {
						id, _, _ := strings.Cut(strings.TrimPrefix(u, "add next hop "), ":")
						return strings.HasPrefix(line, id+" ")
					})
					if taken && !strings.Contains(now, line) {
						t.Errorf("next hop %q has changed:\n%s", line, now)
					}
				}
				if tt.routes != nil {
					w.hasRoutesByObject(tt.routes)
				}
			})
		}
	}
}

// hasRoutesByObject compares the host's routes by next hop objects, with their
// links.
func (w *world) hasRoutesByObject(want []string) {
	w.t.Helper()
	w.Host.Run("sysctl -qw net.ipv4.nexthop_compat_mode=1")
	var got []string
	for _, r := range strings.Split(w.Host.Run("ip -o route show"), "\n") {
		fields := strings.Fields(r)
		if !slices.Contains(fields, "nhid") {
			continue
		}
		line := fields[0] + " nhid " + fields[2]
		for i, f := range fields {
			if f == "dev" {
				line += " " + fields[i+1]
			}
		}
		got = append(got, line)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("routes: got %q, want %q", got, want)
	}
}

// TestNextHopBehindAHostRoute checks that a next hop whose gateway only a route
// of the link reaches is restored after that route, and before its own routes.
func TestNextHopBehindAHostRoute(t *testing.T) {
	for name, mode := range compat {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "sysctl -qw net.ipv4.nexthop_compat_mode="+mode+`
				ip link set h0 up
				ip addr add 10.9.0.2/32 dev h0
				ip addr add 2001:db8:9::2/128 dev h0 nodad
				ip route add 10.9.0.1/32 dev h0
				ip -6 route add 2001:db8:9::1/128 dev h0
				ip nexthop add id 1 via 10.9.0.1 dev h0
				ip nexthop add id 2 via 2001:db8:9::1 dev h0
				ip nexthop add id 3 dev h0
				ip route add default nhid 1
				ip -6 route add default nhid 2
				ip route add 10.3.0.0/16 nhid 3`, "")
			objects := w.Host.Run("ip nexthop show")
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			a := w.attach(p)[0]
			p.ID = a.ID
			if len(w.omitted)+len(a.Omitted) > 0 {
				t.Errorf("omitted in the pod: %q, %q", w.omitted, a.Omitted)
			}
			if result := w.detach(p)[0]; len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			w.asBefore()
			if now := w.Host.Run("ip nexthop show"); now != objects {
				t.Errorf("next hop objects: got\n%swant\n%s", now, objects)
			}
		})
	}
}

// TestUnusedNextHops checks that next hop objects which no route names, and resilient
// groups, are restored too.
func TestUnusedNextHops(t *testing.T) {
	w := newWorld(t, nextHopsOfTwo+`
		ip nexthop add id 21 via 192.0.2.8 dev h0 proto bird
		ip nexthop add id 22 via 203.0.113.8 dev h0 onlink
		ip nexthop add id 23 blackhole
		ip nexthop add id 30 group 21/22,3
		ip nexthop add id 31 group 3/21 type resilient buckets 8 idle_timer 60 unbalanced_timer 90
		ip nexthop add id 32 group 1/21 type resilient buckets 16
		ip route add 10.32.0.0/16 nhid 32`, "")
	objects := w.Host.Run("ip -d nexthop show")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	if now := w.Host.Run("ip -d nexthop show"); now != objects {
		t.Errorf("next hop objects: got\n%swant\n%s", now, objects)
	}
	w.detach(p)
	if now := w.Host.Run("ip -d nexthop show"); now != objects {
		t.Errorf("next hop objects after a second detach: got\n%swant\n%s", now, objects)
	}
	w.asBefore()
}
