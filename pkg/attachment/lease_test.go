package attachment

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dra-netdev/dra-netdev/internal/dhcptest"
	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// leaseWorld is a host with a NIC d0, on whose wire a DHCP server is, prepared for
// a claim that wants a lease, and a pod with a network of its own.
type leaseWorld struct {
	*chaosWorld
	pod               *nstest.NS
	server            *dhcptest.Server4
	store             *allocation.Store
	engine            *Engine
	before, podBefore string
}

var leaseSandbox = allocation.Sandbox{ID: "s1", PodUID: "uid-web"}

func newLeaseWorld(t *testing.T, lease time.Duration) *leaseWorld {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: moves links between network namespaces")
	}
	w := &leaseWorld{chaosWorld: &chaosWorld{t: t, dir: t.TempDir()}, pod: nstest.New(t)}
	nstest.Host(t, "ip link add d0 type veth peer name w0\nip link set w0 up\nip addr add 192.0.2.1/24 dev w0\nip link set d0 up\nip addr add 198.51.100.7/24 dev d0\nip route add 10.77.0.0/16 via 198.51.100.1")
	t.Cleanup(func() { nstest.Host(t, "ip link del d0") })
	w.pod.Lines("ip link set lo up\nip link add eth0 type ifb\nip link set eth0 addrgenmode none\nip link set eth0 up\nip addr add 10.244.0.5/24 dev eth0\nip route add default via 10.244.0.1")
	w.server = dhcptest.Serve4(t, nil, "w0", "192.0.2.1", "192.0.2.50/24", lease)
	w.before, w.podBefore = showLink("d0"), w.pod.Snapshot()
	var err error
	w.store, _, err = allocation.Open(t.Context(), filepath.Join(w.dir, "allocations"), "boot")
	must(t, err)
	host, err := netdev.Open("")
	must(t, err)
	defer host.Close()
	link, err := host.LinkByName("d0")
	must(t, err)
	r := allocation.Record{
		Claim: allocation.Ref{Name: "c", UID: "uid-c"}, Pods: []allocation.Ref{{Name: "web", UID: "uid-web"}}, Pool: "n1",
		Device: inventory.Device{Name: "d0", Link: link},
	}
	yes := true
	r.Config.Interface.Name, r.Config.Interface.DHCP = "net1", &yes
	must(t, w.store.Put(r))
	w.engine = w.newEngine(30 * time.Second)
	t.Cleanup(w.over)
	return w
}

func (w *leaseWorld) newEngine(timeout time.Duration) *Engine {
	return New(Config{
		Store: w.store, StateDir: w.dir, Sys: os.DirFS("/sys").(fs.ReadLinkFS), AttachTimeout: timeout,
		Options: func() inventory.Options { return inventory.Options{} }, Changed: func(Change) {},
	})
}

// attach attaches the link and waits until it is in the pod, or is not.
func (w *leaseWorld) attach() error {
	w.t.Helper()
	s := leaseSandbox
	s.NetNS = w.pod.Path
	must(w.t, w.engine.Attach(w.t.Context(), s))
	return w.engine.Await(w.t.Context(), s)
}

