package driver

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// sysfs is a sysfs of PCI functions.
type sysfs struct {
	t   *testing.T
	dir string
}

const root = "devices/pci0000:ae/"

// function makes a network controller that is bound to a driver, in an IOMMU group
// unless that is empty.
func (s sysfs) function(address, driver, group string) {
	s.t.Helper()
	dir := root + address
	must(s.t, os.MkdirAll(filepath.Join(s.dir, dir), 0o755))
	must(s.t, os.WriteFile(filepath.Join(s.dir, dir, "class"), []byte("0x020000\n"), 0o644))
	s.link("bus/pci/devices/"+address, dir)
	s.bind(address, driver)
	if group != "" {
		s.link(dir+"/iommu_group", "kernel/iommu_groups/"+group)
		s.link("kernel/iommu_groups/"+group+"/devices/"+address, dir)
	}
}

// bind binds a function to another driver.
func (s sysfs) bind(address, driver string) {
	s.t.Helper()
	old, err := os.Readlink(filepath.Join(s.dir, root+address, "driver"))
	if err == nil {
		must(s.t, os.Remove(filepath.Join(s.dir, root+address, "driver")))
		must(s.t, os.Remove(filepath.Join(s.dir, "bus/pci/drivers", filepath.Base(old), address)))
	}
	s.link(root+address+"/driver", "bus/pci/drivers/"+driver)
	s.link("bus/pci/drivers/"+driver+"/"+address, root+address)
}

// link makes a symbolic link as sysfs has them. What it leads to need not be there.
func (s sysfs) link(name, target string) {
	s.t.Helper()
	must(s.t, os.MkdirAll(filepath.Join(s.dir, filepath.Dir(name)), 0o755))
	relative, err := filepath.Rel(filepath.Dir(name), target)
	must(s.t, err)
	must(s.t, os.Symlink(relative, filepath.Join(s.dir, name)))
}

const (
	vf0 = "pci-0000-af-01-0"
	vf1 = "pci-0000-af-01-1"
)

// newVFIOWorld makes a node whose sysfs has two functions that are bound to
// vfio-pci.
func newVFIOWorld(t *testing.T) (*world, sysfs) {
	s := sysfs{t, t.TempDir()}
	s.function("0000:af:01.0", "vfio-pci", "20")
	s.function("0000:af:01.1", "vfio-pci", "21")
	s.function("0000:c1:00.0", "mlx5_core", "22")
	s.link("class/infiniband/mlx5_0", root+"0000:c1:00.0/infiniband/mlx5_0")
	must(t, os.MkdirAll(filepath.Join(s.dir, root+"0000:c1:00.0/infiniband/mlx5_0"), 0o755))
	must(t, os.MkdirAll(filepath.Join(s.dir, root+"0000:c1:00.0/infiniband_verbs/uverbs0"), 0o755))
	return newWorldOn(t, os.DirFS(s.dir), ""), s
}

// spec returns the CDI spec of a claim.
func (w *world) spec(c *resourceapi.ResourceClaim) (spec cdi.Spec) {
	w.t.Helper()
	text, err := os.ReadFile(w.driver.specs.file(string(c.UID)))
	must(w.t, err)
	must(w.t, json.Unmarshal(text, &spec))
	return spec
}

// healthOf returns what the driver reports to the kubelet of a device.
func (w *world) healthOf(device string) (health kubeletplugin.HealthStatus, message string) {
	p := &plugin{store: w.driver.store, engine: w.driver.engine}
	for _, h := range p.health().Devices {
		if h.DeviceName == device {
			health, message = h.Health, h.Message
		}
	}
	return health, message
}

