//go:build vm

package netdev

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
)

// vmKind is a kind of interface. LINK in its commands is the interface's name, NET
// the one in the pod.
type vmKind struct {
	name   string
	make   string // commands that make it, if it is virtual
	pci    string // else the PCI function that it is on
	bound  string // the device that its driver is bound to, if the test unbinds it
	onHost string // what the host has set, beside what all have
	inPod  string // what the pod's root changes, beside what it does to all
	config string // fields of its config, beside the name
	noMAC  bool   // its hardware address cannot be changed

	// unplug and replug write "FILE VALUE" below /sys, for one that can be taken
	// from the machine and be recognized when it is back.
	unplug, replug string
	// lost is what Detach reports that it has not then, and lostLines are the lines
	// that show it.
	lost      string
	lostLines *regexp.Regexp
}

// vmKinds are the kinds of interface that the VM has. Its NICs are those of
// test/vm/run; a second physical function of fakenic has the virtual one.
var vmKinds = []vmKind{
	{name: "dummy", make: "ip link add LINK type dummy"},
	{name: "vrfport", make: "ip link add LINK type dummy", config: `,"vrf":{"name":"red","table":77}`},
	{name: "vlan", make: "ip link add LINK link low0 type vlan id 7 ingress-qos-map 1:2", onHost: "ip link set LINK type vlan egress-qos-map 3:4", inPod: "ip link set NET type vlan egress-qos-map 3:5"},
	{name: "macvlan", make: "ip link add LINK link low0 type macvlan mode bridge", inPod: "ip link set NET type macvlan mode private"},
	{name: "ipvlan", make: "ip link add LINK link low1 type ipvlan mode l2", noMAC: true},
	{name: "netdevsim", onHost: "ethtool -C LINK rx-usecs 8\nethtool --set-fec LINK encoding baser", inPod: "ethtool -C NET rx-usecs 9\nethtool --set-fec NET encoding rs"},
	withoutWakeOnLAN(nicKind("e1000e", "0000:21:00.0", "ethtool -G LINK rx 128", "ethtool -G NET rx 512\nethtool -A NET autoneg off rx off tx off")),
	nicKind("vmxnet3", "0000:42:00.0", "ethtool -K LINK tso off", "ethtool -K NET tso on rx off"),
	nicKind("virtio", "0000:01:00.0", "ethtool -s LINK speed 1000 duplex full", "ethtool -s NET speed 100 duplex half"),
	nicKind("e1000", "0000:00:08.0", "ethtool -s LINK msglvl 3", "ethtool -s NET msglvl 9\nethtool -G NET rx 512"),
	nicKind("rtl8139", "0000:00:09.0", "ethtool -s LINK wol p", "ethtool -s NET wol g\nethtool -s NET msglvl 0"),
	nicKind("fakepf", "0000:22:00.0", "ethtool -L LINK combined 6\nethtool -X LINK weight 1 2 3\nethtool --set-priv-flags LINK second on", "ethtool -X NET equal 2\nethtool -L NET combined 2\nethtool --set-priv-flags NET first on second off"),
	{name: "fakevf", pci: "0000:43:00.1", bound: "0000:43:00.1", onHost: "ethtool -G LINK rx 256", inPod: "ethtool -G NET rx 64",
		unplug: "/bus/pci/devices/0000:43:00.0/sriov_numvfs 0", replug: "/bus/pci/devices/0000:43:00.0/sriov_numvfs 2"},
}

// nicKind is a PCI function that can be removed, found again, and unbound.
func nicKind(name, pci, onHost, inPod string) vmKind {
	return vmKind{name: name, pci: pci, bound: pci, onHost: onHost, inPod: inPod, unplug: "/bus/pci/devices/" + pci + "/remove 1", replug: "/bus/pci/rescan 1"}
}

// withoutWakeOnLAN is for a NIC that the machine cannot be woken up by when it has
// been plugged in later.
func withoutWakeOnLAN(k vmKind) vmKind {
	k.lost, k.lostLines = "set wake-on-LAN: operation not supported", regexp.MustCompile(`(?m)^.*Wake-on:.*$`)
	return k
}

