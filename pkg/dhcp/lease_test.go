package dhcp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/dra-netdev/dra-netdev/internal/dhcptest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

func prefixes(all ...string) (ps []netip.Prefix) {
	for _, p := range all {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

// TestNext checks what is to be done with a lease that was got at 1000 s for an
// hour, as time goes by.
func TestNext(t *testing.T) {
	const s = time.Second
	lease := Lease{Family: IPv4, Address: prefixes("192.0.2.5/24")[0], Since: 1000 * s, T1: 1800 * s, T2: 3150 * s, Valid: 3600 * s}
	short := Lease{Family: IPv4, Address: lease.Address, Since: 1000 * s, T1: 5 * s, T2: 8 * s, Valid: 10 * s}
	tried := func(l Lease, at time.Duration) Lease { return l.Asked(at) }
	for _, tt := range []struct {
		name string
		l    Lease
		now  time.Duration
		do   Action
		at   time.Duration
	}{
		{"new", lease, 1000 * s, Wait, 2800 * s},
		{"before T1", lease, 2799 * s, Wait, 2800 * s},
		{"at T1", lease, 2800 * s, Renew, 2800 * s},
		{"asked at T1", tried(lease, 2800*s), 2801 * s, Wait, 3475 * s},
		{"again", tried(lease, 2800*s), 3475 * s, Renew, 3475 * s},
		{"a minute at least", tried(lease, 4100*s), 4101 * s, Wait, 4150 * s},
		{"at T2", tried(lease, 4140*s), 4150 * s, Rebind, 4150 * s},
		{"asked at T2", tried(lease, 4150*s), 4151 * s, Wait, 4375 * s},
		{"near its end", tried(lease, 4570*s), 4571 * s, Wait, 4600 * s},
		{"at its end", tried(lease, 4570*s), 4600 * s, Expire, 4600 * s},
		{"long after, as after a sleep", lease, 99999 * s, Expire, 99999 * s},
		{"after a restart at T2", lease, 4300 * s, Rebind, 4300 * s},
		{"a short one, asked", tried(short, 1005*s), 1005 * s, Wait, 1006*s + s/2},
		{"a short one, asked again", tried(short, 1008*s), 1008 * s, Wait, 1009 * s},
		{"lost", lease.Lost(), 5000 * s, Acquire, 5000 * s},
		{"lost, asked", tried(lease.Lost(), 5000*s), 5001 * s, Wait, 5010 * s},
		{"lost, asked again", tried(lease.Lost(), 5000*s), 5010 * s, Acquire, 5010 * s},
	} {
		if do, at := tt.l.Next(tt.now); do != tt.do || at != tt.at {
			t.Errorf("%s: got %d at %s, want %d at %s", tt.name, do, at, tt.do, tt.at)
		}
	}
}

// TestFit checks what of a lease is kept beside the pod's other interfaces.
func TestFit(t *testing.T) {
	route := func(to, via string) nic.Route {
		r := nic.Route{Destination: netip.MustParsePrefix(to)}
		if via != "" {
			r.Gateway = netip.MustParseAddr(via)
		}
		return r
	}
	for _, tt := range []struct {
		name    string
		address string
		routes  []nic.Route
		taken   []netip.Prefix
		kept    []string
		ignored []string
		err     string
	}{
		{
			name: "default route, the pod has none", address: "192.0.2.5/24", routes: []nic.Route{route("0.0.0.0/0", "192.0.2.1")},
			taken: prefixes("10.244.0.0/24", "::/0"), kept: []string{"0.0.0.0/0"},
		},
		{
			name: "default route, the pod has one", address: "192.0.2.5/24", routes: []nic.Route{route("0.0.0.0/0", "192.0.2.1"), route("198.51.100.0/24", "192.0.2.1")},
			taken: prefixes("0.0.0.0/0", "10.244.0.5/32"), kept: []string{"198.51.100.0/24"}, ignored: []string{"route to 0.0.0.0/0: the pod has a default route"},
		},
		{
			name: "two halves of everything", address: "192.0.2.5/24", routes: []nic.Route{route("0.0.0.0/1", "192.0.2.1"), route("128.0.0.0/1", "192.0.2.1")},
			taken: prefixes("0.0.0.0/0"), ignored: []string{"route to 0.0.0.0/1: the pod has a default route", "route to 128.0.0.0/1: the pod has a default route"},
		},
		{
			name: "half of everything, the pod has no default route", address: "192.0.2.5/24", routes: []nic.Route{route("0.0.0.0/1", "192.0.2.1")},
			taken: prefixes("10.244.0.0/24"), ignored: []string{"route to 0.0.0.0/1: it covers the network 10.244.0.0/24"},
		},
		{
			name: "the pod's network, and around it", address: "192.0.2.5/24",
			routes: []nic.Route{route("10.244.0.0/24", "192.0.2.1"), route("10.0.0.0/8", "192.0.2.1"), route("10.244.0.7/32", ""), route("10.245.0.0/16", "192.0.2.1")},
			taken:  prefixes("10.244.0.0/24"), kept: []string{"10.245.0.0/16"},
			ignored: []string{"route to 10.244.0.0/24: it is in the network", "route to 10.0.0.0/8: it is in the network", "route to 10.244.0.7/32: it is in"},
		},
		{
			name: "gateways", address: "192.0.2.5/24",
			routes: []nic.Route{route("198.18.0.1/32", ""), route("10.1.0.0/16", "198.18.0.1"), route("10.2.0.0/16", "198.18.0.2")},
			kept:   []string{"198.18.0.1/32", "10.1.0.0/16"}, ignored: []string{"route to 10.2.0.0/16: its gateway 198.18.0.2 is not on the interface"},
		},
		{name: "address in the pod's network", address: "10.244.0.9/24", taken: prefixes("10.244.0.0/16"), err: "leases 10.244.0.9/24, which is in the network 10.244.0.0/16"},
		{name: "network around the pod's", address: "10.1.0.9/8", taken: prefixes("10.244.0.5/32"), err: "leases 10.1.0.9/8, which is in the network 10.244.0.5/32"},
		{name: "a pod without a network", address: "192.0.2.5/24"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Lease{Address: netip.MustParsePrefix(tt.address), Routes: tt.routes}.Fit(tt.taken)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var kept []string
			for _, r := range got.Routes {
				kept = append(kept, r.Destination.String())
			}
			if !slices.Equal(kept, tt.kept) || len(got.Ignored) != len(tt.ignored) {
				t.Errorf("got routes %q and ignored %q, want %q and %q", kept, got.Ignored, tt.kept, tt.ignored)
			}
			for i := range min(len(got.Ignored), len(tt.ignored)) {
				if !strings.HasPrefix(got.Ignored[i], tt.ignored[i]) {
					t.Errorf("ignored %q, want %q", got.Ignored[i], tt.ignored[i])
				}
			}
		})
	}
}

// ack returns an ACK of a server for 192.0.2.5/24, with options.
func ack(options ...dhcptest.Option) answer4 {
	m, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithYourIP([]byte{192, 0, 2, 5}), dhcpv4.WithNetmask([]byte{255, 255, 255, 0}),
		dhcpv4.WithLeaseTime(3600), dhcpv4.WithOption(dhcpv4.OptServerIdentifier([]byte{192, 0, 2, 1})))
	if err != nil {
		panic(err)
	}
	for _, o := range options {
		m.UpdateOption(o)
	}
	return answer4{m, clientHardware}
}

