//go:build vm

package netdev

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// vfWorld is a host with fakenic's physical function as pf0, and its second virtual
// function as h0. The host is the VM's own namespace, to which the kernel returns
// hardware.
type vfWorld struct {
	*world
	pf, function string // PCI addresses
	before       string
}

const (
	vfNumberVM = 1
	vfAllVM    = `{"interface":{"name":"net1"},"vf":{"vlan":100,"qos":3,"proto":"802.1q","spoofCheck":true,"trust":false,"minTxRate":10,"maxTxRate":200,"linkState":"disable","mac":"02:00:00:00:00:aa"}}`
)

// newVFWorld makes it, and gives all virtual functions settings.
func newVFWorld(t *testing.T) *vfWorld {
	t.Helper()
	setMood(t, "0")
	init := &nstest.NS{Path: "/proc/1/ns/net"}
	name, pf := "", ""
	for n := 0; ; n++ {
		name, pf = vmNIC(t, "fakenic", n)
		if _, err := os.Stat(pciDevices + pf + "/sriov_numvfs"); err == nil {
			break
		}
	}
	w := &vfWorld{world: &world{t: t, Host: init, Pod: nstest.New(t), host: open(t, init.Path)}, pf: pf}
	w.pod = open(t, w.Pod.Path)
	writeVM(t, pciDevices+pf+"/sriov_numvfs", "4")
	t.Cleanup(func() {
		setMood(t, "0")
		writeVM(t, pciDevices+pf+"/sriov_numvfs", "0")
		init.Try("ip link set pf0 down")
		init.Try("ip link set pf0 name " + name)
	})
	function, err := filepath.EvalSymlinks(pciDevices + pf + "/virtfn1")
	if err != nil {
		t.Fatal(err)
	}
	w.function = filepath.Base(function)
	lines(t, init, "ip link set "+name+" name pf0\nip link set pf0 up\nip link set "+w.linkOf()+" name h0\nip link set h0 up\n"+strings.ReplaceAll(vfsOnHost, "h0", "pf0")+`
		ip link set pf0 vf 1 mac 02:00:00:00:01:01
		ip link set pf0 vf 1 vlan 7 qos 2 proto 802.1ad
		ip link set pf0 vf 1 min_tx_rate 1 max_tx_rate 50
		ip link set pf0 vf 1 spoofchk off
		ip link set pf0 vf 1 trust on
		ip link set pf0 vf 1 state enable`)
	for end := time.Now().Add(settleVM); time.Now().Before(end) && !strings.Contains(w.before, "state UP"); time.Sleep(100 * time.Millisecond) {
		w.before = w.shown()
	}
	return w
}

// linkOf returns the name of the virtual function's link.
func (w *vfWorld) linkOf() string {
	w.t.Helper()
	for end := time.Now().Add(settleVM); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if all, _ := filepath.Glob(pciDevices + w.function + "/net/*"); len(all) == 1 {
			return filepath.Base(all[0])
		}
	}
	w.t.Fatalf("virtual function %s has no link", w.function)
	return ""
}

// shown is all that ip(8) shows of the physical function, under whatever name.
func (w *vfWorld) shown() string {
	w.t.Helper()
	l, _, err := w.host.vfOf(w.pf, vfNumberVM)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := w.Host.Try("ip -details link show dev " + l.Name)
	if err != nil {
		w.t.Fatal(err, out)
	}
	return strings.ReplaceAll(out, l.Name+":", "pf0:")
}

// ofVF is the line of the virtual function.
func (w *vfWorld) ofVF() string {
	_, after, _ := strings.Cut(w.shown(), fmt.Sprintf("vf %d ", vfNumberVM))
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(line)
}

func (w *vfWorld) sameVFs() {
	w.t.Helper()
	for end := time.Now().Add(settleVM); time.Now().Before(end) && w.shown() != w.before; time.Sleep(100 * time.Millisecond) {
	} // its carrier takes a moment
	if diff := cmp.Diff(w.before, w.shown()); diff != "" {
		w.t.Errorf("the physical function is not as before (-before +now):\n%s", diff)
	}
}

