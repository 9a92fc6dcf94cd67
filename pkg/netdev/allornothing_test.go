package netdev

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// placed is a link that will fail, and how many others come before and after it.
var placed = []struct {
	name          string
	before, after int
}{{"alone", 0, 0}, {"first of three", 0, 2}, {"in the middle", 1, 1}, {"last of three", 2, 0}}

// beside returns the plan with those of h1 and h2 around it.
func (w *world) beside(p Plan, before, after int) []Plan {
	var others []Plan
	for _, name := range []string{"h1", "h2"} {
		others = append(others, w.plan(name, `{"interface":{"name":"net`+name[1:]+`"}}`))
	}
	return slices.Concat(others[:before], []Plan{p}, others[2-after:])
}

// TestAttachIsAllOrNothing checks that a failed attach leaves both namespaces
// unchanged, whichever of several links fails. Each case fails at another step,
// and the kernel itself refuses it.
func TestAttachIsAllOrNothing(t *testing.T) {
	const wanted = "net7" // as which h0 is to go
	renamed := func(name string) func(*Plan) { return func(p *Plan) { p.Want.Name = name } }
	addressed := func(a Address) func(*Plan) {
		return func(p *Plan) { p.Want.Addresses = append(slices.Clone(p.Want.Addresses), a) }
	}
	tests := []struct {
		name, onHost, inPod string
		link                string // h0, if none is given
		spoil               func(p *Plan)
		meanwhile           string // on the host, between Read and Attach
		want                string
	}{
		{name: "name taken in the pod", inPod: "ip link add net7 type veth peer name x", want: "the name net7 is taken"},
		{name: "name is an altname in the pod", inPod: "ip link add x type ifb\nip link property add dev x altname net7", want: "the name net7 is taken"},
		{name: "name and host name taken in the pod", inPod: "ip link add net7 type ifb\nip link add h0 type ifb", want: "the name net7 is taken"},
		{name: "tag is taken on the host", onHost: "ip link add x type ifb\nip link property add dev x altname nd-test-0", want: "add altname nd-test-0"},
		{name: "own altname is the name, and a late failure", spoil: func(p *Plan) { p.Want.Name, p.Want.MTU = "enp3s0f0", 1<<20 }, want: "set mtu"},
		{name: "ifindex taken in the pod, and a late failure", inPod: "ip link add x index 3 type ifb\nip link add y index 4 type ifb", spoil: func(p *Plan) { p.Want.MTU = 1 << 20 }, want: "set mtu"},
		{name: "name with a slash", spoil: renamed("a/b"), want: "invalid argument"},
		{name: "name with a space", spoil: renamed("a b"), want: "invalid argument"},
		{name: "name is a dot", spoil: renamed("."), want: "invalid argument"},
		{name: "name of 16 bytes", spoil: renamed("abcdefghijklmnop"), want: "numerical result out of range"},
		{name: "name is lo", spoil: renamed("lo"), want: "the name lo is taken"},
		{name: "name is all", spoil: renamed("all"), want: "no buffer space"},
		{name: "name is default", spoil: renamed("default"), want: "no buffer space"},
		{name: "name is a pattern", spoil: renamed("net%d"), want: "set net.ipv6.conf.net%d.accept_ra"},
		{name: "name is a broken pattern", spoil: renamed("%s"), want: "invalid argument"},
		{name: "no name", spoil: renamed(""), want: "file exists"},
		{name: "mtu too large", spoil: func(p *Plan) { p.Want.MTU = 1 << 20 }, want: "set mtu"},
		{name: "mtu too small", spoil: func(p *Plan) { p.Want.MTU = 10 }, want: "set mtu"},
		{name: "mtu too small for IPv6", spoil: func(p *Plan) { p.Want.MTU = 1000 }, want: "add address 2001:db8::1/64"},
		{name: "multicast hardware address", spoil: func(p *Plan) { p.Want.MAC = nic.HardwareAddr{1, 0, 0, 0, 0, 1} }, want: "set hardware address"},
		{name: "hardware address of another length", spoil: func(p *Plan) { p.Want.MAC = nic.HardwareAddr{2, 0, 0} }, want: "set hardware address"},
		{name: "multicast address", spoil: addressed(Address{Prefix: pfx("ff02::1/64")}), want: "add address ff02::1/64"},
		{name: "loopback address", spoil: addressed(Address{Prefix: pfx("::1/128")}), want: "add address ::1/128"},
		{name: "unreachable gateway", spoil: func(p *Plan) { p.Want.Routes[0].Gateway, p.Want.Routes[0].Optional = addr("203.0.113.1"), false }, want: "add route"},
		{name: "source address the link lacks", spoil: func(p *Plan) { p.Want.Routes[0].PrefSource, p.Want.Routes[0].Optional = addr("203.0.113.1"), false }, want: "add route"},
		{name: "neighbor with half a hardware address", spoil: func(p *Plan) {
			p.Want.Neighbors = append(slices.Clone(p.Want.Neighbors), Neighbor{Address: addr("192.0.2.9"), MAC: nic.HardwareAddr{2, 0}})
		}, want: "add neighbor"},
		{name: "link gone", spoil: func(p *Plan) { p.ID.Name, p.ID.Tag = "h9", "nd-none" }, want: "interface not found"},
		{name: "link unplugged after Read", onHost: "ip link add h5 type ifb", link: "h5", meanwhile: "ip link del h5", want: "interface not found"},
		{name: "link immutable", onHost: "ip link add h5 type bridge", link: "h5", want: "cannot change its network namespace"},
		{name: "a link of the name, and another kind, after Read", onHost: "ip link add h5 type ifb", link: "h5", meanwhile: "ip link del h5\nip link add h5 type veth peer name p5", want: "interface not found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, three+"\n"+tt.onHost, tt.inPod)
			if tt.link == "" {
				tt.link = "h0"
			}
			p := w.plan(tt.link, `{"interface":{"name":"`+wanted+`"}}`)
			if tt.spoil != nil {
				tt.spoil(&p)
			}
			if tt.meanwhile != "" {
				w.Host.Lines(tt.meanwhile)
				w.hostBefore = w.Host.Settled()
			}
			for _, at := range placed {
				_, err := Attach(context.Background(), w.host, w.pod, w.beside(p, at.before, at.after))
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "bring back") {
					t.Errorf("%s: Attach: got error %v, want one with %q", at.name, err, tt.want)
				}
				w.asBefore()
				if t.Failed() {
					t.Fatal(at.name)
				}
			}
		})
	}
}

