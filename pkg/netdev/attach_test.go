package netdev

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// atOnce is how many tests run in parallel: most of the time they wait for the
// kernel and use no CPU.
const atOnce = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	set := false // -fuzz takes it for its number of workers
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" || f.Name == "test.fuzz" })
	if !set {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// world is a host and a pod, each in a namespace of its own, opened by us.
type world struct {
	t          *testing.T
	Host, Pod  *nstest.NS
	host, pod  *NetNS
	hostBefore string
	podBefore  string
	omitted    []string // what Desired omitted of the last plan
	rdma       string   // the RDMA device of the links, for their plans
}

// newWorld makes a host with the veth h0, whose peer p0 stays on the host, and
// runs the commands there.
func newWorld(t *testing.T, onHost, inPod string) *world {
	t.Helper()
	t.Parallel()
	return makeWorld(t, onHost, inPod)
}

func makeWorld(t *testing.T, onHost, inPod string) *world {
	t.Helper()
	w := &world{t: t, Host: nstest.New(t), Pod: nstest.New(t)}
	w.Host.Lines("ip link set lo up\n ip link add h0 type veth peer name p0\n ip link set p0 up\n" + onHost)
	w.Pod.Lines("ip link set lo up\n" + inPod)
	w.host, w.pod = open(t, w.Host.Path), open(t, w.Pod.Path)
	var both sync.WaitGroup
	both.Go(func() { w.hostBefore = w.Host.Settled() })
	both.Go(func() { w.podBefore = w.Pod.Settled() })
	both.Wait()
	return w
}

func open(t *testing.T, path string) *NetNS {
	t.Helper()
	n, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// plan reads the link as the driver does and applies the config to its state.
func (w *world) plan(name, config string) Plan {
	w.t.Helper()
	l, err := w.host.conn.linkByName(name)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := v1alpha1.Decode(v1alpha1.Parameters{Class: "c", Raw: []byte(config)})
	if err != nil {
		w.t.Fatal(err)
	}
	p := Plan{ID: Identify(l, "nd-test-"+name[1:])}
	p.ID.RDMA = w.rdma
	if p.Original, l, err = Read(context.Background(), w.host, p.ID); err != nil {
		w.t.Fatal(err)
	}
	if p.Want, w.omitted, err = Desired(l, p.Original, c); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) attach(plans ...Plan) []Attached {
	w.t.Helper()
	done, err := Attach(context.Background(), w.host, w.pod, plans)
	if err != nil {
		w.t.Fatalf("Attach: %v", err)
	}
	return done
}

func (w *world) detach(plans ...Plan) []Result {
	w.t.Helper()
	results, err := Detach(context.Background(), w.host, w.pod, plans)
	if err != nil {
		w.t.Errorf("Detach: %v", err)
	}
	return results
}

// asBefore fails the test unless both namespaces are as they were.
func (w *world) asBefore() {
	w.t.Helper()
	w.Host.Same(w.hostBefore, "the host")
	w.Pod.Same(w.podBefore, "the pod")
}

// rich sets on h0 everything that a move can lose.
const rich = `
	ip link set h0 mtu 9000 alias storage txqueuelen 500 group 7
	ip link set h0 address 02:00:00:00:00:10
	ip link property add dev h0 altname enp3s0f0
	ip link set h0 promisc on allmulticast on
	ip link set h0 up
	ip addr add 192.0.2.1/24 broadcast 192.0.2.255 label h0:1 metric 50 dev h0
	ip addr add 192.0.2.2/24 dev h0
	ip addr add 198.51.100.1 peer 198.51.100.2/32 dev h0
	ip addr add 203.0.113.9/32 dev h0 noprefixroute
	ip addr add 169.254.1.1/16 scope link dev h0
	ip addr add 2001:db8::1/64 dev h0 nodad
	ip addr add 2001:db8::2/64 dev h0 nodad preferred_lft 0
	ip addr add 2001:db8:1::1/64 dev h0 nodad noprefixroute
	ip addr add 2001:db8:2::1 peer 2001:db8:2::2/128 dev h0 nodad
	ip route add 10.1.0.0/16 via 192.0.2.254 src 192.0.2.2 metric 30 mtu 1400 dev h0
	ip route add 10.2.0.0/16 via 100.64.0.1 dev h0 onlink proto bird
	ip route add 10.3.0.0/16 dev h0 scope link table 100
	ip route add default via 192.0.2.254 dev h0 table 100
	ip route add 10.4.0.0/16 nexthop via 192.0.2.253 dev h0 weight 3 nexthop via 192.0.2.252 dev h0
	ip -6 route add 2001:db8:9::/48 via 2001:db8::ff dev h0 metric 77
	ip -6 route add 2001:db8:a::/48 via fe80::1 dev h0 table 200
	ip neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 dev h0 nud permanent
	ip neigh add 2001:db8::77 lladdr 02:00:00:00:00:77 dev h0 nud permanent
	ip rule add iif h0 table 100
	ip -6 rule add oif h0 table 200`

// TestRoundTrip checks that all properties of a link that the pod can have are
// set in the pod, and restored afterwards.
func TestRoundTrip(t *testing.T) {
	w := newWorld(t, rich, "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	a := w.attach(p)[0]
	if len(a.Omitted) > 0 {
		t.Errorf("omitted: %q", a.Omitted)
	}
	got := w.Pod.Snapshot()
	for _, want := range []string{
		"net1@", "mtu 9000", "qlen 500", "group 7", "link/ether 02:00:00:00:00:10", "PROMISC", "ALLMULTI", "alias storage", "altname enp3s0f0",
		"inet 192.0.2.1/24 metric 50 brd 192.0.2.255 scope global net1:1", "inet 192.0.2.2/24 scope global secondary net1",
		"inet 169.254.1.1/16 scope link net1",
		"inet 198.51.100.1 peer 198.51.100.2/32 scope global net1", "inet 203.0.113.9/32 scope global noprefixroute net1",
		"inet6 2001:db8::1/64 scope global nodad", "inet6 2001:db8::2/64 scope global nodad deprecated",
		"10.1.0.0/16 via 192.0.2.254 dev net1 src 192.0.2.2 metric 30 mtu 1400", "10.2.0.0/16 via 100.64.0.1 dev net1 proto bird onlink",
		"10.3.0.0/16 dev net1 table 100 scope link", "default via 192.0.2.254 dev net1 table 100",
		"nexthop via 192.0.2.253 dev net1 weight 3", "2001:db8:9::/48 via 2001:db8::ff dev net1 metric 77", "2001:db8:a::/48 via fe80::1 dev net1 table 200",
		"192.0.2.77 dev net1 lladdr 02:00:00:00:00:77 PERMANENT",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the pod lacks %q", want)
		}
	}
	if strings.Contains(got, "h0") {
		t.Errorf("the pod has the host's name of the link")
	}
	if t.Failed() {
		t.Log(got)
	}
	w.detach(p)
	w.Host.Same(w.hostBefore, "the host")
	w.detach(p) // again: harmless
	w.Host.Same(w.hostBefore, "the host after a second detach")
}

// TestSourceAddressOrder checks that the pod sends from the same source address
// as the host did, which depends on the order of addresses.
func TestSourceAddressOrder(t *testing.T) {
	w := newWorld(t, rich, "")
	source := func(n *nstest.NS, to string) string {
		_, after, _ := strings.Cut(n.Run("ip route get "+to), " src ")
		from, _, _ := strings.Cut(after, " ")
		return from
	}
	to := []string{"192.0.2.50", "2001:db8::50"}
	before := []string{source(w.Host, to[0]), source(w.Host, to[1])}
	w.attach(w.plan("h0", `{"interface":{"name":"net1"}}`))
	if now := []string{source(w.Pod, to[0]), source(w.Pod, to[1])}; !slices.Equal(before, now) || before[0] == "" {
		t.Errorf("source addresses: on the host %v, in the pod %v", before, now)
	}
}

// TestConfig checks that the config's values replace the host's, and that a
// route which is not routable with the new addresses is reported, and restored
// at the end.
func TestConfig(t *testing.T) {
	w := newWorld(t, rich, "")
	p := w.plan("h0", `{"interface":{"name":"net1","mtu":1400,"hardwareAddr":"02:00:00:00:00:99","addresses":["10.9.0.1/24","2001:db8:99::1/64"]},
		"routes":[{"destination":"10.8.0.0/16","gateway":"10.9.0.254","source":"10.9.0.1"},{"destination":"10.7.0.0/16","table":77},{"destination":"2001:db8:77::/48","gateway":"2001:db8:99::fe"}],
		"neighbors":[{"destination":"10.9.0.254","hardwareAddr":"02:00:00:00:00:fe"}]}`)
	_, left, err := Desired(Link{}, p.Original, nic.Config{Interface: nic.Interface{Addresses: []nic.Address{{Prefix: pfx("10.9.0.1/24")}, {Prefix: pfx("2001:db8:99::1/64")}}}})
	if err != nil || !slices.Contains(left, "route 10.1.0.0/16 via 192.0.2.254 src 192.0.2.2") {
		t.Errorf("omitted: %q, %v", left, err)
	}
	w.attach(p)
	got := w.Pod.Snapshot()
	for _, want := range []string{
		"mtu 1400", "02:00:00:00:00:99", "inet 10.9.0.1/24 brd 10.9.0.255 scope global net1", "inet6 2001:db8:99::1/64 scope global nodad",
		"10.8.0.0/16 via 10.9.0.254 dev net1 proto static src 10.9.0.1", "10.7.0.0/16 dev net1 table 77 proto static scope link",
		"2001:db8:77::/48 via 2001:db8:99::fe dev net1 proto static", "10.9.0.254 dev net1 lladdr 02:00:00:00:00:fe PERMANENT",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the pod lacks %q", want)
		}
	}
	if strings.Contains(got, "192.0.2.1/24") || strings.Contains(got, "10.1.0.0/16") {
		t.Error("the pod has what the config replaced")
	}
	if t.Failed() {
		t.Log(got)
	}
	w.detach(p)
	w.Host.Same(w.hostBefore, "the host")
}

// TestDownLinkIsRestoredDown checks that the admin state is restored.
func TestDownLinkIsRestoredDown(t *testing.T) {
	w := newWorld(t, "ip link del h0\nip link add h0 type ifb\nip addr add 192.0.2.1/24 dev h0\n ip addr add 2001:db8::1/64 dev h0", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	a := w.attach(p)[0]
	if !a.State.Up || len(a.State.Addresses) != 2 {
		t.Errorf("in the pod: up %t, addresses %v", a.State.Up, a.State.Addresses)
	}
	w.detach(p)
	w.Host.Same(w.hostBefore, "the host")
}

// TestMoveIsAtomic checks the guard alone, without the checks before it: a name
// conflict leaves the host's link up, with its addresses and routes.
func TestMoveIsAtomic(t *testing.T) {
	w := newWorld(t, rich, "ip link add net1 type ifb")
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal(err)
	}
	if err := moveLink(w.host, w.pod, l, "net1", 0); err == nil {
		t.Error("move to a taken name succeeded")
	}
	w.asBefore()
}

// TestDeadline checks that an attach without time for a rollback fails before it
// moves anything.
func TestDeadline(t *testing.T) {
	w := newWorld(t, rich, "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	ctx, cancel := context.WithTimeout(context.Background(), reserve)
	defer cancel()
	if _, err := Attach(ctx, w.host, w.pod, []Plan{p}); err == nil || !strings.Contains(err.Error(), "before the deadline") {
		t.Errorf("Attach: got error %v", err)
	}
	w.asBefore()
}

// TestDetachAfterTheFact checks that a link is found and restored, whatever the
// pod or the host did meanwhile.
func TestDetachAfterTheFact(t *testing.T) {
	tests := []struct {
		name, inPod, onHost, backOnHost string
		away                            bool // the link is not in the pod any more
	}{
		{name: "renamed in the pod", inPod: "ip link set net1 down\nip link set net1 name h0"},
		{name: "changed in the pod", inPod: "ip link set net1 mtu 1300 alias x txqueuelen 1 group 9\nip link set net1 address 02:00:00:00:00:66\nip addr add 10.5.5.5/24 dev net1\nip link set net1 promisc off\nip link property add dev net1 altname p0"},
		{name: "down in the pod", inPod: "ip link set net1 down"},
		{name: "tag taken off", inPod: "ip link property del dev net1 altname nd-test-0"},
		{name: "pod took the host's name", inPod: "ip link add h0 type ifb"},
		{name: "port of a bridge in the pod", inPod: "ip link add br0 type bridge\nip link set net1 master br0"},
		{name: "tag given to the pod's own link", inPod: "ip link property del dev net1 altname nd-test-0\nip link add eth0 type veth peer name x\nip link property add dev eth0 altname nd-test-0"},
		{name: "renamed to a name of the host", inPod: "ip link set net1 down\nip link set net1 name p0"},
		{name: "no arp, no multicast", inPod: "ip link set net1 arp off multicast off"},
		{name: "moved to the host by the pod, with the host's name as altname", inPod: "ip link property add dev net1 altname h0\nip link set net1 netns HOST", away: true},
		{name: "host took the pod's name", onHost: "ip link add net1 type ifb", backOnHost: "ip link del net1"},
		{name: "host took the ifindex", onHost: "ip link add x index 3 type ifb", backOnHost: "ip link del x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rich, "")
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			p.ID = w.attach(p)[0].ID
			w.Pod.Lines(strings.ReplaceAll(tt.inPod, "HOST", w.Host.Path))
			w.Host.Lines(tt.onHost)
			if result := w.detach(p)[0]; result.HostNameTaken || result.Missing || result.Name != "h0" || (result.Final == nil) != tt.away {
				t.Errorf("Detach: got %+v", result)
			}
			w.Host.Lines(tt.backOnHost)
			if tt.name == "host took the ifindex" {
				return // the link has another one now, which the snapshot shows
			}
			w.Host.Same(w.hostBefore, "the host")
		})
	}
}

// TestNameTakenOnHost checks that a link whose name is taken is restored under
// the fallback name, with all else that it had, and renamed when its name is free.
func TestNameTakenOnHost(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mimic func(*world)
	}{
		{"this kernel", func(*world) {}},
		{"a kernel before 6.2", (*world).renameDownOnly},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rich, "")
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			w.attach(p)
			w.Host.Run("ip link add h0 type ifb")
			result := w.detach(p)[0]
			if !result.HostNameTaken || result.Name == "h0" {
				t.Fatalf("Detach: got %+v", result)
			}
			if out := w.Host.Run("ip addr show " + result.Name); !strings.Contains(out, "192.0.2.1/24") {
				t.Errorf("the link lacks its address under its fallback name:\n%s", out)
			}
			w.Host.Run("ip link del h0")
			tt.mimic(w)
			if result := w.detach(p)[0]; result.HostNameTaken || result.Name != "h0" {
				t.Errorf("Detach once the name is free: got %+v", result)
			}
			w.Host.Same(w.hostBefore, "the host")
		})
	}
}

