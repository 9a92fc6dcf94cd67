package attachment

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/dhcptest"
	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// newLeaseWorld6 is newLeaseWorld with a claim that wants an IPv6 address, and an
// IPv4 address too if both is set.
func newLeaseWorld6(t *testing.T, lease time.Duration, both bool) (*leaseWorld, *dhcptest.Server6) {
	w := newLeaseWorld(t, time.Hour)
	s := dhcptest.Serve6(t, nil, "w0", "2001:db8::50", lease)
	nstest.Host(t, "ip addr add 2001:db8:7::7/64 dev d0 nodad")
	w.eventually("the kernel has made the address's routes", func() bool {
		w.before = showLink("d0")
		return strings.Contains(w.before, "2001:db8:7::7")
	})
	time.Sleep(100 * time.Millisecond)
	w.before = showLink("d0")
	r := w.record()
	yes := true
	r.Config.Interface.DHCP6 = &yes
	if !both {
		r.Config.Interface.DHCP = nil
	}
	must(t, w.store.Put(r))
	return w, s
}

// has6 reports whether the pod's link has the IPv6 address, with a limited lifetime.
func (w *leaseWorld) has6(address string) bool {
	out, err := w.pod.Try("ip -6 -oneline addr show dev net1 to " + address)
	return err == nil && strings.Contains(out, "dynamic") && !strings.Contains(out, "valid_lft forever")
}

// TestLease6 checks that a link leases an IPv6 and an IPv4 address at once, and
// releases both.
func TestLease6(t *testing.T) {
	w, s := newLeaseWorld6(t, time.Hour, true)
	s.Set(func(s *dhcptest.Server6) { s.DNS = netip.MustParseAddr("2001:db8::53") })
	must(t, w.attach())
	if out := w.pod.Run("ip addr show dev net1"); !w.has6("2001:db8::50/128") || !w.has("192.0.2.50/24") || strings.Contains(out, "2001:db8:7::7") || strings.Contains(out, "198.51.100.7") {
		t.Errorf("addresses in the pod: %s", out)
	}
	r := w.record()
	if l := r.Attachment.Leases; len(l) != 2 || l[0].Family != 4 || l[1].Family != 6 || len(l[1].DNS) != 1 || !r.Condition.Ready() {
		t.Errorf("leases %+v, condition %+v", l, r.Condition)
	}
	if omitted := strings.Join(r.Attachment.Omitted, "\n"); !strings.Contains(omitted, "address 2001:db8:7::7/64: the pod leases one (interface.dhcp6)") {
		t.Errorf("omitted: %s", omitted)
	}
	w.engine.Observe(t.Context())
	must(t, w.engine.Reconcile(t.Context()))
	if !w.record().Condition.Ready() || !w.has6("2001:db8::50/128") {
		t.Errorf("after Observe and Reconcile: %+v", w.record().Condition)
	}
	w.engine.Detach(t.Context(), leaseSandbox)
	w.within(soon, "the servers have heard of the release", func() bool {
		return slices.Contains(s.Heard(), "RELEASE 2001:db8::50") && slices.Contains(w.server.Heard(), "RELEASE 192.0.2.50")
	})
}

// TestLease6Kept checks that a lease is renewed, ends when nobody does so, and is
// got again, by another engine too.
func TestLease6Kept(t *testing.T) {
	w, s := newLeaseWorld6(t, 10*time.Second, false)
	must(t, w.attach())
	first := w.record().Attachment.Leases[0]
	s.Heard()
	stop := w.keeping(w.engine)
	w.within(8*time.Second, "the lease is renewed", func() bool { return w.record().Attachment.Leases[0].Since > first.Since })
	if heard := s.Heard(); len(heard) != 1 || heard[0] != "RENEW 2001:db8::50" {
		t.Errorf("the server heard %q, want one renewal", heard)
	}
	stop()
	w.engine.Close(t.Context())
	w.engine = w.newEngine(30 * time.Second)
	defer w.keeping(w.engine)()
	s.Set(func(s *dhcptest.Server6) { s.Silent = true })
	w.within(20*time.Second, "the lease is lost", func() bool { return w.record().Condition.Reason == "LeaseLost" })
	if w.has6("2001:db8::50/128") || !strings.Contains(w.record().Condition.Message, "interface.dhcp6") {
		t.Errorf("condition %+v\n%s", w.record().Condition, w.pod.Run("ip addr show dev net1"))
	}
	if heard := strings.Join(s.Heard(), " "); !strings.Contains(heard, "RENEW") || !strings.Contains(heard, "REBIND") || !strings.Contains(heard, "SOLICIT") {
		t.Errorf("the server heard %s", heard)
	}
	s.Set(func(s *dhcptest.Server6) { s.Silent = false })
	w.within(20*time.Second, "there is a lease again", func() bool { return w.record().Condition.Ready() && w.has6("2001:db8::50/128") })
	s.Set(func(s *dhcptest.Server6) { s.Deny, s.Lease = true, netip.MustParseAddr("2001:db8::77") })
	w.within(10*time.Second, "the link has the other address", func() bool { return w.has6("2001:db8::77/128") && !w.has6("2001:db8::50/128") })
}

// TestNoLease6 checks that one lease without the other does not start the pod, and
// that the one that came is released.
func TestNoLease6(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*dhcptest.Server6)
		want string
	}{
		{"silent", func(s *dhcptest.Server6) { s.Silent = true }, `device d0: interface.dhcp6: "true": no DHCP server has answered`},
		{"the pod network's", func(s *dhcptest.Server6) { s.Lease = netip.MustParseAddr("2001:db8:5::9") }, "which is in the network 2001:db8:5::/64 of another interface of the pod"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, s := newLeaseWorld6(t, time.Hour, true)
			w.pod.Run("ip addr add 2001:db8:5::5/64 dev eth0 nodad")
			w.podBefore = w.pod.Settled()
			s.Set(tt.set)
			w.engine = w.newEngine(5 * time.Second)
			if err := w.attach(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			w.eventually("the IPv4 lease is released", func() bool { return slices.Contains(w.server.Heard(), "RELEASE 192.0.2.50") })
			w.same(w.before, func() string { return showLink("d0") }, "the host")
			w.same(w.podBefore, w.pod.Snapshot, "the pod")
		})
	}
}
