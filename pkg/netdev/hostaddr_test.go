package netdev

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// hostAddresses are links as hosts have them: their addresses there go into the
// pod, or stay out and are reported, and are restored afterwards. All is as ip(8)
// prints it, on the lines of one link.
var hostAddresses = []struct {
	name, onHost string
	want, not    []string // in the pod
	omitted      []string
}{
	{
		name: "link-local IPv4, as ip sets it", onHost: "ip addr add 169.254.7.7/16 dev h0",
		want: []string{"inet 169.254.7.7/16 scope global net1", "169.254.0.0/16 dev net1 proto kernel scope link src 169.254.7.7"},
	},
	{
		name: "link-local IPv4, as zeroconf sets it, before a global one", onHost: "ip addr add 192.0.2.7/24 dev h0\nip addr add 169.254.7.7/16 scope link dev h0\nip route add 10.5.0.0/16 via 169.254.7.8 dev h0",
		want: []string{"inet 169.254.7.7/16 scope link net1", "inet 192.0.2.7/24 scope global net1", "10.5.0.0/16 via 169.254.7.8 dev net1"},
	},
	{
		name: "IPv6 link-local of the user's own", onHost: "ip addr add fe80::7/64 dev h0 nodad\nip addr add 2001:db8::7/64 dev h0 nodad\nip -6 route add 2001:db8:1::/48 via fe80::8 src fe80::7 dev h0",
		want: []string{"inet6 fe80::ff:fe00:41/64 scope link\n", "inet6 fe80::7/64 scope link nodad", "inet6 2001:db8::7/64 scope global nodad", "2001:db8:1::/48 via fe80::8 dev net1 src fe80::7"},
	},
	{
		name: "IPv6 link-local of the user's own alone", onHost: "ip link set h0 addrgenmode none\nip addr flush dev h0 scope link\nip addr add fe80::7/64 dev h0 nodad\nip addr add fec0::7/64 dev h0 nodad",
		want: []string{"inet6 fe80::7/64 scope link nodad", "inet6 fec0::7/64 scope site nodad"}, not: []string{"fe80::ff:"},
	},
	{
		name: "NetworkManager's", onHost: networkManager,
		want: []string{
			"inet 192.0.2.7/24 brd 192.0.2.255 scope global noprefixroute net1", "inet 192.0.2.8/24 brd 192.0.2.255 scope global secondary noprefixroute net1",
			"inet6 2001:db8::7/64 scope global nodad noprefixroute", "inet6 fe80::7/64 scope link nodad noprefixroute",
			"192.0.2.0/24 dev net1 proto kernel scope link src 192.0.2.7 metric 100", "10.5.0.0/16 via 192.0.2.1 dev net1 proto static metric 100",
			"2001:db8::/64 dev net1 proto kernel metric 100", "fe80::/64 dev net1 proto kernel metric 1024", "2001:db8:5::/48 via 2001:db8::fe dev net1",
		},
	},
	{
		name: "a second connected route beside the kernel's", onHost: "ip addr add 192.0.2.7/24 dev h0\nip route add 192.0.2.0/24 dev h0 proto kernel scope link src 192.0.2.7 metric 50\nip addr add 198.51.100.7/24 metric 77 dev h0\nip addr add 2001:db8::7/64 dev h0 nodad",
		want: []string{"192.0.2.0/24 dev net1 proto kernel scope link src 192.0.2.7\n", "192.0.2.0/24 dev net1 proto kernel scope link src 192.0.2.7 metric 50", "198.51.100.0/24 dev net1 proto kernel scope link src 198.51.100.7 metric 77"},
	},
	{
		name: "of host scope", onHost: "ip addr add 10.7.7.7/32 scope host dev h0\nip addr add 192.0.2.7/24 dev h0",
		want: []string{"192.0.2.7/24"}, not: []string{"10.7.7.7"}, omitted: []string{"address 10.7.7.7/32: is of host scope"},
	},
	{
		name: "IPv4-mapped IPv6", onHost: "ip -6 addr add ::ffff:10.0.0.1/120 dev h0 nodad",
		want: []string{"inet6 ::ffff:10.0.0.1/120 scope global nodad"},
	},
}