// renameDownOnly makes the host like a kernel before 6.2, which renames no
// link that is up.
func (w *world) renameDownOnly() {
	down := false
	w.host.conn.failpoint = func(what string) error {
		switch {
		case strings.HasPrefix(what, "set up"):
			down = what == "set up false"
		case strings.HasPrefix(what, "rename") && !down:
			return unix.EBUSY
		}
		return nil
	}
}

// TestMissing checks that a destroyed link is reported as missing, not as an
// error.
func TestMissing(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	w.attach(p)
	w.Pod.Run("ip link del net1")
	if result := w.detach(p)[0]; !result.Missing {
		t.Errorf("Detach: got %+v", result)
	}
}

// TestUnplugged checks the same for a link that the host destroyed while it was
// in the pod.
func TestUnplugged(t *testing.T) {
	w := newWorld(t, "ip link set h0 up", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	p.ID = w.attach(p)[0].ID
	w.Host.Run("ip link del p0")
	for range 2 {
		if result := w.detach(p)[0]; !result.Missing {
			t.Errorf("Detach: got %+v", result)
		}
	}
	w.Pod.Same(w.podBefore, "the pod")
}

// TestOthersSetTheLinkHalfWay checks that a link which the host's services set up
// when it was back on the host, but not yet restored, is restored at the end, and
// keeps the addresses that they leased.
func TestOthersSetTheLinkHalfWay(t *testing.T) {
	tests := []struct{ name, half, leased string }{
		{name: "the same addresses", half: "ip link set h0 up\nip addr add 192.0.2.2/24 dev h0\nip addr add 192.0.2.1/24 dev h0\nip addr add 2001:db8::1/64 dev h0 nodad\nip route add 10.1.0.0/16 via 192.0.2.254 dev h0"},
		{name: "others", half: "ip addr add 10.66.0.1/24 dev h0\nip link set h0 up mtu 1400\nip route add default via 10.66.0.2 dev h0"},
		{name: "leases", half: "ip link set h0 up\nip addr add 10.66.0.1/24 dev h0 valid_lft 1000 preferred_lft 1000", leased: "inet 10.66.0.1/24"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rich, "")
			p := w.plan("h0", `{"interface":{"name":"net1"}}`)
			p.ID = w.attach(p)[0].ID
			moved := false
			w.host.conn.failpoint = func(what string) error { // the detach is cut off right after the move
				if moved = moved || what == "get link" && w.hasH0(); moved {
					return errInjected
				}
				return nil
			}
			if _, err := Detach(context.Background(), w.host, w.pod, []Plan{p}); err == nil {
				t.Fatal("Detach was not cut off")
			}
			w.unwatch()
			w.Host.Lines(tt.half)
			if result := w.detach(p)[0]; result.Name != "h0" || len(result.Unset) > 0 {
				t.Errorf("Detach: got %+v", result)
			}
			if tt.leased == "" {
				w.Host.Same(w.hostBefore, "the host")
				return
			}
			got := w.Host.Snapshot()
			if !strings.Contains(got, tt.leased) {
				t.Errorf("the lease %s is gone", tt.leased)
			}
			if d := cmp.Diff(without(w.hostBefore, "10.66."), without(w.Host.Settled(), "10.66.")); d != "" {
				t.Errorf("the host is not as before (-before +now):\n%s", d)
			}
		})
	}
}

