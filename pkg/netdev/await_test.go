package netdev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWaitForDAD checks that IPv6 addresses have gone through duplicate address
// detection when the attach returns, also as sources of routes, and that a duplicate
// fails it by name.
func TestWaitForDAD(t *testing.T) {
	const onHost = "ip link set h0 up\nip addr add 192.0.2.7/24 dev h0\nip addr add 2001:db8::7/64 dev h0 nodad\nip -6 route add 2001:db8:1::/48 via 2001:db8::fe src 2001:db8::7 dev h0"
	for _, tt := range []struct{ name, before, onHost, config, want, failure string }{
		{name: "the host's", config: `"waitForDAD":true`, want: "inet6 2001:db8::7/64 scope global"},
		{name: "the config's", config: `"waitForDAD":true,"addresses":["2001:db8::8/64"]`, want: "inet6 2001:db8::8/64 scope global"},
		{name: "one of them", config: `"addresses":[{"address":"2001:db8::8/64","nodad":false}]`, want: "inet6 2001:db8::8/64 scope global"},
		{name: "another node has it", onHost: "\nip addr add 2001:db8::8/64 dev p0 nodad", config: `"waitForDAD":true,"addresses":["2001:db8::9/64","2001:db8::8/64"]`, failure: `interface.addresses: "2001:db8::8/64": duplicate address detection has failed: another node has it`},
		{name: "another node has it, which is not detected", onHost: "\nip addr add 2001:db8::8/64 dev p0 nodad", config: `"waitForDAD":true,"addresses":[{"address":"2001:db8::8/64","nodad":true}]`, want: "inet6 2001:db8::8/64 scope global nodad"},
		{name: "no carrier", before: "ip link set p0 down\n", config: `"waitForDAD":true,"addresses":["2001:db8::8/64"]`, failure: `interface.addresses: "2001:db8::8/64": duplicate address detection has not ended in time: the interface has no carrier`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.before+onHost+tt.onHost, "")
			p := w.plan("h0", `{"interface":{"name":"net1",`+tt.config+`}}`)
			ctx, cancel := context.WithTimeout(context.Background(), awaitReserve+5*time.Second)
			defer cancel()
			done, err := Attach(ctx, w.host, w.pod, []Plan{p})
			if tt.failure != "" {
				if err == nil || !strings.Contains(err.Error(), tt.failure) {
					t.Errorf("Attach: got error %v, want one with %s", err, tt.failure)
				}
				w.Pod.Same(w.podBefore, "the pod")
				if tt.before == "" { // without a carrier the kernel adds no multicast route again
					w.Host.Same(w.hostBefore, "the host")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := w.Pod.Run("ip -6 addr show dev net1 scope global"); !strings.Contains(got, tt.want) || strings.Contains(got, "tentative") || strings.Contains(got, "dadfailed") {
				t.Errorf("the pod lacks %q:\n%s", tt.want, got)
			}
			if tt.name == "the host's" && !strings.Contains(w.Pod.Run("ip -6 route"), "2001:db8:1::/48 via 2001:db8::fe dev net1 src 2001:db8::7") {
				t.Errorf("the pod lacks its route; omitted %q, %q", w.omitted, done[0].Omitted)
			}
			p.ID = done[0].ID
			w.attach(p) // again: it is as wanted
			w.detach(p)
			w.Pod.Same(w.podBefore, "the pod")
			w.Host.Same(w.hostBefore, "the host")
		})
	}
}