// networkManager sets what NetworkManager sets for a profile with static
// addresses.
const networkManager = `ip link set h0 addrgenmode none
	ip addr flush dev h0 scope link
	ip addr add fe80::7/64 dev h0 nodad noprefixroute
	ip -6 route add fe80::/64 dev h0 proto kernel metric 1024
	ip addr add 192.0.2.7/24 brd + dev h0 noprefixroute
	ip addr add 192.0.2.8/24 brd + dev h0 noprefixroute
	ip route add 192.0.2.0/24 dev h0 proto kernel scope link src 192.0.2.7 metric 100
	ip route add 10.5.0.0/16 via 192.0.2.1 dev h0 proto static metric 100
	ip addr add 2001:db8::7/64 dev h0 nodad noprefixroute
	ip -6 route add 2001:db8::/64 dev h0 proto kernel metric 100
	ip -6 route add 2001:db8:5::/48 via 2001:db8::fe dev h0 proto static metric 100`

// TestNetworkManager checks that a pod reaches the subnets of a host that has
// NetworkManager, and has none of its routes where the claim sets addresses.
func TestNetworkManager(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev p0\nip addr add 2001:db8::1/64 dev p0 nodad\n"+networkManager, "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	w.attach(p)
	for _, to := range []string{"192.0.2.1", "2001:db8::1"} {
		if out, err := w.Pod.Try("busybox ping -c 1 -W 2 " + to); err != nil {
			t.Errorf("ping %s: %v\n%s", to, err, out)
		}
	}
	w.detach(p)
	p = w.plan("h0", `{"interface":{"name":"net1","addresses":["192.0.2.50/24"]}}`)
	w.attach(p)
	if got := w.Pod.Run("ip route show"); got != "10.5.0.0/16 via 192.0.2.1 dev net1 proto static metric 100 \n192.0.2.0/24 dev net1 proto kernel scope link src 192.0.2.50 \n" {
		t.Errorf("with an address of the claim's the pod has the routes\n%s", got)
	}
	w.detach(p)
	w.asBefore()
}

func TestHostAddresses(t *testing.T) {
	for _, tt := range hostAddresses {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 address 02:00:00:00:00:41 up\n"+tt.onHost, "")
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			if d := cmp.Diff(tt.omitted, w.omitted); d != "" {
				t.Errorf("omitted (-want +got):\n%s", d)
			}
			a := w.attach(p)[0]
			if len(a.Omitted) > 0 {
				t.Errorf("refused by the kernel: %q", a.Omitted)
			}
			got := w.Pod.Settled()
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
			p.ID = a.ID
			if result := w.detach(p)[0]; len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			w.asBefore()
		})
	}
}

// TestOldKernelsLinkLocal checks that an address which the kernel has made, and
// which a kernel before 5.18 does not mark, is not taken for the user's.
func TestOldKernelsLinkLocal(t *testing.T) {
	mac := []byte{2, 0, 0, 0, 0, 0x10}
	made, own := Address{Prefix: pfx("fe80::ff:fe00:10/64"), Scope: 253}, Address{Prefix: pfx("fe80::7/64"), Scope: 253}
	original := State{Name: "net1", Settings: Settings{MTU: 1500, MAC: mac}, Addresses: []Address{made, own}}
	got := prefixes(desired(t, original))
	if !slices.Equal(got, prefixes(State{Addresses: []Address{own}})) {
		t.Errorf("wanted in the pod: %v", got)
	}
	original.AddrGenMode = 1 // none: it is the user's own
	if got := prefixes(desired(t, original)); len(got) != 2 {
		t.Errorf("with addrgenmode none, wanted in the pod: %v", got)
	}
	// What the kernel makes in the pod is neither removed nor missed.
	want := desired(t, original)
	have := want
	other := Address{Prefix: pfx("fe80::ff:fe00:99/64"), Scope: 253}
	have.Addresses = append(slices.Clone(want.Addresses), other)
	if err := want.checkIn(have.withoutKernels(want)); err != nil {
		t.Errorf("got error %v", err)
	}
	have.Addresses = []Address{other}
	if err := want.checkIn(have.withoutKernels(want)); err == nil || !strings.Contains(err.Error(), "fe80::7/64") {
		t.Errorf("without fe80::7: got error %v", err)
	}
}

func desired(t *testing.T, original State) State {
	t.Helper()
	want, _, err := Desired(Link{}, original, nic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return want
}