// hasH0 reports whether h0 is on the host.
func (w *world) hasH0() bool {
	_, err := w.Host.Try("ip link show h0")
	return err == nil
}

// TestNotUTF8 checks that a link which a record cannot describe is refused
// before it is touched.
func TestNotUTF8(t *testing.T) {
	for _, set := range []string{"ip link set h0 alias B\xfcro", "ip link property add dev h0 altname B\xfcro"} {
		w := makeWorld(t, set, "")
		l, err := w.host.conn.linkByName("h0")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Read(context.Background(), w.host, Identify(l, "nd-test-0")); !errors.Is(err, unix.EILSEQ) {
			t.Errorf("%q: Read: got error %v", set, err)
		}
	}
}

// TestPinOutlivesPod checks that a pinned namespace keeps the link after the
// pod's own handles are gone, and that a stale pin is replaced.
func TestPinOutlivesPod(t *testing.T) {
	w := newWorld(t, rich, "")
	pin := filepath.Join(t.TempDir(), "netns", "sandbox")
	if err := open(t, w.Host.Path).Pin(pin); err != nil { // of another pod
		t.Fatal(err)
	}
	if err := w.pod.Pin(pin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unpin(pin); err != nil {
			t.Error(err)
		}
		if err := Unpin(pin); err != nil {
			t.Errorf("a second Unpin: %v", err)
		}
	})
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	w.attach(p)
	cookie := w.pod.Cookie()
	w.pod.Close()
	w.Pod.Close()
	w.pod = open(t, pin)
	if w.pod.Cookie() != cookie {
		t.Errorf("the pin is of namespace %d, want %d", w.pod.Cookie(), cookie)
	}
	w.detach(p)
	w.Host.Same(w.hostBefore, "the host")
	w.pod.Close()
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stale")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                 "is a plain file",
		file + "/none":       "not a directory",
		"/proc/self/ns/mnt":  "not a network namespace",
		"/proc/self/ns/none": "no such file",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s): got error %v, want one with %q", path, err, want)
		}
	}
}