// TestAccept4 checks the bounds of what a server can lease.
func TestAccept4(t *testing.T) {
	generic := func(code uint8, b ...byte) dhcptest.Option {
		return dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), b)
	}
	yiaddr := func(a ...byte) func() answer4 {
		return func() answer4 {
			m := ack()
			m.YourIPAddr = a
			return m
		}
	}
	with := func(o ...dhcptest.Option) func() answer4 { return func() answer4 { return ack(o...) } }
	for _, tt := range []struct {
		name string
		m    func() answer4
		err  string
	}{
		{"as usual", with(), ""},
		{"no server", with(generic(54)), "does not name itself"},
		{"server of multicast", with(generic(54, 224, 0, 0, 1)), "does not name itself"},
		{"no address", yiaddr(0, 0, 0, 0), "no address of an interface"},
		{"loopback", yiaddr(127, 0, 0, 1), "no address of an interface"},
		{"link-local", yiaddr(169, 254, 0, 1), "no address of an interface"},
		{"multicast", yiaddr(239, 0, 0, 1), "no address of an interface"},
		{"the network", yiaddr(192, 0, 2, 0), "the network or its broadcast address"},
		{"the broadcast address", yiaddr(192, 0, 2, 255), "the network or its broadcast address"},
		{"mask with a hole", with(generic(1, 255, 0, 255, 0)), "want 8 bits or more"},
		{"mask of the Internet", with(generic(1, 128, 0, 0, 0)), "want 8 bits or more"},
		{"no time", with(generic(51)), "for 0s"},
		{"too short", with(generic(51, 0, 0, 0, 9)), "for 9s, want 10s or more"},
	} {
		l, err := accept4(tt.m(), 0)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: lease %+v, error %v, want %q", tt.name, l, err, tt.err)
		}
	}

	l, err := accept4(ack(generic(51, 255, 255, 255, 255), generic(58, 0, 0, 0, 1), generic(59, 0, 0, 0, 1)), 0)
	if err != nil || l.Valid != maxValid || l.T1 != minRenew || l.T2 != minRenew {
		t.Errorf("a lease without an end, to be renewed at once: %+v, %v", l, err)
	}
	l, err = accept4(ack(dhcptest.MTU(68)), 0)
	if err != nil || l.MTU != 0 || len(l.Ignored) != 1 {
		t.Errorf("an MTU of 68: %+v, %v", l, err)
	}
	var routes, domains []string
	var dns []byte
	for i := range 200 {
		routes = append(routes, fmt.Sprintf("198.18.%d.0/24 192.0.2.1", i))
		domains = append(domains, fmt.Sprintf("d%d.example", i))
		dns = append(dns, 192, 0, 2, byte(i+1))
	}
	l, err = accept4(ack(dhcptest.Routes(routes...), dhcptest.Search(domains...), generic(6, dns...)), 0)
	if err != nil || len(l.Routes) != maxRoutes || len(l.Search) != maxSearch || len(l.DNS) != maxDNS || len(l.Ignored) != maxIgnored {
		t.Errorf("200 of everything: %d routes, %d domains, %d DNS servers, %d ignored, %v", len(l.Routes), len(l.Search), len(l.DNS), len(l.Ignored), err)
	}
	bad := []string{"a\nb.example", "-a.example", "", strings.Repeat("a.", 127) + "example", "\x1b[31m.example", "sp ace", "ok.example."}
	if got := names(bad); !slices.Equal(got, []string{"ok.example"}) {
		t.Errorf("names: %q", got)
	}
	l, err = accept4(ack(dhcptest.Routes("224.0.0.0/4 192.0.2.1", "127.0.0.0/8 192.0.2.1", "198.18.0.0/16 255.255.255.255", "192.0.2.0/24 0.0.0.0")), 0)
	if err != nil || len(l.Routes) != 0 || len(l.Ignored) != 3 {
		t.Errorf("routes that are none: %+v, %v", l, err)
	}
	l, err = accept4(ack(generic(1, 255, 255, 255, 255), dhcptest.Router("198.51.100.1")), 0)
	if err != nil || len(l.Routes) != 2 || l.Routes[0].Destination != prefixes("198.51.100.1/32")[0] || l.Routes[1].Destination.Bits() != 0 {
		t.Errorf("a router outside of an address's network of one: %+v, %v", l.Routes, err)
	}
}

