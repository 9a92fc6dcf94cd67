package netdev

import (
	"context"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// watchIn opens a watch of a namespace.
func watchIn(ctx context.Context, t *testing.T, n *nstest.NS) <-chan struct{} {
	t.Helper()
	var changed <-chan struct{}
	n.Do(func() {
		var err error
		if changed, err = Watch(ctx); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return changed
}

// endsWithin reports whether the channel is closed in time.
func endsWithin(d time.Duration, changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	case <-time.After(d):
		return false
	}
}

// quietWatch returns a watch that nothing has reached for a while.
func quietWatch(ctx context.Context, t *testing.T, n *nstest.NS) <-chan struct{} {
	t.Helper()
	for range 100 {
		if changed := watchIn(ctx, t, n); !endsWithin(300*time.Millisecond, changed) {
			return changed
		}
	}
	t.Fatal("the namespace does not become quiet")
	return nil
}

// TestWatch checks that each kind of change ends a watch, and that a watch ends
// with its context.
func TestWatch(t *testing.T) {
	h := nstest.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, change := range []string{"ip link add x type ifb", "ip link set x up", "ip addr add 192.0.2.1/24 dev x", "ip addr add 2001:db8::1/64 dev x", "ip route add 10.0.0.0/8 via 192.0.2.2", "ip link del x"} {
		changed := quietWatch(ctx, t, h)
		h.Run(change)
		if !endsWithin(2*time.Second, changed) {
			t.Errorf("%s: the watch did not end", change)
		}
	}
	changed := quietWatch(ctx, t, h)
	cancel()
	if !endsWithin(5*time.Second, changed) {
		t.Error("the watch did not end with its context")
	}
	if !endsWithin(5*time.Second, watchIn(ctx, t, h)) {
		t.Error("a watch whose context had ended did not end")
	}
}

// TestWatchHearsNextHops checks that a watch ends when the default route changes
// to another link by its next hop object, which the kernel does not report as a
// change of the route.
func TestWatchHearsNextHops(t *testing.T) {
	h := nstest.New(t)
	h.Lines(`sysctl -qw net.ipv4.nexthop_compat_mode=0
		ip link add x type ifb
		ip link set x up
		ip link add y type ifb
		ip link set y up
		ip addr add 192.0.2.1/24 dev x
		ip addr add 198.51.100.1/24 dev y
		ip nexthop add id 1 via 192.0.2.9 dev x
		ip route add default nhid 1`)
	changed := quietWatch(t.Context(), t, h)
	h.Run("ip nexthop replace id 1 via 198.51.100.9 dev y")
	if !endsWithin(2*time.Second, changed) {
		t.Error("the watch did not end")
	}
}

// TestWatchHearsTheKernelOnly checks that multicasts of other processes do not end
// a watch.
func TestWatchHearsTheKernelOnly(t *testing.T) {
	h := nstest.New(t)
	h.Run("ip link add x type ifb")
	changed := quietWatch(t.Context(), t, h)
	h.Do(func() {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		noop := message{typ: unix.NLMSG_NOOP}.request().Serialize()
		for _, group := range []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP} {
			time.Sleep(20 * time.Millisecond) // several at once overflow the watch's buffer, which counts as a change
			if err := unix.Sendto(fd, noop, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (group - 1)}); err != nil {
				t.Errorf("send to group %d: %v", group, err)
			}
		}
	})
	if endsWithin(300*time.Millisecond, changed) {
		t.Error("another process's multicast ended the watch")
	}
	h.Run("ip link set x up")
	if !endsWithin(2*time.Second, changed) {
		t.Error("after another process's multicasts, the kernel's did not end the watch")
	}
}

// TestWatchInStorm checks that watches cost next to nothing while links change
// as fast as they can, and that the last change is seen.
func TestWatchInStorm(t *testing.T) {
	const lasts = 3 * time.Second
	h := nstest.New(t)
	h.Run("ip link add x type ifb")
	storm := exec.Command("nsenter", "--net="+h.Path, "--", "sh", "-c", `yes 'link set x mtu 1400
link set x mtu 1500' | ip -batch -`)
	storm.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := storm.Start(); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(lasts)
	used, watches := cpuTime(t), 0
	for ; time.Now().Before(end); watches++ {
		if !endsWithin(2*time.Second, watchIn(t.Context(), t, h)) {
			t.Error("a watch did not end in the storm")
		}
		time.Sleep(100 * time.Millisecond)
	}
	used = cpuTime(t) - used
	syscall.Kill(-storm.Process.Pid, syscall.SIGKILL)
	storm.Wait()
	t.Logf("%d watches in %v of storm: %v of CPU time", watches, lasts, used)
	if used > lasts/20 {
		t.Errorf("%d watches took %v of CPU time in %v", watches, used, lasts)
	}
	changed := quietWatch(t.Context(), t, h)
	h.Run("ip link set x mtu 1300")
	if !endsWithin(2*time.Second, changed) {
		t.Error("the change after the storm did not end the watch")
	}
}

// cpuTime is what this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
