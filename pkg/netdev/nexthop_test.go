package netdev

import (
	"strings"
	"testing"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// compat are the two ways in which the kernel shows a route with a next hop
// object: with what the object says, or by its id alone.
var compat = map[string]string{"with its gateway": "1", "by id alone": "0"}

const byObject = `
	ip link set h0 up
	ip addr add 192.0.2.1/24 dev h0
	ip addr add 2001:db8::1/64 dev h0 nodad
	ip link add h1 type veth peer name p1
	ip link set p1 up
	ip link set h1 up
	ip addr add 198.51.100.1/24 dev h1
	ip nexthop add id 1 via 192.0.2.9 dev h0 proto zebra
	ip nexthop add id 2 via 2001:db8::9 dev h0
	ip nexthop add id 3 via 192.0.2.8 dev h0
	ip nexthop add id 4 dev h0
	ip nexthop add id 5 via 203.0.113.9 dev h0 onlink
	ip nexthop add id 6 via 198.51.100.9 dev h1
	ip nexthop add id 7 via 2001:db8::8 dev h0
	ip nexthop add id 10 group 1/3,5
	ip nexthop add id 11 group 2/7
	ip nexthop add id 12 group 3/6
	ip route add 10.1.0.0/16 nhid 1 metric 20 src 192.0.2.1
	ip route add 10.2.0.0/16 nhid 10
	ip route add 10.3.0.0/16 nhid 2
	ip route add 10.4.0.0/16 nhid 4 table 100
	ip route add 10.5.0.0/16 nhid 5
	ip route add 10.6.0.0/16 nhid 12
	ip -6 route add 2001:db8:1::/48 nhid 2
	ip -6 route add 2001:db8:2::/48 nhid 11`

// TestNextHopObjects checks that routes which name a next hop object work in the
// pod without it, and are restored on the host with it, whatever the kernel shows
// of them.
func TestNextHopObjects(t *testing.T) {
	for name, mode := range compat {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "sysctl -qw net.ipv4.nexthop_compat_mode="+mode+byObject, "")
			objects := w.Host.Run("ip nexthop show")
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			if len(w.omitted) != 1 || !strings.HasPrefix(w.omitted[0], "route 10.6.0.0/16") { // its other next hop is another link's
				t.Errorf("omitted: %q", w.omitted)
			}
			a := w.attach(p)[0]
			if len(a.Omitted) > 0 {
				t.Errorf("refused by the kernel: %q", a.Omitted)
			}
			got := w.Pod.Snapshot()
			for _, want := range []string{
				"10.1.0.0/16 via 192.0.2.9 dev net1 src 192.0.2.1 metric 20", "10.2.0.0/16 \\\tnexthop via 192.0.2.9 dev net1 weight 1 \\\tnexthop via 192.0.2.8 dev net1 weight 5",
				"10.3.0.0/16 via inet6 2001:db8::9 dev net1", "10.4.0.0/16 dev net1 table 100", "10.5.0.0/16 via 203.0.113.9 dev net1 onlink",
				"2001:db8:1::/48 via 2001:db8::9 dev net1", "nexthop via 2001:db8::8 dev net1",
			} {
				if !strings.Contains(got, want) {
					t.Errorf("the pod lacks %q", want)
				}
			}
			if t.Failed() {
				t.Log(got)
			}
			p.ID = a.ID
			if result := w.detach(p)[0]; len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			w.asBefore()
			if now := w.Host.Run("ip nexthop show"); now != objects {
				t.Errorf("next hop objects: got\n%swant\n%s", now, objects)
			}
			w.nextHopGone(p)
		})
	}
}

// nextHopGone checks that a route which cannot be restored, because an object of
// another link is gone, is reported.
func (w *world) nextHopGone(p Plan) {
	p.ID = p.ID.OnHost()
	p.ID = w.attach(p)[0].ID
	w.Host.Run("ip nexthop del id 6")
	unset := strings.Join(w.detach(p)[0].Unset, "\n")
	for _, want := range []string{"add next hop id 12: ", "add route 10.6.0.0/16 "} {
		if !strings.Contains(unset, want) {
			w.t.Errorf("not as before: %q, want one with %q", unset, want)
		}
	}
}

// TestDefaultRouteByObject checks that the link of the default route is found
// however the kernel shows the route.
func TestDefaultRouteByObject(t *testing.T) {
	for name, mode := range compat {
		for route, want := range map[string]string{"ip route add default nhid 1": "h0", "ip route add default nhid 10": "h0 h1", "ip -6 route add default nhid 2": "h0", "ip -6 route add default nhid 11": "h0"} {
			h := nstest.New(t)
			h.Lines("ip link set lo up\nip link add h0 type veth peer name p0\nip link set p0 up\nsysctl -qw net.ipv4.nexthop_compat_mode=" + mode +
				strings.ReplaceAll(byObject, "group 1/3,5", "group 1/6") + "\n" + route)
			links, err := open(t, h.Path).Links()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range links {
				if l.HasRoute {
					got = append(got, l.Name)
				}
			}
			if len(got) == 2 && got[0] == "h1" {
				got[0], got[1] = got[1], got[0]
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s, shown %s: through %q, want %q", route, name, got, want)
			}
		}
	}
}