// TestDeadlineBetweenLinks checks that links which are already in the pod are
// moved back when there is no time for the next.
func TestDeadlineBetweenLinks(t *testing.T) {
	w := newWorld(t, three, "")
	plans := w.plans()
	const slack = 45 * time.Millisecond // time for the first, less than one more move needs
	ctx, cancel := context.WithTimeout(context.Background(), reserve+2*moveTime+slack)
	defer cancel()
	f := w.watch(nil)
	_, err := Attach(ctx, w.host, w.pod, plans)
	w.unwatch()
	if err == nil || !strings.Contains(err.Error(), "before the deadline") {
		t.Errorf("Attach: got error %v", err)
	}
	if !slices.ContainsFunc(f.seen, func(s string) bool { return strings.HasPrefix(s, "move interface h0") }) {
		t.Error("the first link was not moved: the test shows nothing")
	}
	w.asBefore()
}

// TestNoDescriptorIsLeft checks that neither a failed attach nor a life in a
// pod leaves a file descriptor open.
func TestNoDescriptorIsLeft(t *testing.T) { // not beside other tests: they open some
	w := makeWorld(t, three, "")
	count := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	plans := w.plans()
	bad := slices.Clone(plans)
	bad[2].Want.MAC = nic.HardwareAddr{1, 0, 0, 0, 0, 1}
	before := count()
	for range 3 {
		if _, err := Attach(context.Background(), w.host, w.pod, bad); err == nil {
			t.Error("the attach succeeded")
		}
		w.attach(plans...)
		w.detach(plans...)
	}
	if now := count(); now != before {
		t.Errorf("%d file descriptors are open, %d before", now, before)
	}
	w.asBefore()
}