// immovable are the kinds that cannot change their network namespace.
var immovable = []vmKind{
	{name: "bond", make: "ip link add LINK type bond mode active-backup"},
	{name: "team", make: "ip link add LINK type team"},
}

const (
	// onEveryHost and inEveryPod are what host and pod set on each kind; N is its
	// number. They are one batch of ip(8).
	onEveryHost = `
		link set LINK alias of-LINK txqueuelen 77 group 7 mtu 1400
		link property add dev LINK altname also-LINK
		link set LINK up
		addr add 10.N.0.1/24 dev LINK
		addr add 10.N.0.2/24 dev LINK
		addr add 2001:db8:N::1/64 dev LINK nodad
		route add 10.N.9.0/24 via 10.N.0.9 dev LINK metric 5
		neigh add 10.N.0.7 lladdr 02:00:00:00:00:07 dev LINK nud permanent`
	inEveryPod = `
		link set NET down
		link set NET name evilN
		MAC
		link set evilN mtu 1300 alias evil txqueuelen 3 group 3
		link property del dev evilN altname also-LINK
		link property del dev evilN altname nd-test-NAME
		link property add dev evilN altname LINK
		addr flush dev evilN
		addr add 10.66.N.1/24 dev evilN
		link set evilN up promisc on allmulticast on
		route add default dev evilN table N`
	newMAC = "link set evilN address 02:66:00:00:00:N"
)

// text puts the names of an interface into commands.
func (k vmKind) text(s string) string {
	n := slices.IndexFunc(slices.Concat(vmKinds, immovable), func(o vmKind) bool { return o.name == k.name }) + 10
	return strings.NewReplacer("LINK", k.link(), "NET", "n"+k.name, "NAME", k.name, "N", fmt.Sprint(n)).Replace(s)
}

func (k vmKind) link() string { return "h" + k.name }

// kindsWorld is the VM as a node: its own network namespace is the host's.
type kindsWorld struct {
	world
	kinds []vmKind
}

func newKindsWorld(t *testing.T, kinds []vmKind) *kindsWorld {
	t.Helper()
	w := &kindsWorld{world{t: t, Host: nstest.Machine(t)}, kinds}
	w.host = open(t, w.Host.Path)
	lines(t, w.Host, "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0\nip link add low0 type dummy\nip link add low1 type dummy\nip link set low0 up\nip link set low1 up")
	t.Cleanup(func() { lines(t, w.Host, "ip link del low0\nip link del low1") })
	writeSys(t, "/bus/pci/devices/0000:43:00.0/sriov_numvfs 2")
	t.Cleanup(func() { writeSys(t, "/bus/pci/devices/0000:43:00.0/sriov_numvfs 0") })
	writeSys(t, "/bus/netdevsim/new_device 9 1 4")
	t.Cleanup(func() { writeSys(t, "/bus/netdevsim/del_device 9") })
	for _, k := range kinds {
		if k.make != "" {
			lines(t, w.Host, k.text(k.make))
			t.Cleanup(func() { w.Host.Try("ip link del " + k.link()) })
		} else {
			name := k.netdev(t)
			lines(t, w.Host, k.text("ip link set "+name+" down\nip link set "+name+" name LINK"))
			t.Cleanup(func() { // as the other tests find it
				w.Host.Try("ip link set " + k.link() + " down")
				w.Host.Try("ip addr flush dev " + k.link())
				w.Host.Try("ip link set " + k.link() + " name " + name)
			})
		}
		w.Host.Batch(k.text(onEveryHost))
		lines(t, w.Host, k.text(k.onHost))
		if k.make == "" { // the default qdisc is made for the MTU of when it is made, which may be long ago
			lines(t, w.Host, k.text("tc qdisc replace dev LINK root pfifo\ntc qdisc del dev LINK root"))
		}
	}
	return w
}