// over ends the sandbox and the claim, and fails the test unless all is as before.
func (w *leaseWorld) over() {
	ctx := context.Background()
	w.engine.Detach(ctx, leaseSandbox)
	w.eventually("the link is restored", func() bool { return len(w.store.InSandbox("s1")) == 0 })
	must(w.t, w.engine.Release(ctx, "uid-c"))
	w.engine.Close(ctx)
	w.same(w.before, func() string { return showLink("d0") }, "the host")
	w.same(w.podBefore, w.pod.Snapshot, "the pod")
	for _, dir := range []string{"netns", "allocations", "locks"} {
		if left, _ := os.ReadDir(filepath.Join(w.dir, dir)); len(left) > 0 {
			w.t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// keeping has an engine extend leases until stop is called.
func (w *leaseWorld) keeping(e *Engine) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.KeepLeases(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (w *leaseWorld) record() allocation.Record {
	w.t.Helper()
	all := w.store.All()
	if len(all) != 1 {
		w.t.Fatalf("%d records", len(all))
	}
	return all[0]
}

// has reports whether the pod's link has the address, with a limited lifetime.
func (w *leaseWorld) has(address string) bool {
	out, err := w.pod.Try("ip -4 -oneline addr show dev net1")
	if err != nil {
		return false
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, " "+address+" ") {
			return strings.Contains(line, "dynamic") && !strings.Contains(line, "valid_lft forever")
		}
	}
	return false
}

func (w *leaseWorld) within(limit time.Duration, what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	w.t.Fatalf("not within %v: %s; condition %+v, leases %+v", limit, what, w.record().Condition, w.record().Attachment)
}

// TestLease checks what a link has of its lease: address, routes and MTU, nothing
// of which comes back to the host, and that the lease is released at the end.
func TestLease(t *testing.T) {
	w := newLeaseWorld(t, time.Hour)
	w.server.Set(func(s *dhcptest.Server4) {
		s.Options = []dhcptest.Option{
			dhcptest.MTU(1400), dhcptest.DNS("192.0.2.53"),
			dhcptest.Routes("203.0.113.0/24 192.0.2.254", "0.0.0.0/0 192.0.2.254", "10.244.0.0/28 192.0.2.254", "10.9.0.0/16 198.18.0.1"),
		}
	})
	r := w.record()
	r.Config.Routes = []nic.Route{{Destination: netip.MustParsePrefix("198.18.0.0/16"), Gateway: netip.MustParseAddr("192.0.2.253"), OnLink: true}}
	must(t, w.store.Put(r))
	must(t, w.attach())
	if !w.has("192.0.2.50/24") {
		t.Errorf("the address is not there: %s", w.pod.Run("ip addr show dev net1"))
	}
	if out := w.pod.Run("ip -4 route show dev net1"); !strings.Contains(out, "203.0.113.0/24 via 192.0.2.254 proto dhcp src 192.0.2.50") ||
		!strings.Contains(out, "198.18.0.0/16 via 192.0.2.253 proto static onlink") || strings.Count(out, "\n") != 3 {
		t.Errorf("routes of the link: %s", out)
	}
	if out := w.pod.Run("ip -4 route show default"); !strings.Contains(out, "via 10.244.0.1 dev eth0") || strings.Count(out, "\n") != 1 {
		t.Errorf("default routes of the pod: %s", out)
	}
	if out := w.pod.Run("ip link show dev net1"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("the link: %s", out)
	}
	if out := w.pod.Run("ip -4 addr show dev net1"); strings.Contains(out, "198.51.100.7") {
		t.Errorf("the host's address is there: %s", out)
	}
	l := w.record().Attachment.Leases
	if len(l) != 1 || len(l[0].DNS) != 1 || len(l[0].Ignored) != 3 || !w.record().Condition.Ready() {
		t.Errorf("leases %+v, condition %+v", l, w.record().Condition)
	}
	if omitted := strings.Join(w.record().Attachment.Omitted, "\n"); !strings.Contains(omitted, "address 198.51.100.7/24: the pod leases one") {
		t.Errorf("omitted: %s", omitted)
	}
	for range 2 { // a look at the link, and what is unfinished, finds nothing to do
		w.engine.Observe(t.Context())
		must(t, w.engine.Reconcile(t.Context()))
	}
	if !w.record().Condition.Ready() || !w.has("192.0.2.50/24") {
		t.Errorf("after Observe and Reconcile: %+v", w.record().Condition)
	}
	w.server.Heard()
	w.engine.Detach(t.Context(), leaseSandbox)
	w.within(soon, "the server has heard of the release", func() bool { return slices.Contains(w.server.Heard(), "RELEASE 192.0.2.50") })
}

// TestDefaultRoute checks that a pod without a default route gets the server's.
func TestDefaultRoute(t *testing.T) {
	w := newLeaseWorld(t, time.Hour)
	w.pod.Run("ip route del default")
	w.podBefore = w.pod.Snapshot()
	w.server.Set(func(s *dhcptest.Server4) { s.Options = []dhcptest.Option{dhcptest.Router("192.0.2.254")} })
	must(t, w.attach())
	if out := w.pod.Run("ip -4 route show default"); !strings.Contains(out, "via 192.0.2.254 dev net1 proto dhcp src 192.0.2.50") {
		t.Errorf("default routes of the pod: %s", out)
	}
}

// TestLeaseKept checks that a lease is renewed, by which engine ever, and one
// alone where there are two.
func TestLeaseKept(t *testing.T) {
	w := newLeaseWorld(t, 10*time.Second)
	must(t, w.attach())
	first := w.record().Attachment.Leases[0]
	w.server.Heard()
	other := w.newEngine(30 * time.Second)
	stop, stopOther := w.keeping(w.engine), w.keeping(other)
	renewed := func() bool { return w.record().Attachment.Leases[0].Since > first.Since }
	w.within(8*time.Second, "the lease is renewed", renewed)
	if heard := w.server.Heard(); len(heard) != 1 || heard[0] != "REQUEST 192.0.2.50" {
		t.Errorf("the server heard %q, want one request", heard)
	}
	stop()
	w.engine.Close(t.Context())
	first = w.record().Attachment.Leases[0]
	w.within(8*time.Second, "the other engine renews the lease", renewed)
	stopOther()
	other.Close(t.Context())
	w.engine = w.newEngine(30 * time.Second) // as after a restart
	stop = w.keeping(w.engine)
	first = w.record().Attachment.Leases[0]
	w.within(8*time.Second, "the next engine renews the lease", renewed)
	stop()
	if !w.has("192.0.2.50/24") || !w.record().Condition.Ready() {
		t.Errorf("condition %+v\n%s", w.record().Condition, w.pod.Run("ip addr show dev net1"))
	}
}

// TestLeaseLost checks that a lease that nobody extends ends, in the kernel and in
// the record, and that the link gets the next one.
func TestLeaseLost(t *testing.T) {
	w := newLeaseWorld(t, 10*time.Second)
	must(t, w.attach())
	defer w.keeping(w.engine)()
	w.server.Set(func(s *dhcptest.Server4) { s.Silent = true })
	w.within(20*time.Second, "the lease is lost", func() bool { return w.record().Condition.Reason == "LeaseLost" })
	if w.has("192.0.2.50/24") {
		t.Error("the address is still there")
	}
	if c := w.record().Condition; c.Ready() || !strings.Contains(c.Message, "interface.dhcp: no server has extended its lease") {
		t.Errorf("condition %+v", c)
	}
	heard := w.server.Heard()
	if n := len(slices.DeleteFunc(slices.Clone(heard), func(h string) bool { return h != "REQUEST 192.0.2.50" })); n < 3 {
		t.Errorf("the server heard %q, want more tries", heard)
	}
	w.engine.Observe(t.Context())
	if w.record().Condition.Reason != "LeaseLost" {
		t.Errorf("after Observe: %+v", w.record().Condition)
	}
	w.server.Set(func(s *dhcptest.Server4) { s.Silent = false })
	w.within(20*time.Second, "there is a lease again", func() bool { return w.record().Condition.Ready() && w.has("192.0.2.50/24") })
}

// TestLeaseRefused checks that the address goes at once when the server says so,
// and that the link gets another one.
func TestLeaseRefused(t *testing.T) {
	w := newLeaseWorld(t, 10*time.Second)
	must(t, w.attach())
	defer w.keeping(w.engine)()
	w.server.Set(func(s *dhcptest.Server4) { s.Move(netip.MustParsePrefix("192.0.2.90/24")) })
	w.within(10*time.Second, "the link has the other address", func() bool { return w.has("192.0.2.90/24") && !w.has("192.0.2.50/24") })
	if !w.record().Condition.Ready() {
		t.Errorf("condition %+v", w.record().Condition)
	}
}

// TestNoLease checks that a pod whose lease does not come does not start, says
// why, and that all is restored.
func TestNoLease(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*dhcptest.Server4)
		want string
	}{
		{"silent", func(s *dhcptest.Server4) { s.Silent = true }, `interface.dhcp: "true": no DHCP server has answered`},
		{"refuses", func(s *dhcptest.Server4) { s.NAK = true }, `interface.dhcp: "true": server 192.0.2.1: the server does not extend the lease`},
		{"the pod network's", func(s *dhcptest.Server4) { s.Lease = netip.MustParsePrefix("10.244.0.50/16") },
			`interface.dhcp: "true": server 192.0.2.1 leases 10.244.0.50/16, which is in the network 10.244.0.0/24 of another interface of the pod`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newLeaseWorld(t, time.Hour)
			w.server.Set(tt.set)
			w.engine = w.newEngine(5 * time.Second)
			err := w.attach()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			r := w.record()
			if r.Attachment != nil || r.Condition.Reason != "AttachFailed" || !strings.Contains(r.Condition.Message, tt.want) {
				t.Errorf("attachment %+v, condition %+v", r.Attachment, r.Condition)
			}
			if tt.name == "the pod network's" && !slices.Contains(w.server.Heard(), "RELEASE 10.244.0.50") {
				t.Error("the lease was not released")
			}
			w.same(w.before, func() string { return showLink("d0") }, "the host")
			w.same(w.podBefore, w.pod.Snapshot, "the pod")
		})
	}
}

