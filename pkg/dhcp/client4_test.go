package dhcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/dra-netdev/dra-netdev/internal/dhcptest"
	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const clientMAC = "02:00:00:00:00:02"

var clientHardware = nic.HardwareAddr{2, 0, 0, 0, 0, 2}

// network is a client's namespace and a server's, with a link between them.
func network(t *testing.T) (client, server *nstest.NS) {
	t.Helper()
	client, server = nstest.New(t), nstest.New(t)
	client.Lines("ip link add c0 address " + clientMAC + " type veth peer name s0\nip link set s0 netns " + server.Path + "\nip link set c0 up\nip link set lo up")
	server.Lines("ip link set lo up\nip link set s0 address 02:00:00:00:00:01 up\nip addr add 192.0.2.1/24 dev s0")
	return client, server
}

// within runs functions in a namespace, for a client.
func within(ns *nstest.NS) func(func()) error {
	return func(f func()) error {
		ns.Do(f)
		return nil
	}
}

func index(t *testing.T, ns *nstest.NS, link string) (i int) {
	t.Helper()
	ns.Do(func() {
		l, err := net.InterfaceByName(link)
		if err != nil {
			t.Error(err)
			return
		}
		i = l.Index
	})
	return i
}

func newClient(t *testing.T, ns *nstest.NS) Client {
	return Client{Index: index(t, ns, "c0"), MAC: clientHardware, Name: "uid-c/dev", Within: within(ns)}
}

func TestLeaseOfAServer(t *testing.T) {
	client, server := network(t)
	s := dhcptest.Serve4(t, server, "s0", "192.0.2.1", "192.0.2.50/24", time.Hour)
	s.Set(func(s *dhcptest.Server4) {
		s.Options = []dhcptest.Option{
			dhcptest.Router("192.0.2.9"), dhcptest.Routes("198.51.100.0/24 192.0.2.254"), dhcptest.DNS("192.0.2.53"),
			dhcptest.Search("a.example", "bad name\n", "b.example"), dhcptest.MTU(1400),
		}
	})
	c := newClient(t, client)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := c.Acquire(ctx, IPv4)
	if err != nil {
		t.Fatal(err)
	}
	want := Lease{
		Family: IPv4, Address: netip.MustParsePrefix("192.0.2.50/24"), Server: netip.MustParseAddr("192.0.2.1"),
		ServerMAC: nic.HardwareAddr{2, 0, 0, 0, 0, 1}, T1: 30 * time.Minute, T2: time.Hour * 7 / 8, Preferred: time.Hour, Valid: time.Hour,
		Routes: []nic.Route{{Destination: netip.MustParsePrefix("198.51.100.0/24"), Gateway: netip.MustParseAddr("192.0.2.254")}},
		MTU:    1400, DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Search: []string{"a.example", "b.example"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Lease{}, "Since"), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("lease (-want +got):\n%s", diff)
	}
	if heard := s.Heard(); !slices.Equal(heard, []string{"DISCOVER", "REQUEST 192.0.2.50"}) {
		t.Errorf("the server heard %q", heard)
	}
	client.Run("ip addr add 192.0.2.50/24 dev c0")
	for _, how := range []Action{Renew, Rebind} {
		longer, err := c.Extend(ctx, got, how)
		if err != nil || longer.Address != got.Address || longer.Since <= got.Since {
			t.Errorf("extend (%d): %+v, %v", how, longer, err)
		}
		if heard := s.Heard(); !slices.Equal(heard, []string{"REQUEST 192.0.2.50"}) {
			t.Errorf("extend (%d): the server heard %q", how, heard)
		}
	}
	s.Set(func(s *dhcptest.Server4) { s.NAK = true })
	if _, err := c.Extend(ctx, got, Renew); !errors.Is(err, ErrRefused) {
		t.Errorf("after a NAK: %v", err)
	}
	s.Heard()
	if err := c.Release(got); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if h := s.Heard(); slices.Equal(h, []string{"RELEASE 192.0.2.50"}) {
			return
		}
	}
	t.Error("the server has heard of no release")
}

// TestClientID checks that a client has one identity in all its messages, also
// after a restart, and another one than others have.
func TestClientID(t *testing.T) {
	client, server := network(t)
	s := dhcptest.Serve4(t, server, "s0", "192.0.2.1", "192.0.2.50/24", time.Hour)
	ids := map[string]bool{}
	for _, name := range []string{"uid-c/dev", "uid-c/dev", "uid-d/dev"} {
		c := newClient(t, client)
		c.Name = name
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.Acquire(ctx, IPv4); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range s.Messages() {
		ids[string(m.Options.Get(dhcpv4.OptionClientIdentifier))] = true
	}
	if len(ids) != 2 {
		t.Errorf("three clients of two names have %d identities", len(ids))
	}
}

// TestNoServer checks that a lease that does not come ends with ctx, with the
// reason.
func TestNoServer(t *testing.T) {
	client, server := network(t)
	s := dhcptest.Serve4(t, server, "s0", "192.0.2.1", "192.0.2.50/24", time.Hour)
	for _, tt := range []struct {
		name string
		set  func(*dhcptest.Server4)
		want string
	}{
		{"silent", func(s *dhcptest.Server4) { s.Silent = true }, "no DHCP server has answered"},
		{"refuses", func(s *dhcptest.Server4) { s.Silent, s.NAK = false, true }, "server 192.0.2.1: the server does not extend the lease"},
		{"too short", func(s *dhcptest.Server4) { s.NAK, s.Time = false, time.Second }, "server 192.0.2.1 offers 192.0.2.50/24 for 1s, want 10s or more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Set(tt.set)
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err := newClient(t, client).Acquire(ctx, IPv4)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	client.Run("ip link set c0 down")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := newClient(t, client).Acquire(ctx, IPv4); err == nil || !strings.Contains(err.Error(), "network is down") {
		t.Errorf("on a link that is down: %v", err)
	}
}