// FuzzAnswer4 checks that no packet makes a lease that breaks the bounds, or
// anything else.
func FuzzAnswer4(f *testing.F) {
	f.Add(encode4(ack(dhcptest.MTU(1400), dhcptest.Search("a.example"), dhcptest.Routes("0.0.0.0/0 192.0.2.1")).ToBytes(), netip.MustParseAddr("192.0.2.1"), broadcast4))
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, payload := range [][]byte{decode4(packet), packet} {
			guarded(func() error {
				m, err := dhcpv4.FromBytes(payload)
				if err != nil {
					return err
				}
				l, err := accept4(answer4{m, nil}, 0)
				if err == nil && (!l.Address.IsValid() || l.T1 < minRenew || l.Valid > maxValid || len(l.Routes) > maxRoutes || len(l.Ignored) > maxIgnored || len(l.Search) > maxSearch) {
					t.Errorf("accepted %+v", l)
				}
				return err
			})
		}
	})
}

// TestPacket checks that a packet of our own can be read, and its checksums.
func TestPacket(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.5"), netip.MustParseAddr("192.0.2.1")
	for _, payload := range []string{"", "x", "even", strings.Repeat("\xff", 301)} {
		p := encode4([]byte(payload), a, b)
		if checksum(p[:ipHeader], 0) != 0 {
			t.Errorf("%q: the checksum of the header is wrong", payload)
		}
		if c := checksum(p[ipHeader:], uint32(len(p)-ipHeader)+17+sum(p[12:ipHeader])); c != 0 {
			t.Errorf("%q: the checksum of UDP is wrong", payload)
		}
		if decode4(p) != nil {
			t.Errorf("%q: a packet of a client was taken for one of a server", payload)
		}
		p[ipHeader+1], p[ipHeader+3] = serverPort4, clientPort4
		if got := decode4(p); string(got) != payload {
			t.Errorf("got %q, want %q", got, payload)
		}
		for n := range p {
			if decode4(p[:n]) != nil {
				t.Errorf("%d bytes of %d were taken for a packet", n, len(p))
			}
		}
	}
}
