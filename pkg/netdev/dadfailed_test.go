package netdev

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// TestDuplicateAddress checks that an address which another node has is used
// neither in the pod, where it is reported as omitted, nor on the host until the
// other node no longer has it.
func TestDuplicateAddress(t *testing.T) {
	other := nstest.New(t)
	w := newWorld(t, "sysctl -qw net.ipv6.conf.all.accept_dad=1 net.ipv6.conf.default.accept_dad=1 net.ipv6.conf.h0.accept_dad=1\nip link set p0 netns "+other.Path+"\nip link set h0 up", "")
	other.Lines("ip link set p0 up\nip addr add 2001:db8::1/64 dev p0 nodad\nip addr add fe80::1/64 dev p0 nodad")
	w.Host.Lines("ip addr add 2001:db8::1/64 dev h0\nip addr add 2001:db8::2/64 dev h0\nip addr add fe80::1/64 dev h0")
	failed := func() bool {
		return strings.Count(w.Host.Run("ip -6 addr show dev h0"), "dadfailed") == 2
	}
	soon(t, failed, "duplicate address detection to fail on the host")
	soon(t, func() bool { return strings.Count(w.Host.Run("ip -6 route show table local dev h0"), "local ") == 2 }, "the other addresses to be usable")
	w.hostBefore = w.Host.Settled()

	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	for _, want := range []string{"address 2001:db8::1/64: duplicate", "address fe80::1/64: duplicate"} {
		if !slices.ContainsFunc(w.omitted, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("omitted: %q, want %q", w.omitted, want)
		}
	}
	p.ID = w.attach(p)[0].ID
	if got := w.Pod.Run("ip -6 addr show dev net1"); strings.Contains(got, "::1/64") || !strings.Contains(got, "2001:db8::2/64 scope global nodad") {
		t.Errorf("the pod has\n%s", got)
	}
	w.detach(p)
	live := func() bool { // by what the kernel answers to
		return strings.Contains(w.Host.Run("ip -6 route show table local dev h0"), "2001:db8::1 ")
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if got := w.Host.Run("ip -6 addr show dev h0"); live() || strings.Contains(got, "::1/64 scope global nodad") {
			t.Fatalf("the duplicate is live on the host:\n%s", got)
		}
	}
	soon(t, failed, "duplicate address detection to fail again")
	w.asBefore()

	p.ID = p.ID.OnHost()
	p.ID = w.attach(p)[0].ID
	other.Run("ip addr flush dev p0")
	w.detach(p)
	soon(t, live, "the address to be the host's, which has it alone now")
}

// soon fails the test unless the condition is met soon.
func soon(t *testing.T, met func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !met(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