func writeVM(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// TestVMVirtualFunction checks that what a config asks of a virtual function is set on
// its physical one while the pod has it, nothing else is, and that all is as before
// after each end that an attachment can have.
func TestVMVirtualFunction(t *testing.T) {
	const inPod = "link/ether 02:00:00:00:00:aa brd ff:ff:ff:ff:ff:ff, vlan 100, qos 3, tx rate 200 (Mbps), max_tx_rate 200Mbps, min_tx_rate 10Mbps, spoof checking on, link-state disable, trust off, query_rss off"
	ends := map[string]func(w *vfWorld, p Plan) Plan{
		"the pod ends": func(w *vfWorld, p Plan) Plan { return p },
		"the pod's namespace ends": func(w *vfWorld, p Plan) Plan {
			w.pod.Close()
			w.Pod.Close()
			w.pod = nil
			w.linkOf()
			return p
		},
		"the physical function is renamed": func(w *vfWorld, p Plan) Plan {
			lines(w.t, w.Host, "ip link set pf0 down\nip link set pf0 name other0\nip link set other0 up")
			w.t.Cleanup(func() { w.Host.Try("ip link set other0 down"); w.Host.Try("ip link set other0 name pf0") })
			return p
		},
		"the driver is bound again in the pod": func(w *vfWorld, p Plan) Plan {
			writeVM(w.t, "/sys/bus/pci/drivers/fakenic/unbind", w.function)
			if got := w.detach(p)[0]; !got.Missing {
				w.t.Errorf("Detach without its link: got %+v", got)
			}
			w.sameVFs() // already
			lines(w.t, w.Host, "ip link set pf0 vf 1 mac 02:00:00:00:00:bb")
			writeVM(w.t, "/sys/bus/pci/drivers/fakenic/bind", w.function)
			lines(w.t, w.Host, "ip link set "+w.linkOf()+" name elsewhere0")
			l, err := w.host.conn.linkByName("elsewhere0")
			if err != nil || l.PermMAC.String() != "02:00:00:00:00:bb" {
				w.t.Fatalf("got permanent address %s (%v): the test shows nothing", l.PermMAC, err)
			}
			return p
		},
		"the attach was cut off": func(w *vfWorld, p Plan) Plan {
			w.detach(p)
			if err := w.host.setForPod(p.Want.VF); err != nil {
				w.t.Fatal(err)
			}
			return p
		},
		"it is detached twice": func(w *vfWorld, p Plan) Plan { w.detach(p); return p },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := newVFWorld(t)
			onHost := w.Host
			var h0 string
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !strings.Contains(h0, "state UP"); time.Sleep(100 * time.Millisecond) {
				h0, _ = onHost.Try("ip -details link show dev h0")
			}
			p := w.plan("h0", vfAllVM)
			done := w.attach(p)
			p.ID = done[0].ID
			if got := w.ofVF(); got != inPod {
				t.Errorf("while it is in the pod:\ngot  %s\nwant %s", got, inPod)
			}
			if got := done[0].State.MAC.String(); got != "02:00:00:00:00:aa" {
				t.Errorf("hardware address in the pod: got %s", got)
			}
			p = end(w, p)
			if got := w.detach(p)[0]; got.Name != "h0" || len(got.Unset) > 0 || got.Missing {
				t.Errorf("Detach: got %+v", got)
			}
			w.sameVFs()
			var now string
			for end := time.Now().Add(settleVM); time.Now().Before(end) && withoutPermMAC(now) != withoutPermMAC(h0); time.Sleep(100 * time.Millisecond) {
				now, _ = onHost.Try("ip -details link show dev h0") // its carrier takes a moment
			}
			if withoutPermMAC(now) != withoutPermMAC(h0) {
				t.Errorf("h0 is not as before (-before +now):\n%s", cmp.Diff(h0, now))
			}
		})
	}
}

// withoutPermMAC removes what a driver that is bound again changes: index and
// permanent address.
func withoutPermMAC(shown string) string {
	_, shown, _ = strings.Cut(shown, ": ")
	return permMACShown.ReplaceAllString(shown, "")
}

var permMACShown = regexp.MustCompile(` permaddr [0-9a-f:]+`)

// TestVMVirtualFunctionOfOthers checks that nothing that the config does not ask for
// is changed, or changed back.
func TestVMVirtualFunctionOfOthers(t *testing.T) {
	w := newVFWorld(t)
	p := w.plan("h0", `{"interface":{"name":"net1"},"vf":{"vlan":100,"maxTxRate":60}}`)
	p.ID = w.attach(p)[0].ID
	const inPod = "link/ether 02:00:00:00:01:01 brd ff:ff:ff:ff:ff:ff, vlan 100, qos 2, vlan protocol 802.1ad, tx rate 60 (Mbps), max_tx_rate 60Mbps, min_tx_rate 1Mbps, spoof checking off, link-state enable, trust on, query_rss off"
	if got := w.ofVF(); got != inPod {
		t.Errorf("while it is in the pod:\ngot  %s\nwant %s", got, inPod)
	}
	lines(t, w.Host, "ip link set pf0 vf 1 trust off\nip link set pf0 vf 1 min_tx_rate 9 max_tx_rate 60\nip link set pf0 vf 2 vlan 9")
	w.detach(p)
	const after = "link/ether 02:00:00:00:01:01 brd ff:ff:ff:ff:ff:ff, vlan 7, qos 2, vlan protocol 802.1ad, tx rate 50 (Mbps), max_tx_rate 50Mbps, min_tx_rate 9Mbps, spoof checking off, link-state enable, trust off, query_rss off"
	if got := w.ofVF(); got != after {
		t.Errorf("afterwards:\ngot  %s\nwant %s", got, after)
	}
	if !strings.Contains(w.shown(), "vlan 9") {
		t.Errorf("the other virtual function was changed:\n%s", w.shown())
	}
}