// TestStatistics checks that the counters are the link's own: what the pod
// receives counts as received, and the peer's counters are the same, swapped.
func TestStatistics(t *testing.T) {
	w := newWorld(t, "ip link set h0 up\nip addr add 192.0.2.1/24 dev h0\nip addr add 192.0.2.2/24 dev p0", "")
	p := w.plan("h0", `{"interface":{"name":"net1"}}`)
	a := w.attach(p)[0]
	if out, err := w.Host.Try("busybox ping -c 3 -W 1 -I p0 192.0.2.1"); err != nil {
		t.Fatalf("ping: %v\n%s", err, out)
	}
	l, err := Inspect(context.Background(), w.pod, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	since := l.Statistics.Since(a.Base)
	if since.RxPackets < 3 || since.TxPackets < 3 || since.RxBytes < 3*98 || since.TxBytes < 3*98 {
		t.Errorf("counted from the attach: %+v, want at least 3 packets each way", since)
	}
	peer, err := w.host.conn.linkByName("p0")
	if err != nil {
		t.Fatal(err)
	}
	if got := peer.Statistics; got.TxBytes != l.Statistics.RxBytes || got.RxPackets != l.Statistics.TxPackets {
		t.Errorf("the peer's counters %+v are not the link's %+v swapped", got, l.Statistics)
	}
}

func prefixes(s State) []netip.Prefix {
	var all []netip.Prefix
	for _, a := range s.Addresses {
		all = append(all, a.Prefix)
	}
	return all
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// gone waits until the kernel has destroyed a link of the host.
func (w *world) gone(name string) {
	w.t.Helper()
	for range 100 {
		if _, err := w.Host.Try("ip link show " + name); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.t.Fatalf("%s is still there", name)
}
