package netdev

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// TestForeignLinkStays checks that a link that is not ours is never taken for
// ours, in whichever namespace it is and whatever its name.
func TestForeignLinkStays(t *testing.T) {
	t.Run("ours without its tag, another of its name on the host", func(t *testing.T) {
		w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0", "")
		p := w.plan("h0", `{"interface":{"name":"net1"}}`)
		p.ID = w.attach(p)[0].ID
		w.Pod.Run("ip link property del dev net1 altname nd-test-0")
		w.Host.Lines("ip link add h0 mtu 1300 type veth peer name q0\nip addr add 10.77.0.1/24 dev h0")
		result := w.detach(p)[0]
		if !result.HostNameTaken || !strings.Contains(w.Host.Run("ip addr show dev "+result.Name), "192.0.2.1/24") {
			t.Errorf("Detach: got %+v", result)
		}
		if out := w.Host.Run("ip addr show h0"); !strings.Contains(out, "10.77.0.1/24") || !strings.Contains(out, "mtu 1300") {
			t.Errorf("the other link was changed:\n%s", out)
		}
	})
	t.Run("ours destroyed, another of its name on the host", func(t *testing.T) {
		w := newWorld(t, "ip link set h0 up", "")
		p := w.plan("h0", `{"interface":{"name":"net1"}}`)
		p.ID = w.attach(p)[0].ID
		w.Pod.Run("ip link del net1")
		w.Host.Lines("ip link add h0 mtu 1300 type veth peer name q0\nip addr add 10.77.0.1/24 dev h0")
		before := w.Host.Settled()
		if result := w.detach(p)[0]; !result.Missing {
			t.Errorf("Detach: got %+v", result)
		}
		w.Host.Same(before, "the host")
	})
	t.Run("ours destroyed, another with its index in the pod", func(t *testing.T) {
		w := newWorld(t, "ip link set h0 up", "")
		p := w.plan("h0", `{"interface":{"name":"net1"}}`)
		p.ID = w.attach(p)[0].ID
		w.Pod.Run("ip link del net1")
		w.Pod.Run("ip link add name evil index 3 type veth peer name x")
		if p.ID.PodIndex != 3 {
			t.Fatalf("the link had index %d in the pod, the test expects 3", p.ID.PodIndex)
		}
		if result := w.detach(p)[0]; !result.Missing {
			t.Errorf("Detach: got %+v", result)
		}
		w.Pod.Run("ip link show evil")
	})
}

// TestRoutesComeBack checks that routes are restored that depend on other routes,
// on an address in duplicate address detection, on an address of another link, or
// on a sibling.
func TestRoutesComeBack(t *testing.T) {
	tests := []struct{ name, onHost string }{
		{"gateway behind a later route", "ip addr add 192.0.2.1/32 dev h0\nip route add 198.51.100.1/32 dev h0 scope link\nip route add 10.1.0.0/16 via 198.51.100.1 dev h0\nip addr add 2001:db8::1/128 dev h0 nodad\nip -6 route add 2001:db8:f::1/128 dev h0\nip -6 route add 2001:db8:1::/48 via 2001:db8:f::1 dev h0"},
		{"source address of its own, with duplicate address detection", "sysctl -qw net.ipv6.conf.all.accept_dad=1 net.ipv6.conf.h0.accept_dad=1\nip addr add 2001:db8::1/64 dev h0\nsleep 2.5\nip -6 route add 2001:db8:1::/48 via 2001:db8::9 dev h0 src 2001:db8::1"},
		{"source address of another link", "ip addr add 192.0.2.1/24 dev h0\nip addr add 203.0.113.7/32 dev lo\nip route add 10.1.0.0/16 via 192.0.2.9 dev h0 src 203.0.113.7"},
		{"several gateways", "ip addr add 2001:db8::1/64 dev h0 nodad\nip -6 route add 2001:db8:1::/48 nexthop via 2001:db8::8 dev h0 nexthop via 2001:db8::9 dev h0\nip addr add 192.0.2.1/24 dev h0\nip route add 10.1.0.0/16 nexthop via 192.0.2.8 dev h0 nexthop via 192.0.2.9 dev h0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 up\n"+tt.onHost, "")
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			p.ID = w.attach(p)[0].ID
			if result := w.detach(p)[0]; len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			w.Host.Same(w.hostBefore, "the host")
		})
	}
}

// TestPodHasTheRoute checks that a route of ours never merges with one of the
// pod's own network: the config's is refused, the host's omitted and reported.
func TestPodHasTheRoute(t *testing.T) {
	const inPod = "ip link add eth0 type veth peer name x\nip link set x up\nip link set eth0 up\nip addr add 10.78.0.2/24 dev eth0\nip addr add fd00::2/64 dev eth0 nodad\nip route add default via 10.78.0.1\nip -6 route add default via fd00::1"
	const onHost = "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0\nip addr add 2001:db8::1/64 dev h0 nodad"
	for _, route := range []string{`{"destination":"0.0.0.0/0","gateway":"192.0.2.9"}`, `{"destination":"::/0","gateway":"2001:db8::9"}`} {
		t.Run(route, func(t *testing.T) {
			w := newWorld(t, onHost, inPod)
			p := w.plan("h0", `{"interface":{"name":"net1"},"routes":[`+route+`]}`)
			if _, err := Attach(context.Background(), w.host, w.pod, []Plan{p}); err == nil || !strings.Contains(err.Error(), "add route") {
				t.Errorf("Attach: got error %v", err)
			}
			w.asBefore()
		})
	}
	t.Run("of the host", func(t *testing.T) {
		w := newWorld(t, onHost+"\nip route add default via 192.0.2.9\nip -6 route add default via 2001:db8::9", inPod)
		p := w.plan("h0", `{"interface":{"name":"net1"}}`)
		a := w.attach(p)[0]
		if len(a.Omitted) != 2 {
			t.Errorf("omitted: %q, want both default routes", a.Omitted)
		}
		p.ID = a.ID
		w.detach(p)
		w.asBefore()
	})
}