// TestLeaseResumed checks that an attach that was cut off while it asked for the
// lease is finished by the next engine.
func TestLeaseResumed(t *testing.T) {
	w := newLeaseWorld(t, time.Hour)
	host, err := netdev.Open("")
	must(t, err)
	defer host.Close()
	pod, err := netdev.Open(w.pod.Path)
	must(t, err)
	defer pod.Close()
	must(t, pod.Pin(w.engine.pin(leaseSandbox.ID)))
	s := leaseSandbox
	s.NetNS, s.Cookie = w.pod.Path, pod.Cookie()
	r := w.record()
	original, l, err := netdev.Read(t.Context(), host, r.ID())
	must(t, err)
	want, omitted, err := netdev.Desired(l, original, r.Config)
	must(t, err)
	must(t, w.store.Put(r.Begin(s, r.ID(), original, omitted, time.Now().Add(20*time.Second), time.Now())))
	done, err := netdev.Attach(t.Context(), host, pod, []netdev.Plan{{ID: r.ID(), Original: original, Want: want}})
	must(t, err)
	now := nic.Dynamic{
		Address: netip.MustParsePrefix("192.0.2.50/24"), Preferred: time.Hour, Valid: time.Hour, MTU: 1400,
		Routes: []nic.Route{{Destination: netip.MustParsePrefix("203.0.113.0/24"), Gateway: netip.MustParseAddr("192.0.2.9")}},
	}
	must(t, pod.SetDynamic(done[0].ID.PodIndex, nic.Dynamic{}, now)) // it was set, and not yet recorded
	must(t, w.engine.Reconcile(t.Context()))
	w.within(soon, "the link is attached", func() bool { return w.record().AttachedTo("s1") })
	if !w.has("192.0.2.50/24") || len(w.record().Attachment.Leases) != 1 {
		t.Errorf("record %+v\n%s", w.record().Attachment, w.pod.Run("ip addr show dev net1"))
	}
}
