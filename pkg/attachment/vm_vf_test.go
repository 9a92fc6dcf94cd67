//go:build vm

package attachment

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dra-netdev/dra-netdev/internal/nstest"
	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/inventory"
	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

const (
	vmFunctions = "/sys/bus/pci/devices/"
	vmMood      = "/sys/module/fakenic/parameters/mood"
)

// functionWorld is an engine, with a virtual function of fakenic as a device without
// an interface, as if it were bound to vfio-pci.
type functionWorld struct {
	t          *testing.T
	host       *nstest.NS
	pf, before string
	engine     *Engine
	store      *allocation.Store
	record     allocation.Record
	sandbox    allocation.Sandbox
	failed     error // of the last change
}

func vmWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

func newFunctionWorld(t *testing.T) *functionWorld {
	t.Helper()
	files, _ := filepath.Glob(vmFunctions + "*/sriov_numvfs")
	var pf, name string
	for _, f := range files {
		pf = filepath.Base(filepath.Dir(f))
		if links, _ := filepath.Glob(vmFunctions + pf + "/net/*"); len(links) == 1 {
			name = filepath.Base(links[0])
			break
		}
	}
	vmWrite(t, vmMood, "0")
	vmWrite(t, vmFunctions+pf+"/sriov_numvfs", "2")
	t.Cleanup(func() {
		vmWrite(t, vmMood, "0")
		vmWrite(t, vmFunctions+pf+"/sriov_numvfs", "0")
	})
	function, err := filepath.EvalSymlinks(vmFunctions + pf + "/virtfn1")
	must(t, err)
	// The tests of this package have a host of their own.
	w := &functionWorld{t: t, host: &nstest.NS{Path: fmt.Sprintf("/proc/%d/ns/net", os.Getpid())}, pf: name}
	if out, err := (&nstest.NS{Path: "/proc/1/ns/net"}).Try("ip link set " + name + " netns " + w.host.Path); err != nil {
		t.Fatal(out)
	}
	t.Cleanup(func() { w.host.Try("ip link set " + name + " netns 1") })
	for _, c := range []string{"vlan 7 qos 2", "trust on", "spoofchk off", "mac 02:00:00:00:01:01", "max_tx_rate 50 min_tx_rate 0", "state auto"} {
		if out, err := w.host.Try("ip link set " + name + " vf 1 " + c); err != nil {
			t.Fatal(out)
		}
	}
	w.before = w.shown()
	w.record = allocation.Record{
		Claim: allocation.Ref{Namespace: "default", Name: "c", UID: "uid-c"}, Pods: []allocation.Ref{{Namespace: "default", Name: "web", UID: "uid-web"}},
		Request: "nic", Pool: "n1", Device: inventory.Device{Name: "vf1", Function: inventory.Function{Address: filepath.Base(function), Driver: "fakenic"}},
		Config: nic.Config{Mode: "", VF: nic.VF{VLAN: new(100), Trust: new(false), MAC: nic.HardwareAddr{2, 0, 0, 0, 0, 0xaa}}},
	}
	w.sandbox = allocation.Sandbox{ID: "s1", PodUID: "uid-web", NetNS: nstest.New(t).Path}
	dir := t.TempDir()
	w.store, _, err = allocation.Open(t.Context(), filepath.Join(dir, "allocations"), "boot")
	must(t, err)
	w.engine = New(Config{
		Store: w.store, StateDir: dir, Sys: os.DirFS("/sys").(fs.ReadLinkFS), Options: func() inventory.Options { return inventory.Options{} },
		AttachTimeout: 20 * time.Second, Changed: func(c Change) { w.failed = c.Err },
	})
	return w
}

// shown is what ip(8) shows of the physical function and its virtual ones.
func (w *functionWorld) shown() string {
	w.t.Helper()
	out, err := w.host.Try("ip -details link show dev " + w.pf)
	must(w.t, err)
	return out
}

