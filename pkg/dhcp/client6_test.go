package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/dra-netdev/dra-netdev/internal/dhcptest"
)

// TestLeaseOfAServer6 checks a lease from the first message to its release.
func TestLeaseOfAServer6(t *testing.T) {
	client, server := network(t)
	s := dhcptest.Serve6(t, server, "s0", "2001:db8::50", time.Hour)
	s.Set(func(s *dhcptest.Server6) { s.DNS, s.Search = netip.MustParseAddr("2001:db8::53"), "a.example" })
	c := newClient(t, client)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := c.Acquire(ctx, IPv6)
	if err != nil {
		t.Fatal(err)
	}
	want := Lease{
		Family: IPv6, Address: netip.MustParsePrefix("2001:db8::50/128"), Server: netip.MustParseAddr("fe80::ff:fe00:1"),
		ServerID: []byte("\x00\x09test"), T1: 30 * time.Minute, T2: time.Hour * 7 / 8, Preferred: time.Hour, Valid: time.Hour,
		DNS: []netip.Addr{netip.MustParseAddr("2001:db8::53")}, Search: []string{"a.example"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Lease{}, "Since"), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("lease (-want +got):\n%s", diff)
	}
	heard := func(want ...string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			h := s.Heard()
			if slices.Equal(h, want) {
				return
			}
			if len(h) > 0 || time.Now().After(end) {
				t.Errorf("the server heard %q, want %q", h, want)
				return
			}
		}
	}
	heard("SOLICIT", "REQUEST 2001:db8::50")
	for how, message := range map[Action]string{Renew: "RENEW 2001:db8::50", Rebind: "REBIND 2001:db8::50"} {
		longer, err := c.Extend(ctx, got, how)
		if err != nil || longer.Address != got.Address || longer.Since <= got.Since {
			t.Errorf("%s: %+v, %v", message, longer, err)
		}
		heard(message)
	}
	s.Set(func(s *dhcptest.Server6) { s.Deny = true })
	if _, err := c.Extend(ctx, got, Renew); !errors.Is(err, ErrRefused) {
		t.Errorf("without a binding: %v", err)
	}
	heard("RENEW 2001:db8::50")
	s.Set(func(s *dhcptest.Server6) { s.Deny, s.Lease = false, netip.MustParseAddr("2001:db8::99") })
	if l, err := c.Extend(ctx, got, Renew); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "leases 2001:db8::99/128 in place of 2001:db8::50/128") {
		t.Errorf("another address: %+v, %v", l, err)
	}
	heard("RENEW 2001:db8::50")
	if err := c.Release(got); err != nil {
		t.Error(err)
	}
	heard("RELEASE 2001:db8::50")
}

// TestNoServer6 checks that a lease that does not come ends with ctx, with the
// reason.
func TestNoServer6(t *testing.T) {
	client, server := network(t)
	s := dhcptest.Serve6(t, server, "s0", "2001:db8::50", time.Hour)
	for _, tt := range []struct {
		name string
		set  func(*dhcptest.Server6)
		want string
	}{
		{"silent", func(s *dhcptest.Server6) { s.Silent = true }, "no DHCP server has answered"},
		{"too short", func(s *dhcptest.Server6) { s.Silent, s.Time = false, time.Second }, "offers no unicast address for 10s or more"},
		{"link-local", func(s *dhcptest.Server6) { s.Time, s.Lease = time.Hour, netip.MustParseAddr("fe80::1") }, "offers no unicast address"},
		{"multicast", func(s *dhcptest.Server6) { s.Lease = netip.MustParseAddr("ff02::1") }, "offers no unicast address"},
		{"IPv4", func(s *dhcptest.Server6) { s.Lease = netip.MustParseAddr("::ffff:192.0.2.1") }, "offers no unicast address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Set(tt.set)
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			if _, err := newClient(t, client).Acquire(ctx, IPv6); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	client.Run("sysctl -qw net.ipv6.conf.c0.disable_ipv6=1")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := newClient(t, client).Acquire(ctx, IPv6); err == nil || !strings.Contains(err.Error(), "no link-local IPv6 address") {
		t.Errorf("without IPv6: %v", err)
	}
}

// FuzzAnswer6 checks that no message makes a lease that breaks the bounds, or
// anything else.
func FuzzAnswer6(f *testing.F) {
	c := client6{Client{Name: "uid-c/dev"}}
	seed := func(typ dhcpv6.MessageType) {
		m, err := c.message(typ, netip.MustParseAddr("2001:db8::50"), []byte("\x00\x09test"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.ToBytes())
	}
	seed(dhcpv6.MessageTypeReply)
	f.Fuzz(func(t *testing.T, packet []byte) {
		guarded(func() error {
			m, err := dhcpv6.MessageFromBytes(packet)
			if err != nil {
				return err
			}
			a := answer6{m, netip.MustParseAddr("fe80::1")}
			c.refuses(a, netip.MustParseAddr("2001:db8::50"))
			l, err := c.accept(a, 0)
			if err == nil && (!l.Address.IsValid() || l.T1 < minRenew || l.Valid > maxValid || len(l.Search) > maxSearch || len(l.DNS) > maxDNS) {
				t.Errorf("accepted %+v", l)
			}
			return err
		})
	})
}