// TestFunction takes a device without an interface through its life: published,
// prepared, given to a pod without a wait or a hook, its driver changed and back,
// taken back and released; also over a restart.
func TestFunction(t *testing.T) {
	w, sys := newVFIOWorld(t)
	if all := w.published(); !slices.Contains(all, vf0) || !slices.Contains(all, vf1) {
		t.Fatalf("published %v, want both functions", all)
	}
	c := w.claim("vfio", vf0, `{}`, "a")
	must(t, w.prepare(c))
	spec := w.spec(c)
	if len(spec.ContainerEdits.Hooks) > 0 || len(spec.ContainerEdits.DeviceNodes) > 0 || len(spec.Devices) != 1 {
		t.Errorf("CDI spec %+v, want no hook and one device", spec)
	}
	var nodes []string
	for _, n := range spec.Devices[0].ContainerEdits.DeviceNodes {
		nodes = append(nodes, n.Path)
	}
	if !slices.Equal(nodes, []string{"/dev/vfio/vfio", "/dev/vfio/20"}) {
		t.Errorf("containers get %v", nodes)
	}
	p := w.pod("a", "s1")
	must(t, w.runtime.RunPodSandbox(w.ctx, &api.RunPodSandboxRequest{Pod: p.PodSandbox}))
	must(t, w.create(p, c)) // at once
	w.eventually("the claim is ready", func() bool {
		ready, reason, _, _, network := w.device(c)
		return ready == "True" && reason == "Available" && network == nil
	})
	w.eventually("it is healthy", func() bool { h, _ := w.healthOf(vf0); return h == kubeletplugin.HealthStatusHealthy })

	other := w.claim("other", vf0, `{}`, "b")
	refused(t, w.prepare(other), "held by claim default/vfio")

	w.stop()
	w.startDriver()
	if all := w.published(); !slices.Contains(all, vf0) {
		t.Errorf("published %v after a restart, want %s too", all, vf0)
	}
	must(t, w.create(p, c))

	sys.bind("0000:af:01.0", "iavf")
	w.eventually("it is unhealthy and missing", func() bool {
		h, message := w.healthOf(vf0)
		_, reason, text, _, _ := w.device(c)
		const want = "PCI function 0000:af:01.0 has the driver iavf now, it had vfio-pci"
		return h == kubeletplugin.HealthStatusUnhealthy && message == want && reason == "Missing" && text == want
	})
	w.eventually("an event of the pod", func() bool { return w.warned("a", "Missing") == 1 })
	sys.bind("0000:af:01.0", "vfio-pci")
	w.eventually("it is healthy again", func() bool {
		h, _ := w.healthOf(vf0)
		ready, reason, _, _, _ := w.device(c)
		return h == kubeletplugin.HealthStatusHealthy && ready == "True" && reason == "Available"
	})

	w.end(p)
	w.eventually("the claim's device is free", func() bool {
		ready, reason, message, _, _ := w.device(c)
		return ready == "False" && reason == "Detached" && message == "no pod may use the device any more"
	})
	w.unprepare(c)
	if left := w.driver.store.All(); len(left) > 0 {
		t.Errorf("records are left: %v", left)
	}
	must(t, w.prepare(other))
	w.unprepare(other)
	w.restored()
}

// TestFunctionRefused checks what cannot be prepared, and that an error names why.
func TestFunctionRefused(t *testing.T) {
	w, sys := newVFIOWorld(t)
	for config, want := range map[string]string{
		`{"interface":{"name":"net1"}}`:                                            `device ` + vf0 + `: interface.name: "net1": it has no interface (driver vfio-pci)`,
		`{"routes":[{"destination":"198.51.100.0/24","gateway":"192.0.2.9"}]}`:     `: routes: `,
		`{"mode":"Netdev"}`:                                                        `device ` + vf0 + `: mode: "Netdev": it has no interface (driver vfio-pci)`,
		`{"mode":"VFIO","interface":{"mtu":1400}}`:                                 `interface.mtu: "1400": a device of mode VFIO has no interface`,
		`{"mode":"vfio"}`:                                                          `mode: "vfio": must be one of Netdev, VFIO`,
		`{"interface":{"name":"net%d"}}`:                                           `interface.name: "net%d": `,
		`{"neighbors":[{"destination":"192.0.2.9","hardwareAddr":"2:0:0:0:0:0"}]}`: `neighbors`,
	} {
		refused(t, w.prepare(w.claim("c"+strings.Map(letters, config), vf0, config, "a")), want)
	}
	refused(t, w.prepare(w.claim("netdev", "h0", `{"mode":"VFIO"}`, "a")), `device h0: mode: "VFIO": it has the interface h0: its function is to be bound to vfio-pci on the host`)
	refused(t, w.prepare(w.claim("rdma", "pci-0000-c1-00-0", `{"mode":"VFIO"}`, "a")), `mode: "VFIO": PCI function 0000:c1:00.0 has the driver mlx5_core`)
	c := w.claim("stale", vf0, `{}`, "a")
	sys.bind("0000:af:01.0", "iavf")
	refused(t, w.prepare(c), "device "+vf0+" cannot be given to a pod: PCI function 0000:af:01.0 has the driver iavf now, it had vfio-pci")
	if left := w.driver.store.All(); len(left) > 0 {
		t.Errorf("records are left: %v", left)
	}
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return -1
}