// netdev returns the name of the NIC's interface.
func (k vmKind) netdev(t *testing.T) string {
	t.Helper()
	device := "/sys/bus/pci/devices/" + k.pci
	if k.pci == "" {
		device = "/sys/bus/netdevsim/devices/netdevsim9"
	}
	for range 100 { // its driver may still probe
		for _, pattern := range []string{"/net/*", "/virtio*/net/*"} {
			if all, _ := filepath.Glob(device + pattern); len(all) == 1 {
				return filepath.Base(all[0])
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s has no interface", device)
	return ""
}

// writeSys writes "FILE VALUE" below /sys.
func writeSys(t *testing.T, what string) {
	t.Helper()
	file, value, _ := strings.Cut(what, " ")
	if err := os.WriteFile("/sys"+file, []byte(value), 0); err != nil {
		t.Fatalf("write %s: %v", what, err)
	}
}

// shownOf are the commands that show all links at once, each with what begins the
// part of a link, or nil where each line is of one.
var shownOf = []struct {
	command string
	head    *regexp.Regexp
}{
	{"ip -details address show", regexp.MustCompile(`^\d+: ([^:@]+)`)},
	{"ip -4 route show table all", nil},
	{"ip -6 route show table all", nil},
	{"ip neighbor show nud permanent", nil},
	{"ip rule", nil},
	{"ip -6 rule", nil},
	{"tc qdisc show", nil},
	{"devlink dev show", nil},
	{"devlink port show", nil},
	{"ls /sys/class/net", nil},
	{"ethtool '*'", ethtoolHead},
	{"ethtool -a '*'", ethtoolHead},
	{"ethtool -c '*'", ethtoolHead},
	{"ethtool -g '*'", ethtoolHead},
	{"ethtool -k '*'", ethtoolHead},
	{"ethtool -l '*'", ethtoolHead},
	{"ethtool --show-eee '*'", ethtoolHead},
	{"ethtool --show-fec '*'", ethtoolHead},
	{"ethtool --show-priv-flags '*'", ethtoolHead},
}

var ethtoolHead = regexp.MustCompile(` for (\S+):$`)

// show returns what is shown of each kind, and of all else of the host under "".
// It takes few programs: each takes the VM 50 ms to start.
func (w *kindsWorld) show() map[string]string {
	w.t.Helper()
	var script strings.Builder
	for _, s := range shownOf {
		fmt.Fprintf(&script, "echo '## %s'; %s 2>&1\n", s.command, s.command)
	}
	links := map[string]string{} // kind by link
	for _, k := range w.kinds {
		links[k.link()] = k.name
		for _, option := range []string{"-x", "-n"} {
			if k.make == "" {
				fmt.Fprintf(&script, "echo '## %s'; ethtool %s %s 2>&1\n", k.name, option, k.link())
			}
		}
	}
	file := filepath.Join(w.t.TempDir(), "show")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
	out, _ := w.Host.Try("sh " + file)
	all := map[string]string{"": ""}
	for i, section := range strings.Split(out, "## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		if i >= len(shownOf) {
			all[title] += text
			continue
		}
		by := byLink(text, shownOf[i].head, links)
		for _, name := range append(slices.Collect(maps.Values(links)), "") {
			all[name] += "# " + title + "\n" + by[name]
		}
	}
	return all
}

// byLink splits what a command has printed by the kind of the link that it is
// about. Lines that begin no part of a link may come in any order.
func byLink(text string, head *regexp.Regexp, links map[string]string) map[string]string {
	by, name := map[string]string{}, ""
	all := strings.SplitAfter(text, "\n")
	if head == nil {
		slices.Sort(all)
	}
	for _, line := range all {
		if head == nil {
			name = ""
			for _, field := range strings.Fields(line) {
				if links[field] != "" {
					name = links[field]
				}
			}
		} else if m := head.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			name = links[m[1]]
		}
		if line = strings.TrimRight(line, " \n"); line != "" {
			by[name] += line + "\n"
		}
	}
	by[""] = sorted(by[""])
	return by
}

// unlike returns how what is shown differs from that before, by kind, when it has
// settled or after settleVM. A link that has been made again has another index.
func (w *kindsWorld) unlike(before map[string]string, again bool) map[string]string {
	w.t.Helper()
	var diffs map[string]string
	for end := time.Now().Add(settleVM); ; time.Sleep(500 * time.Millisecond) {
		now := w.show()
		diffs = map[string]string{}
		for name, want := range before {
			got := now[name]
			if again {
				want, got = madeAgain(name, want), madeAgain(name, got)
			}
			if got != want {
				diffs[name] = cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n"))
			}
		}
		if len(diffs) == 0 || time.Now().After(end) {
			return diffs
		}
	}
}

// madeAgain is what is shown without what a link that was made again has not.
func madeAgain(kind, shown string) string {
	for _, k := range vmKinds {
		if k.name == kind && k.lostLines != nil {
			shown = k.lostLines.ReplaceAllString(shown, "")
		}
	}
	return sorted(linkIndex.ReplaceAllString(shown, "#"))
}

// sorted sorts lines, which are listed by index.
func sorted(text string) string {
	all := strings.SplitAfter(text, "\n")
	slices.Sort(all)
	return strings.Join(all, "")
}

var linkIndex = regexp.MustCompile(`(?m)^\d+|link/`) // as ip(8) shows it

// settled returns what is shown when it no longer changes.
func (w *kindsWorld) settled() map[string]string {
	w.t.Helper()
	for {
		all := w.show()
		time.Sleep(time.Second)
		if len(w.unlike(all, false)) == 0 {
			return all
		}
	}
}

// attachKinds attaches those kinds to a new pod.
func (w *kindsWorld) attachKinds(kinds []vmKind) []Plan {
	w.t.Helper()
	w.Pod = nstest.New(w.t)
	w.pod = open(w.t, w.Pod.Path)
	var plans []Plan
	for _, k := range kinds {
		plans = append(plans, w.plan(k.link(), k.text(`{"interface":{"name":"NET"`+k.config+`}}`)))
	}
	w.t.Cleanup(func() { // if the test ends before
		if w.pod != nil {
			w.detach(plans...)
		}
	})
	for i, a := range w.attach(plans...) {
		plans[i].ID, plans[i].Original.Queues = a.ID, a.Queues
	}
	return plans
}

// TestVMKinds checks for each kind of interface that the host has it back as it
// was: all of a pod's interfaces are attached and detached together, and then
// compared by kind.
func TestVMKinds(t *testing.T) {
	w := newKindsWorld(t, vmKinds)
	before := w.settled()
	for _, s := range []struct {
		name  string
		kinds func(vmKind) bool
		act   func(w *kindsWorld, kinds []vmKind, plans []Plan)
		again bool // the links are made again
	}{
		{name: "attach and detach", act: func(*kindsWorld, []vmKind, []Plan) {}},
		{name: "hostile pod", act: hostile},
		{name: "unplugged and plugged in", act: replug, again: true, kinds: func(k vmKind) bool { return k.unplug != "" }},
		{name: "driver unbound and bound", act: rebind, again: true, kinds: func(k vmKind) bool { return k.bound != "" }},
		{name: "namespace ends", act: namespaceEnds},
	} {
		t.Run(s.name, func(t *testing.T) {
			w.t = t
			kinds := slices.DeleteFunc(slices.Clone(vmKinds), func(k vmKind) bool { return s.kinds != nil && !s.kinds(k) })
			started := time.Now()
			plans := w.attachKinds(kinds)
			t.Logf("attached %d after %v", len(kinds), time.Since(started))
			s.act(w, kinds, plans)
			ended := w.detachKinds(kinds, plans, s.name == "unplugged and plugged in")
			t.Logf("detached after %v", time.Since(started))
			if w.pod == nil { // the kernel destroyed the virtual ones with the namespace
				before = maps.Clone(before)
				maps.DeleteFunc(before, func(name, _ string) bool {
					return name == "" || slices.ContainsFunc(kinds, func(k vmKind) bool { return k.name == name && k.make != "" })
				})
			}
			diffs := w.unlike(before, s.again)
			t.Logf("compared after %v", time.Since(started))
			for _, k := range kinds {
				t.Run(k.name, func(t *testing.T) {
					if result := ended[k.name]; result != "" {
						t.Error(result)
					}
					if w.pod == nil && k.make != "" {
						if _, err := w.host.LinkByName(k.link()); !errors.Is(err, ErrNotFound) {
							t.Errorf("got %v, want the kernel to have destroyed it", err)
						}
					} else if diffs[k.name] != "" {
						t.Errorf("not as before (-before +now):\n%s", diffs[k.name])
					}
				})
			}
			if diffs[""] != "" {
				t.Errorf("the host is not as before (-before +now):\n%s", diffs[""])
			}
			if s.again { // the later ones compare with the new indices
				before = w.settled()
			}
		})
	}
}

// detachKinds detaches until nothing is missing that can come back, and returns
// what is wrong with a result, by kind.
func (w *kindsWorld) detachKinds(kinds []vmKind, plans []Plan, plugged bool) map[string]string {
	w.t.Helper()
	wrong := map[string]string{}
	var results []Result
	for end := time.Now().Add(settleVM); ; time.Sleep(200 * time.Millisecond) {
		results = w.detach(plans...)
		missing := func(k vmKind) bool {
			return results[slices.IndexFunc(kinds, func(o vmKind) bool { return o.name == k.name })].Missing
		}
		if !slices.ContainsFunc(kinds, func(k vmKind) bool { return missing(k) && (k.make == "" || w.pod != nil) }) || time.Now().After(end) {
			break
		}
	}
	for i, k := range kinds {
		r, unset := results[i], ""
		if plugged {
			unset = k.lost
		}
		if lost := k.make != "" && w.pod == nil; r.Missing != lost || strings.Join(r.Unset, "; ") != unset || r.HostNameTaken || !lost && r.Name != k.link() {
			wrong[k.name] = fmt.Sprintf("Detach: got %+v", r)
		}
	}
	return wrong
}

// hostile does as root in a pod can.
func hostile(w *kindsWorld, kinds []vmKind, _ []Plan) {
	for _, k := range kinds {
		lines(w.t, w.Pod, k.text(k.inPod))
		mac := newMAC
		if k.noMAC {
			mac = ""
		}
		w.Pod.Batch(k.text(strings.Replace(inEveryPod, "MAC", mac, 1)))
	}
}

// replug takes the NICs from the machine, with which they are missing, and puts
// them back.
func replug(w *kindsWorld, kinds []vmKind, plans []Plan) {
	for _, k := range kinds {
		writeSys(w.t, k.unplug)
	}
	for i, r := range w.detach(plans...) {
		if !r.Missing {
			w.t.Errorf("%s was unplugged: got %+v", kinds[i].name, r)
		}
	}
	written := map[string]bool{}
	for _, k := range kinds {
		if !written[k.replug] {
			written[k.replug] = true
			writeSys(w.t, k.replug)
		}
	}
	for _, k := range kinds {
		k.netdev(w.t)
	}
}

// rebind unbinds the NICs' drivers, and binds them again.
func rebind(w *kindsWorld, kinds []vmKind, plans []Plan) {
	drivers := map[string]string{}
	for _, k := range kinds {
		driver, err := filepath.EvalSymlinks("/sys/bus/pci/devices/" + k.bound + "/driver")
		if err != nil {
			w.t.Fatal(err)
		}
		drivers[k.name] = strings.TrimPrefix(driver, "/sys")
		writeSys(w.t, drivers[k.name]+"/unbind "+k.bound)
	}
	for i, r := range w.detach(plans...) {
		if !r.Missing {
			w.t.Errorf("the driver of %s was unbound: got %+v", kinds[i].name, r)
		}
	}
	for _, k := range kinds {
		writeSys(w.t, drivers[k.name]+"/bind "+k.bound)
	}
	for _, k := range kinds {
		k.netdev(w.t)
	}
}

// namespaceEnds closes the pod's namespace, which nothing else holds.
func namespaceEnds(w *kindsWorld, _ []vmKind, _ []Plan) {
	w.pod.Close()
	w.Pod.Close()
	w.pod = nil
}

// TestVMImmovable checks that a kind which cannot change its network namespace is
// refused with nothing changed.
func TestVMImmovable(t *testing.T) {
	w := newKindsWorld(t, immovable)
	before := w.settled()
	w.Pod = nstest.New(t)
	w.pod = open(t, w.Pod.Path)
	for _, k := range immovable {
		t.Run(k.name, func(t *testing.T) {
			p := w.plan(k.link(), `{"interface":{"name":"net1"}}`)
			if _, err := Attach(t.Context(), w.host, w.pod, []Plan{p}); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "cannot change its network namespace") {
				t.Errorf("Attach: got %v", err)
			}
		})
	}
	for name, diff := range w.unlike(before, false) {
		t.Errorf("%q is not as before (-before +now):\n%s", name, diff)
	}
}
