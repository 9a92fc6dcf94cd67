package netdev

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// TestDynamic checks what a link gets and loses by SetDynamic, that none of it
// counts as part of its state, and that what the pod has stays as it is.
func TestDynamic(t *testing.T) {
	pod := nstest.New(t)
	pod.Lines(`ip link set lo up
ip link add eth0 type ifb
ip link set eth0 up
ip addr add 10.244.0.5/24 dev eth0
ip addr add 2001:db8::5/64 dev eth0 nodad
ip route add default via 10.244.0.1
ip link add net1 type ifb
ip link set net1 up
ip addr add 198.51.100.7/24 dev net1`)
	ns, err := Open(pod.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	l, err := ns.LinkByName("net1")
	if err != nil {
		t.Fatal(err)
	}
	before := pod.Settled()
	state, err := ns.read(l, "", State{}, both)
	if err != nil {
		t.Fatal(err)
	}

	route := func(to, via string) nic.Route {
		return nic.Route{Destination: netip.MustParsePrefix(to), Gateway: netip.MustParseAddr(via)}
	}
	first := nic.Dynamic{
		Address: netip.MustParsePrefix("192.0.2.5/24"), Preferred: time.Hour, Valid: time.Hour,
		Routes: []nic.Route{{Destination: netip.MustParsePrefix("198.18.0.1/32")}, route("203.0.113.0/24", "192.0.2.1"), route("0.0.0.0/0", "192.0.2.1")},
	}
	for range 2 { // a repetition does not harm
		if err := ns.SetDynamic(l.Index, nic.Dynamic{}, first); err != nil {
			t.Fatal(err)
		}
	}
	if out := pod.Run("ip -oneline -4 addr show dev net1"); !strings.Contains(out, "192.0.2.5/24 brd 192.0.2.255 scope global dynamic net1") || !strings.Contains(out, "valid_lft 3") {
		t.Errorf("addresses: %s", out)
	}
	want := "192.0.2.0/24 proto kernel scope link src 192.0.2.5\n198.18.0.1 proto dhcp scope link src 192.0.2.5\n198.51.100.0/24 proto kernel scope link src 198.51.100.7\n203.0.113.0/24 via 192.0.2.1 proto dhcp src 192.0.2.5"
	if out := routesOf(pod, "net1"); out != want {
		t.Errorf("routes of the link:\n%s\nwant\n%s", out, want)
	}
	if out := pod.Run("ip route show default"); !strings.Contains(out, "via 10.244.0.1 dev eth0") || strings.Count(out, "\n") != 1 {
		t.Errorf("default routes: %s", out)
	}
	if now, err := ns.read(l, "", State{}, both); err != nil || len(now.Addresses) != len(state.Addresses) || len(now.Routes) != len(state.Routes) {
		t.Errorf("the state has changed: %+v, was %+v (%v)", now, state, err)
	}

	second := nic.Dynamic{Address: netip.MustParsePrefix("192.0.2.6/25"), Preferred: time.Hour, Valid: 2 * time.Hour, Routes: []nic.Route{route("203.0.114.0/24", "192.0.2.1")}, MTU: 1400}
	if err := ns.SetDynamic(l.Index, first, second); err != nil {
		t.Fatal(err)
	}
	want = "192.0.2.0/25 proto kernel scope link src 192.0.2.6\n198.51.100.0/24 proto kernel scope link src 198.51.100.7\n203.0.114.0/24 via 192.0.2.1 proto dhcp src 192.0.2.6"
	if out := routesOf(pod, "net1"); out != want {
		t.Errorf("routes after another lease:\n%s\nwant\n%s", out, want)
	}
	if out := pod.Run("ip link show dev net1"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("the link: %s", out)
	}
	tooMuch := second
	tooMuch.MTU = 1 << 20
	if err := ns.SetDynamic(l.Index, second, tooMuch); err != nil {
		t.Errorf("an MTU that the link cannot have: %v", err)
	}

	reached, err := ns.Reached([]int{l.Index})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range reached {
		got = append(got, p.String())
	}
	if want := []string{"0.0.0.0/0", "10.244.0.0/24", "10.244.0.5/32", "2001:db8::/64", "2001:db8::5/128"}; !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("the pod's other links reach %q, want %q", got, want)
	}

	if err := ns.SetDynamic(l.Index, second, nic.Dynamic{}); err != nil {
		t.Fatal(err)
	}
	pod.Run("ip link set net1 mtu 1500")
	pod.Same(before, "the namespace at the end")

	if err := ns.SetDynamic(l.Index, nic.Dynamic{}, nic.Dynamic{Address: netip.MustParsePrefix("192.0.2.5/24"), Preferred: time.Second, Valid: time.Second, Routes: first.Routes[1:2]}); err != nil {
		t.Fatal(err)
	}
	pod.Same(before, "the namespace once the address has expired")
}

// routesOf returns a link's IPv4 routes, sorted.
func routesOf(ns *nstest.NS, link string) string {
	var lines []string
	for line := range strings.Lines(ns.Run("ip -4 route show dev " + link)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestLeaseChecks checks which links can lease addresses, and what of the host's
// addresses their pods get.
func TestLeaseChecks(t *testing.T) {
	yes := true
	ethernet, infiniband := Link{Encapsulation: "ether"}, Link{Encapsulation: "infiniband"}
	four, six := nic.Interface{DHCP: &yes}, nic.Interface{DHCP6: &yes}
	original := State{Name: "eth1", Settings: Settings{MTU: 1500}}
	for _, a := range []string{"192.0.2.7/24", "2001:db8::7/64", "fe80::7/64"} {
		p := netip.MustParsePrefix(a)
		original.Addresses = append(original.Addresses, Address{Prefix: p, Scope: scopeOf(p.Addr())})
	}
	small := original
	small.MTU, small.Addresses = 1000, nil
	for _, tt := range []struct {
		name     string
		link     Link
		original State
		config   nic.Interface
		kept     []string
		err      string
	}{
		{"neither", infiniband, original, nic.Interface{}, []string{"192.0.2.7/24", "2001:db8::7/64", "fe80::7/64"}, ""},
		{"IPv4", ethernet, original, four, []string{"2001:db8::7/64", "fe80::7/64"}, ""},
		{"IPv6", ethernet, original, six, []string{"192.0.2.7/24", "fe80::7/64"}, ""},
		{"addressing", ethernet, original, nic.Interface{Addressing: nic.AddressingDHCP}, []string{"2001:db8::7/64", "fe80::7/64"}, ""},
		{"IPv4, not Ethernet", infiniband, original, four, nil, `interface.dhcp: "true": needs an Ethernet interface`},
		{"IPv6, not Ethernet", infiniband, original, six, nil, `interface.dhcp6: "true": needs an Ethernet interface`},
		{"IPv4, small MTU", ethernet, small, four, nil, ""},
		{"IPv6, small MTU", ethernet, small, six, nil, `interface.dhcp6: "true": IPv6 needs an MTU of 1280 or more, the interface has 1000`},
	} {
		want, _, err := Desired(tt.link, tt.original, nic.Config{Interface: tt.config})
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: got error %v, want %s", tt.name, err, tt.err)
			}
			continue
		}
		var kept []string
		for _, a := range want.Addresses {
			kept = append(kept, a.Prefix.String())
		}
		if err != nil || !slices.Equal(kept, tt.kept) {
			t.Errorf("%s: got %q, %v, want %q", tt.name, kept, err, tt.kept)
		}
	}
}