// TestVMVirtualFunctionRefused checks that a driver which refuses a setting, or accepts
// it without effect, fails the attach and delays the end of the detach, by name.
func TestVMVirtualFunctionRefused(t *testing.T) {
	for mood, because := range map[string]string{"1": unix.EBUSY.Error(), "2": errNoEffect.Error()} {
		t.Run(because, func(t *testing.T) {
			w := newVFWorld(t)
			p := w.plan("h0", `{"interface":{"name":"net1"},"vf":{"vlan":100,"trust":false}}`)
			setMood(t, mood)
			_, err := Attach(context.Background(), w.host, w.pod, []Plan{p})
			for _, want := range []string{`vf.trust: "false": set VF 1 of pf0: ` + because, `vf.vlan: "100": set VF 1 of pf0: ` + because} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Attach: got %v, want %q in it", err, want)
				}
			}
			w.sameVFs()
			setMood(t, "0")
			p.ID = w.attach(p)[0].ID
			setMood(t, mood)
			_, err = Detach(context.Background(), w.host, w.pod, []Plan{p})
			if want := "restore trust of virtual function " + w.function + ": set VF 1 of pf0: " + because; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Detach: got %v, want %q in it", err, want)
			}
			setMood(t, "0")
			w.detach(p)
			w.sameVFs()
		})
	}
}

// TestVMVirtualFunctionWithoutPF checks what is refused while the physical function is
// in another namespace, and that what was set is restored once it is back.
func TestVMVirtualFunctionWithoutPF(t *testing.T) {
	w := newVFWorld(t)
	p := w.plan("h0", vfAllVM)
	p.ID = w.attach(p)[0].ID
	other := nstest.New(t)
	lines(t, w.Host, "ip link set pf0 netns "+other.Path)
	if _, err := Detach(context.Background(), w.host, w.pod, []Plan{p}); err == nil || !strings.Contains(err.Error(), "interface of the physical function "+w.pf) {
		t.Errorf("Detach: got %v", err)
	}
	l, err := w.host.conn.linkByName("h0")
	if err != nil {
		t.Fatal("the virtual function is not on the host: ", err)
	}
	s, l, err := Read(context.Background(), w.host, Identify(l, p.ID.Tag))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Desired(l, s, nic.Config{VF: p.Want.VF.Asked})
	if want := `vf.trust: "false": the host has no interface of its physical function ` + w.pf + " that sets it"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Desired: got %v, want %q in it", err, want)
	}
	if files, _ := filepath.Glob(pciDevices + w.pf + "/net"); len(files) != 1 {
		t.Errorf("sysfs does not show that %s has an interface elsewhere", w.pf)
	}
	lines(t, other, "ip link set pf0 netns 1")
	lines(t, w.Host, "ip link set pf0 up")
	w.detach(p)
	w.sameVFs()
}

// TestVMSetVFs checks that virtual functions are made and replaced, that a number
// which somebody else has changed is left alone, that one which the kernel refuses
// leaves those that were there, and that whether a driver is bound to them is the
// administrator's decision.
func TestVMSetVFs(t *testing.T) {
	w := newVFWorld(t)
	l, err := w.host.conn.linkByName("pf0")
	if err != nil {
		t.Fatal(err)
	}
	file := pciDevices + w.pf + "/sriov_numvfs"
	for _, tt := range []struct {
		have, want int
		err        string
		now        string
	}{
		{4, 4, "", "4"},
		{0, 4, "", "4"}, // another instance was faster
		{0, 3, "it has 4 virtual functions by now, and had 0", "4"},
		{4, 2, "", "2"},
		{2, 99, "numerical result out of range", "2"},
		{2, 0, "", "0"},
		{0, 3, "", "3"},
	} {
		if err := l.SetVFs(tt.have, tt.want); (err == nil) != (tt.err == "") || !strings.Contains(textOf(err), tt.err) {
			t.Errorf("from %d to %d: got error %v, want %q", tt.have, tt.want, err, tt.err)
		}
		if now, _ := os.ReadFile(file); strings.TrimSpace(string(now)) != tt.now {
			t.Errorf("from %d to %d: there are %s, want %s", tt.have, tt.want, now, tt.now)
		}
	}
	w.linkOf()
	writeVM(t, pciDevices+w.pf+"/sriov_drivers_autoprobe", "0")
	defer writeVM(t, pciDevices+w.pf+"/sriov_drivers_autoprobe", "1")
	if err := l.SetVFs(3, 2); err != nil {
		t.Error(err)
	}
	if bound, _ := filepath.Glob(pciDevices + w.pf + "/virtfn*/driver"); len(bound) > 0 {
		t.Errorf("drivers are bound: %q", bound)
	}
}
