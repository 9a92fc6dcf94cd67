package netdev

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

func TestLinks(t *testing.T) {
	h := nstest.New(t)
	h.Lines(`ip link set lo up
		ip link add h0 mtu 9000 address 02:00:00:00:00:10 type veth peer name p0
		ip link set p0 up
		ip link set h0 up alias storage
		ip link property add dev h0 altname enp1
		ip addr add 192.0.2.1/24 dev h0
		ip addr add 198.51.100.7/24 valid_lft 1000 preferred_lft 1000 dev h0
		ip addr add 169.254.7.7/16 scope link dev h0
		ip addr add 2001:db8::1/64 dev h0 nodad
		ip route add default via 192.0.2.254
		ip route add default via 192.0.2.253 dev p0 onlink table 100
		ip link add br0 type bridge
		ip link set p0 master br0
		ip link add m0 link h0 type macvlan`)
	var links []Link
	h.Do(func() {
		var err error
		if links, err = Links(context.Background()); err != nil {
			t.Error(err)
		}
	})
	by := map[string]Link{}
	for _, l := range links {
		by[l.Name] = l
	}
	h0 := by["h0"]
	got := fmt.Sprintf("%s %s %d %v %s %s up=%t carrier=%t route=%t %v", h0.Kind, h0.MAC, h0.MTU, h0.AltNames, h0.Alias, h0.Encapsulation, h0.Up, h0.Carrier, h0.HasRoute, h0.Addresses)
	want := "veth 02:00:00:00:00:10 9000 [enp1] storage ether up=true carrier=true route=true [192.0.2.1/24 2001:db8::1/64 198.51.100.7/24]"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("h0 (-want +got):\n%s", d)
	}
	if p0 := by["p0"]; p0.Master != by["br0"].Index || p0.MasterKind != "bridge" || p0.HasRoute || p0.Lower != h0.Index || p0.LowerNetNSID != -1 {
		t.Errorf("p0: got %+v", p0)
	}
	if !by["br0"].Immutable || !by["lo"].Immutable || h0.Immutable {
		t.Errorf("immutable: br0 %t, lo %t, h0 %t; want true, true, false", by["br0"].Immutable, by["lo"].Immutable, h0.Immutable)
	}
	// As on kernels 6.12 to 6.14, which do not report it.
	mute := slices.Clone(links)
	for i := range mute {
		mute[i].Immutable = false
	}
	open(t, h.Path).conn.markImmutable(mute)
	for i, l := range mute {
		if l.Immutable != links[i].Immutable {
			t.Errorf("%s by its kind: immutable %t, want %t", l.Name, l.Immutable, links[i].Immutable)
		}
	}
	if m0 := by["m0"]; m0.Kind != "macvlan" || m0.Lower != h0.Index {
		t.Errorf("m0: got %+v", m0)
	}
}

// TestManyAddresses checks that no acknowledgement is lost however many requests
// are sent at once.
func TestManyAddresses(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	for i := range 1000 {
		p.Want.Addresses = append(p.Want.Addresses, Address{Prefix: prefix4(i)})
	}
	a := w.attach(p)[0]
	if len(a.State.Addresses) != 1000 {
		t.Errorf("got %d addresses in the pod, want 1000", len(a.State.Addresses))
	}
	p.ID = a.ID
	w.detach(p)
	w.Host.Same(w.hostBefore, "the host")
}

// TestDynamicStaysOut checks that leased addresses and what depends on them are
// neither moved nor restored, as they are renewed by their owner, and that nothing
// waits for them.
func TestDynamicStaysOut(t *testing.T) {
	w := newWorld(t, `ip link set h0 up
		ip addr add 192.0.2.1/24 dev h0
		ip addr add fe80::42/64 dev h0 nodad
		ip addr add 198.51.100.7/24 valid_lft 1000 preferred_lft 1000 dev h0
		ip route add 10.1.0.0/16 via 198.51.100.254 src 198.51.100.7 proto dhcp
		ip route add 10.2.0.0/16 via 192.0.2.254`, "ip link set lo down")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	got := w.Pod.Snapshot()
	for _, not := range []string{"198.51.100", "10.1.0.0"} {
		if strings.Contains(got, not) {
			t.Errorf("the pod has %s", not)
		}
	}
	if !strings.Contains(got, "lo: <LOOPBACK,UP") || !strings.Contains(got, "10.2.0.0/16") || !strings.Contains(got, "fe80::42/64") {
		t.Errorf("the pod's lo is down, or a route or an address is missing:\n%s", got)
	}
	if result := w.detach(p)[0]; len(result.Unset) > 0 {
		t.Errorf("Detach: got %+v", result)
	}
	got = w.Host.Snapshot()
	for _, want := range []string{"192.0.2.1/24", "fe80::42/64", "10.2.0.0/16"} {
		if !strings.Contains(got, want) {
			t.Errorf("the host lacks %s:\n%s", want, got)
		}
	}
}

func prefix4(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 16)
}

// TestFeatureBit checks that a feature is found by its name, and whether it is
// on, as ethtool(8) shows it.
func TestFeatureBit(t *testing.T) {
	h := nstest.New(t)
	h.Lines("ip link add h0 type veth peer name p0\nethtool -K h0 tso off gro on")
	c := open(t, h.Path).conn
	for name, want := range map[string]bool{"rx-gro": true, "tx-tcp-segmentation": false} {
		names, _ := c.featureNames("lo")
		bit := slices.Index(names, name)
		value, err := readFeatures(c, Link{Name: "h0"})
		if bit < 0 || err != nil || featureWord(value, featureActive, bit) != want {
			t.Errorf("%s: bit %d, %v, want %t", name, bit, err, want)
		}
	}
	if featureWord(nil, featureActive, 3) {
		t.Error("a feature is on in no answer")
	}
}

// TestNoThreadStaysAway checks that no thread of the process is left in a
// namespace that was visited: it would keep that namespace alive.
func TestNoThreadStaysAway(t *testing.T) {
	h := nstest.New(t)
	n := open(t, h.Path)
	var first atomic.Int32
	var all sync.WaitGroup
	for range 200 {
		for range 8 {
			all.Go(func() {
				if err := n.Within(func() {
					if unix.Gettid() == os.Getpid() {
						first.Add(1)
					}
				}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	t.Logf("the process's first thread was there %d times", first.Load())
	there, err := os.Stat(h.Path)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // this thread, whichever it is
	defer runtime.UnlockOSThread()
	visited := false
	if err := visit(n.handle, func() { visited = true }); err != nil || !visited {
		t.Fatalf("visit: %t, %v", visited, err)
	}
	if at, err := os.Stat("/proc/thread-self/ns/net"); err != nil || os.SameFile(at, there) {
		t.Errorf("this thread has not come back: %v", err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("threads: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		if at, err := os.Stat(task); err == nil && os.SameFile(at, there) {
			t.Errorf("%s is still there", task)
		}
	}
}