// TestDetachFails checks that a link which the kernel does not let us restore
// completely keeps no other link from being restored, and that only what is
// blocked differs. When nothing blocks it any more, a further Detach restores it.
func TestDetachFails(t *testing.T) {
	tests := []struct {
		name, onHost    string // before the attach
		meanwhile, back string // on the host, while the link is in the pod, and to undo it
		fails           string // error of Detach
		result          Result // of h0, without Unset and Final
		unset           string
		but             string // what that changes in what the host shows
	}{
		{name: "host name taken", meanwhile: "ip link add h0 type ifb", back: "ip link del h0", result: Result{Name: fallbackName("nd-test-0"), HostNameTaken: true}},
		{name: "host name is an altname", meanwhile: "ip link property add dev p0 altname h0", back: "ip link property del dev p0 altname h0", result: Result{Name: fallbackName("nd-test-0"), HostNameTaken: true}},
		{name: "host name and the fallback name taken", meanwhile: "ip link add h0 type ifb\nip link add " + fallbackName("nd-test-0") + " type ifb", back: "ip link del h0\nip link del " + fallbackName("nd-test-0"), fails: "file exists"},
		{name: "tag taken on the host", meanwhile: "ip link add x type ifb\nip link property add dev x altname nd-test-0", back: "ip link del x", fails: "the name nd-test-0 is taken in"},
		{name: "name in the pod taken on the host", meanwhile: "ip link add net0 type ifb", back: "ip link del net0", result: Result{Name: "h0"}},
		{name: "altname taken", meanwhile: "ip link property add dev p0 altname enp3s0f0", result: Result{Name: "h0"}, unset: "add altname enp3s0f0", but: "altname enp3s0f0"},
		{name: "gateway out of reach", onHost: "ip link add h5 type ifb\nip link set h5 up\nip addr add 10.55.0.1/24 dev h5\nip route add 10.56.0.0/16 nexthop via 192.0.2.254 dev h0 nexthop via 10.55.0.9 dev h5", meanwhile: "ip addr del 10.55.0.1/24 dev h5", result: Result{Name: "h0"}, unset: "add route 10.56.0.0/16", but: "10.5"},
		{name: "source address gone", onHost: "ip addr add 203.0.113.77/32 dev lo\nip route add 10.56.0.0/16 via 192.0.2.254 src 203.0.113.77 dev h0", meanwhile: "ip addr del 203.0.113.77/32 dev lo", back: "ip addr add 203.0.113.77/32 dev lo", result: Result{Name: "h0"}, unset: "add route 10.56.0.0/16", but: "10.56."},
		{name: "IPv6 off for new links", meanwhile: "sysctl -qw net.ipv6.conf.default.disable_ipv6=1", back: "sysctl -qw net.ipv6.conf.default.disable_ipv6=0", result: Result{Name: "h0"}},
		{name: "an address is on another link", meanwhile: "ip link add x type veth peer name y\nip link set y up\nip link set x up\nip addr add 192.0.2.1/24 dev x\nip addr add 2001:db8::1/64 dev x nodad", back: "ip link del x", result: Result{Name: "h0"}},
		{name: "same routes through another link", meanwhile: "ip link add x type veth peer name y\nip link set y up\nip link set x up\nip addr add 192.0.2.250/24 dev x metric 1000\nip route add 10.1.0.0/16 via 192.0.2.254 dev x metric 31\nip route add default via 192.0.2.253 dev x table 100 metric 7", back: "ip link del x", result: Result{Name: "h0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, three+"\n"+tt.onHost, "")
			p := w.plan("h0", `{"interface":{"name":"net0"}}`)
			for _, at := range placed {
				plans := w.beside(p, at.before, at.after)
				for i, a := range w.attach(plans...) {
					plans[i].ID = a.ID
				}
				w.Host.Lines(tt.meanwhile)
				results, err := Detach(context.Background(), w.host, w.pod, plans)
				if (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("%s: Detach: got error %v, want %q", at.name, err, tt.fails)
				}
				for i, result := range results {
					unset := slices.Clone(result.Unset)
					result.Unset, result.Final = nil, nil
					switch {
					case i != at.before: // one of the others
						if d := cmp.Diff(Result{Name: plans[i].Original.Name}, result); d != "" || len(unset) > 0 {
							t.Errorf("%s: %s (-want +got):\n%s%q", at.name, plans[i].Original.Name, d, unset)
						}
					case tt.fails == "":
						reported := len(unset) == 0
						if tt.unset != "" {
							reported = len(unset) == 1 && strings.HasPrefix(unset[0], tt.unset)
						}
						if d := cmp.Diff(tt.result, result); d != "" || !reported {
							t.Errorf("%s: h0 (-want +got):\n%s%q", at.name, d, unset)
						}
					}
				}
				w.Host.Lines(tt.back)
				if tt.but != "" {
					if d := cmp.Diff(without(w.hostBefore, tt.but), without(w.Host.Settled(), tt.but)); d != "" {
						t.Errorf("the host is not as before (-before +now):\n%s", d)
					}
					break // it does not come back by itself
				}
				w.detach(plans...)
				w.asBefore()
				if t.Failed() {
					t.Fatal(at.name)
				}
			}
		})
	}
}

// without returns the lines of a snapshot that do not contain the text, nor the
// lines below each address.
func without(snapshot, text string) []string {
	return slices.DeleteFunc(strings.Split(snapshot, "\n"), func(line string) bool {
		return strings.Contains(line, text) || strings.Contains(line, "valid_lft")
	})
}

// TestDetachBesideOthers checks that links of several pods, all under the same name
// there, can be moved back at the same time, also by several instances of the driver:
// none removes what protects another's move.
func TestDetachBesideOthers(t *testing.T) {
	const pods, rounds = 4, 15
	w := newWorld(t, "", "")
	type one struct {
		host, pod *NetNS
		plan      Plan
	}
	var all []one
	for i := range pods {
		name := fmt.Sprintf("hx%d", i)
		w.Host.Lines("ip link add " + name + " type ifb")
		all = append(all, one{open(t, w.Host.Path), open(t, nstest.New(t).Path), w.plan(name, `{"interface":{"name":"net1"}}`)})
	}
	before := w.Host.Settled()
	for range rounds {
		attached := slices.Clone(all)
		for i, o := range all {
			a, err := Attach(t.Context(), o.host, o.pod, []Plan{o.plan})
			if err != nil {
				t.Fatal(err)
			}
			attached[i].plan.ID = a[0].ID
		}
		var group sync.WaitGroup
		for _, o := range attached {
			group.Go(func() {
				results, err := Detach(t.Context(), o.host, o.pod, []Plan{o.plan})
				if err != nil || len(results[0].Unset) > 0 || results[0].Name != o.plan.Original.Name {
					t.Errorf("%s: %+v, %v", o.plan.Original.Name, results, err)
				}
			})
		}
		group.Wait()
	}
	if diff := cmp.Diff(before, w.Host.Settled()); diff != "" {
		t.Errorf("the host is not as before (-before +after):\n%s", diff)
	}
}