// TestSLAAC checks that the attach waits for an address from a router, that this is
// part of what is read back, and that an attach without a router fails by name.
func TestSLAAC(t *testing.T) {
	const onHost = "ip link set h0 up\nip addr add 192.0.2.7/24 dev h0\nip addr add 2001:db8::7/64 dev h0 nodad"
	for _, tt := range []struct{ name, inPod string }{
		{name: "on"}, {name: "off in the pod", inPod: "sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.autoconf=0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "ip link set h0 addrgenmode none\n"+onHost, tt.inPod)
			p := w.plan("h0", `{"interface":{"name":"net1","addressing":"SLAAC"}}`)
			if got := fmt.Sprint(w.omitted); !strings.Contains(got, "address 2001:db8::7/64: the pod gets one from a router") {
				t.Errorf("omitted: got %s", got)
			}
			stop := advertise(t, w, pfx("2001:db8:9::/64"))
			defer stop()
			done := w.attach(p)
			p.ID = done[0].ID
			if got := done[0].State.Advertised; len(got) != 1 || !pfx("2001:db8:9::/64").Contains(got[0].Addr()) {
				t.Errorf("advertised: got %v", got)
			}
			got := w.Pod.Run("ip -6 addr show dev net1 scope global") + w.Pod.Run("ip addr show dev net1") + w.Pod.Run("ip -6 route")
			for _, want := range []string{"inet6 2001:db8:9:", "192.0.2.7/24", "default via fe80::"} {
				if !strings.Contains(got, want) || strings.Contains(got, "2001:db8::7") {
					t.Errorf("the pod lacks %q, or has the host's address:\n%s", want, got)
				}
			}
			w.attach(p) // again: it is as wanted, and keeps what routers gave it
			if now := w.Pod.Run("ip -6 route"); !strings.Contains(now, "default via fe80::") {
				t.Errorf("the router's route is gone:\n%s", now)
			}
			stop()
			w.detach(p)
			w.Pod.Same(w.podBefore, "the pod")
			w.Host.Same(w.hostBefore, "the host")
		})
	}
	t.Run("no router", func(t *testing.T) {
		w := newWorld(t, onHost, "")
		p := w.plan("h0", `{"interface":{"name":"net1","addressing":"SLAAC"}}`)
		ctx, cancel := context.WithTimeout(context.Background(), awaitReserve+time.Second)
		defer cancel()
		const want = `interface.addressing: "SLAAC": no router has advertised a prefix for an address in time`
		if _, err := Attach(ctx, w.host, w.pod, []Plan{p}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Attach: got error %v, want one with %s", err, want)
		}
		w.asBefore()
	})
	t.Run("the sandbox ends", func(t *testing.T) {
		w := newWorld(t, onHost, "")
		p := w.plan("h0", `{"interface":{"name":"net1","addressing":"SLAAC"}}`)
		ended := errors.New("ended")
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(500*time.Millisecond, func() { cancel(ended) })
		if _, err := Attach(ctx, w.host, w.pod, []Plan{p}); !errors.Is(err, ended) {
			t.Errorf("Attach: got error %v", err)
		}
		w.asBefore()
	})
}

// advertise is a router at p0: it advertises a prefix four times a second, until it
// is stopped.
func advertise(t *testing.T, w *world, prefix netip.Prefix) (stop func()) {
	t.Helper()
	p0, err := w.host.conn.linkByName("p0")
	if err != nil {
		t.Fatal(err)
	}
	router, all := linkLocal(p0.MAC), netip.MustParseAddr("ff02::1")
	icmp := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0} // router lifetime 1800 s
	icmp = append(icmp, 3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x07, 0x08, 0, 0, 0, 0)
	icmp = append(icmp, prefix.Addr().AsSlice()...)
	pseudo := append(append(router.AsSlice(), all.AsSlice()...), 0, 0, 0, byte(len(icmp)), 0, 0, 0, protoICMPv6)
	sum := checksum(pseudo, icmp)
	icmp[2], icmp[3] = byte(sum>>8), byte(sum)
	ip := append([]byte{0x60, 0, 0, 0, 0, byte(len(icmp)), protoICMPv6, 255}, router.AsSlice()...)
	packet := frame([]byte{0x33, 0x33, 0, 0, 0, 1}, p0.MAC, unix.ETH_P_IPV6, append(append(ip, all.AsSlice()...), icmp...))
	sender := open(t, w.Host.Path)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			sender.transmit(p0.Index, [][]byte{packet}) // the link is down at times
			time.Sleep(250 * time.Millisecond)
		}
	}()
	return func() { cancel(); <-ended }
}