// TestFunctionBeside checks a claim for an interface and a device without one: the
// pod gets both or neither, and the hook looks for the interface only.
func TestFunctionBeside(t *testing.T) {
	w, sys := newVFIOWorld(t)
	c := w.claim("both", "h0", `{}`, "a")
	results := &c.Status.Allocation.Devices.Results
	*results = append(*results, resourceapi.DeviceRequestAllocationResult{Request: "vfio", Driver: (*results)[0].Driver, Pool: nodeName, Device: vf0})
	must(t, w.client.Tracker().Update(resourceapi.SchemeGroupVersion.WithResource("resourceclaims"), c, c.Namespace))
	must(t, w.prepare(c))
	spec := w.spec(c)
	if hooks := spec.ContainerEdits.Hooks; len(hooks) != 1 || len(hooks[0].Args) != 3 || !strings.Contains(hooks[0].Args[2], "_h0.json") {
		t.Errorf("hooks %+v, want one that looks for h0", spec.ContainerEdits.Hooks)
	}
	p := w.pod("a", "s1")
	sys.bind("0000:af:01.0", "iavf")
	if err := w.run(p); err == nil || !strings.Contains(err.Error(), "has the driver iavf now") {
		t.Errorf("with a function that is bound elsewhere: got %v", err)
	}
	w.restored()
	sys.bind("0000:af:01.0", "vfio-pci")

	p = w.pod("a", "s2")
	p.ns.Run("ip link add h0 type ifb") // its name is taken
	if err := w.run(p); err == nil {
		t.Error("a pod got one of the two devices")
	}
	w.restored()
	if r := w.driver.store.Find(func(r allocation.Record) bool { return r.Attachment != nil }); len(r) > 0 {
		t.Errorf("attached all the same: %v", r)
	}

	p = w.pod("a", "s3")
	must(t, w.run(p))
	must(t, w.create(p, c))
	w.end(p)
	w.unprepare(c)
	w.restored()
}

// TestFunctionSandboxUnseen checks that a pod whose sandbox was made while the driver
// was away gets the device with its next container.
func TestFunctionSandboxUnseen(t *testing.T) {
	w, _ := newVFIOWorld(t)
	c := w.claim("vfio", vf0, `{}`, "a")
	must(t, w.prepare(c))
	p := w.pod("a", "s1")
	must(t, w.create(p, c))
	w.eventually("the claim is ready", func() bool { _, reason, _, _, _ := w.device(c); return reason == "Available" })
	w.end(p)
	w.unprepare(c)
}

// TestFunctionCutOff checks that what a killed driver was about to set for a device is
// restored by the next one, or before a pod gets the device.
func TestFunctionCutOff(t *testing.T) {
	w, _ := newVFIOWorld(t)
	c := w.claim("vfio", vf0, `{}`, "a")
	must(t, w.prepare(c))
	p := w.pod("a", "s1")
	cutOff := func() {
		t.Helper()
		r := w.driver.store.OfClaim(string(c.UID))[0]
		must(t, w.driver.store.Put(r.Begin(sandboxOf(p.PodSandbox), netdev.Ident{}, netdev.State{}, nil, time.Now(), time.Now()).GiveUp()))
	}
	cutOff()
	must(t, w.driver.engine.Reconcile(w.ctx))
	if r := w.driver.store.OfClaim(string(c.UID))[0]; r.Attachment != nil {
		t.Errorf("not restored: %+v", r.Attachment)
	}
	cutOff()
	must(t, w.run(p))
	must(t, w.create(p, c))
	w.end(p)
	cutOff()
	w.unprepare(c)
	if left := w.driver.store.All(); len(left) > 0 {
		t.Errorf("records are left: %v", left)
	}
}

// TestFunctionInHostNetwork checks that a pod in the host's network can have a
// device without an interface, and that a second pod cannot while it has it.
func TestFunctionInHostNetwork(t *testing.T) {
	w, _ := newVFIOWorld(t)
	c := w.claim("vfio", vf0, `{}`, "a", "b")
	must(t, w.prepare(c))
	hostPod := func(name, sandbox string) pod {
		return pod{&api.PodSandbox{Id: sandbox, Name: name, Uid: "uid-" + name, Namespace: "default", Linux: &api.LinuxPodSandbox{}}, nil}
	}
	a, b := hostPod("a", "s1"), hostPod("b", "s2")
	must(t, w.run(a))
	must(t, w.create(a, c))
	if err := w.run(b); err == nil || !strings.Contains(err.Error(), "another pod has it, and it can be one pod's only") {
		t.Errorf("a second pod: got %v", err)
	}
	must(t, w.create(a, c))
	again := hostPod("a", "s3") // the end of s1 was not reported
	must(t, w.run(again))
	must(t, w.create(again, c))
	w.end(again)
	must(t, w.run(b))
	w.end(b)
	w.unprepare(c)
}