func (w *functionWorld) given() {
	w.t.Helper()
	const want = "vf 1     link/ether 02:00:00:00:00:aa brd ff:ff:ff:ff:ff:ff, vlan 100, qos 2, tx rate 50 (Mbps), max_tx_rate 50Mbps, spoof checking off, link-state auto, trust off"
	if got := w.shown(); !strings.Contains(got, want) {
		w.t.Errorf("the virtual function is not as wanted:\n%s\nwant %s", got, want)
	}
}

// back checks that no claim has the device and all is as before.
func (w *functionWorld) back() {
	w.t.Helper()
	if r, ok := w.store.Get(w.record.Key()); ok {
		w.t.Errorf("the record is %+v", r.Condition)
	}
	if diff := cmp.Diff(w.before, w.shown()); diff != "" {
		w.t.Errorf("the physical function is not as before (-before +now):\n%s", diff)
	}
}

// TestVMVirtualFunctionWithoutLink checks that the physical function sets what a config
// asks for of a virtual one without an interface while a claim has it, and that it is
// as before at the end, also after a kill and while the driver refuses.
func TestVMVirtualFunctionWithoutLink(t *testing.T) {
	w := newFunctionWorld(t)
	ctx, all := t.Context(), []allocation.Record{w.record}
	prepare := func() { t.Helper(); must(t, w.engine.Prepare(ctx, all)) }

	prepare()
	w.given()
	must(t, w.engine.Attach(ctx, w.sandbox))
	w.engine.Detach(ctx, w.sandbox)
	w.given()
	must(t, w.engine.Release(ctx, "uid-c"))
	w.back()

	// The driver refuses: nothing is recorded but what is to be restored.
	vmWrite(t, vmMood, "1")
	if err := w.engine.Prepare(ctx, all); err == nil || !strings.Contains(err.Error(), `vf.vlan: "100": set VF 1 of `+w.pf+": device or resource busy") {
		t.Errorf("Prepare: got %v", err)
	}
	w.back()
	vmWrite(t, vmMood, "0")
	prepare()
	w.given()
	vmWrite(t, vmMood, "1")
	must(t, w.engine.Release(ctx, "uid-c"))
	if err := w.failed; err == nil || !strings.Contains(err.Error(), "restore vlan of virtual function") {
		t.Errorf("Release has reported %v", err)
	}
	if r, _ := w.store.Get(w.record.Key()); !r.Released || r.Offered() {
		t.Errorf("while the driver refuses, the record is %+v", r)
	}
	vmWrite(t, vmMood, "0")
	must(t, w.engine.Reconcile(ctx))
	w.back()

	// The driver was killed when it had recorded the claim: the kubelet prepares it again.
	original := w.record
	must(t, readVFs(all))
	must(t, w.store.Put(all[0]))
	all = []allocation.Record{original}
	prepare()
	w.given()
	must(t, w.engine.Release(ctx, "uid-c"))
	w.back()
}

// TestVMVirtualFunctionWithoutLinkRefused checks what is refused by field when the
// claim is prepared.
func TestVMVirtualFunctionWithoutLinkRefused(t *testing.T) {
	w := newFunctionWorld(t)
	w.record.Config.Interface.MTU = 1400
	refuse := func(want string) {
		t.Helper()
		if err := w.engine.Prepare(t.Context(), []allocation.Record{w.record}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Prepare: got %v, want %q in it", err, want)
		}
	}
	refuse(`interface.mtu: "1400": it has no interface`)
	w.record.Config.Interface.MTU = 0
	w.record.Config.VF.MinTxRate = new(60)
	refuse(`vf.minTxRate: "60": must be at most the maximum, 50`)
	other := nstest.New(t)
	if out, err := w.host.Try("ip link set " + w.pf + " netns " + other.Path); err != nil {
		t.Fatal(out)
	}
	refuse("its physical function " + filepath.Base(filepath.Dir(w.function())) + " is in another network namespace")
	if out, err := other.Try("ip link set " + w.pf + " netns " + w.host.Path); err != nil {
		t.Fatal(out)
	}
}

// function is a file of the physical function.
func (w *functionWorld) function() string {
	target, _ := filepath.EvalSymlinks(vmFunctions + w.record.Device.Function.Address + "/physfn")
	return filepath.Join(target, "x")
}