// TestSiblingThroughAnotherLink checks that a next hop of ours is added to those
// of other links again.
func TestSiblingThroughAnotherLink(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nip addr add 2001:db8::1/64 dev h0 nodad\nip link add h1 type veth peer name p1\nip link set p1 up\nip link set h1 up\nip addr add 2001:db8:7::1/64 dev h1 nodad\nip -6 route add 2001:db8:1::/48 nexthop via 2001:db8::9 dev h0 nexthop via 2001:db8:7::9 dev h1", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	if got := w.Pod.Run("ip -6 route show"); !strings.Contains(got, "2001:db8:1::/48 via 2001:db8::9 dev net1") {
		t.Errorf("the pod lacks its next hop:\n%s", got)
	}
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	got := w.Host.Run("ip -6 route show 2001:db8:1::/48")
	if !strings.Contains(got, "via 2001:db8::9 dev h0") || !strings.Contains(got, "via 2001:db8:7::9 dev h1") {
		t.Errorf("the host lacks a next hop:\n%s", got)
	}
}

func TestTwoGatewaysInThePod(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nip addr add 2001:db8::1/64 dev h0 nodad", "")
	w.attach(w.plan("h0", `{"interface":{"name":"net1"},"routes":[{"destination":"2001:db8:1::/48","gateway":"2001:db8::8"},{"destination":"2001:db8:1::/48","gateway":"2001:db8::9"},{"destination":"::/0","gateway":"2001:db8:f::1"},{"destination":"2001:db8:f::1/128"}]}`))
	got := w.Pod.Snapshot()
	for _, want := range []string{"via 2001:db8::8", "via 2001:db8::9", "default via 2001:db8:f::1"} {
		if !strings.Contains(got, want) {
			t.Errorf("the pod lacks %q:\n%s", want, got)
		}
	}
}

// TestHostGaveAltNameAway checks that a link is restored also when another has
// its altname meanwhile.
func TestHostGaveAltNameAway(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nip link property add dev h0 altname enp1", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	w.Host.Lines("ip link add x type ifb\nip link property add dev x altname enp1")
	result := w.detach(p)[0]
	if result.Name != "h0" || result.HostNameTaken || !slices.ContainsFunc(result.Unset, func(u string) bool { return strings.Contains(u, "enp1") }) {
		t.Errorf("Detach: got %+v", result)
	}
}

// TestStableSecret checks that an address generation mode which the pod cannot
// have prevents neither the attach nor the detach.
func TestStableSecret(t *testing.T) {
	w := newWorld(t, "sysctl -qw net.ipv6.conf.h0.stable_secret=2001:db8::42\nip link set h0 addrgenmode stable_secret\nip link set h0 up\nip addr add 192.0.2.1/24 dev h0", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	if result := w.detach(p)[0]; result.Name != "h0" || len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	w.Host.Same(w.hostBefore, "the host")
}

// TestSysctls checks that a link's own settings are restored on the host, and not
// set in the pod.
func TestSysctls(t *testing.T) {
	settings := map[string]string{"ipv4/conf/h0/rp_filter": "2", "ipv4/conf/h0/arp_ignore": "1", "ipv6/conf/h0/accept_ra": "0", "ipv6/conf/h0/keep_addr_on_down": "1"}
	var set strings.Builder
	for key, value := range settings {
		set.WriteString("sysctl -qw net." + strings.ReplaceAll(key, "/", ".") + "=" + value + "\n")
	}
	w := newWorld(t, "ip link set h0 up\n"+set.String(), "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	if got := strings.TrimSpace(w.Pod.Run("cat /proc/sys/net/ipv4/conf/net1/arp_ignore")); got != "0" {
		t.Errorf("arp_ignore in the pod: got %s, want the namespace's own 0", got)
	}
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	for key, want := range settings {
		if got := strings.TrimSpace(w.Host.Run("cat /proc/sys/net/" + key)); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

// TestSysctlsAfterASmallMTU checks that a link's IPv6 settings are restored also
// when an MTU below 1280, set by the pod, has removed them.
func TestSysctlsAfterASmallMTU(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nsysctl -qw net.ipv6.conf.h0.hop_limit=77\nip addr add 2001:db8::1/64 dev h0 nodad", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	w.Pod.Run("ip link set net1 mtu 1000")
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	if got := strings.TrimSpace(w.Host.Run("cat /proc/sys/net/ipv6/conf/h0/hop_limit")); got != "77" {
		t.Errorf("hop_limit: got %s, want 77", got)
	}
	w.asBefore()
}

// TestGuardsOfAKilledMove checks that the next detach removes a guard that a
// killed move left.
func TestGuardsOfAKilledMove(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	for _, side := range []struct {
		ns   *NetNS
		name string
	}{{w.host, fallbackName(p.ID.Tag)}, {w.pod, "h0"}} {
		if ok, err := side.ns.guard(side.name); err != nil || !ok {
			t.Fatalf("guard %s: %t, %v", side.name, ok, err)
		}
	}
	if _, err := Detach(context.Background(), w.host, w.pod, []Plan{p}); err != nil {
		t.Fatal(err)
	}
	w.asBefore()
}
