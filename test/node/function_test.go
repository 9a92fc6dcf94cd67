package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/nri/pkg/api"
	cdispec "tags.cncf.io/container-device-interface/specs-go"
)

// function makes a network controller in the driver's sysfs that is bound to a
// driver, in the IOMMU group 20. The driver sees it from its next start on.
func (w *world) function(address, driver string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "pci/devices", address)
	w.must(os.MkdirAll(dir, 0o755))
	w.must(os.WriteFile(filepath.Join(dir, "class"), []byte("0x020000\n"), 0o644))
	w.must(os.Symlink("../../../../kernel/iommu_groups/20", filepath.Join(dir, "iommu_group")))
	w.bind(address, driver)
}

// bind binds a function to another driver.
func (w *world) bind(address, driver string) {
	w.t.Helper()
	link := filepath.Join(w.dir, "pci/devices", address, "driver")
	if old, err := os.Readlink(link); err == nil {
		w.must(os.Remove(link))
		w.must(os.Remove(filepath.Join(w.dir, "pci/drivers", filepath.Base(old), address)))
	}
	w.must(os.MkdirAll(filepath.Join(w.dir, "pci/drivers", driver), 0o755))
	w.must(os.Symlink("../../devices/"+address, filepath.Join(w.dir, "pci/drivers", driver, address)))
	w.must(os.Symlink("../../drivers/"+driver, link))
}

// TestFunction checks what kubelet, runtime and API server get of a device without
// an interface: its devices in the CDI spec, no hook, a container at once, and a
// condition. It stays the claim's when the driver is killed.
func TestFunction(t *testing.T) {
	t.Parallel()
	const address, device = "0000:af:01.0", "pci-0000-af-01-0"
	w := newWorld(t)
	w.stop()
	w.function(address, "vfio-pci")
	w.restartDriver()
	p := w.pod("vm", "c")
	c := w.allocateWith(w.newClaim("c"), []result{{driverName, w.node, device}}, `{"mode":"VFIO"}`, p)
	w.must(w.prepare(p))
	ids, err := w.cdiDevices(p)
	w.must(err)
	spec := w.cdiSpec(string(c.UID))
	if len(spec.ContainerEdits.Hooks) > 0 || len(spec.Devices) != 1 || !slices.Contains(ids, spec.Kind+"="+spec.Devices[0].Name) {
		t.Errorf("the kubelet has %v, the CDI spec is %+v", ids, spec)
	}
	var nodes []string
	for _, n := range spec.Devices[0].ContainerEdits.DeviceNodes {
		nodes = append(nodes, n.Path)
	}
	if !slices.Equal(nodes, []string{"/dev/vfio/vfio", "/dev/vfio/20"}) {
		t.Errorf("containers get %v", nodes)
	}
	s := w.sandbox(p, "s1")
	w.must(w.run(s))
	container := &api.Container{Id: "c-s1", PodSandboxId: s.Id, Name: "c", Env: spec.Devices[0].ContainerEdits.Env}
	begins := func() {
		t.Helper()
		if hooks, err := w.ask(s, container); err != nil || len(hooks) > 0 {
			t.Errorf("a container: %v, hooks %v", err, hooks)
		}
	}
	begins()
	if got := w.says(c, "True", "Available"); got.network != nil {
		t.Errorf("the status has %+v", got.network)
	}
	w.kill()
	w.restartDriver()
	begins()

	next := w.pod("next", "d")
	w.allocateWith(w.newClaim("d"), []result{{driverName, w.node, device}}, `{}`, next)
	if err := w.prepare(next); err == nil || !strings.Contains(err.Error(), "held by claim") {
		t.Errorf("a second claim: %v", err)
	}
	w.bind(address, "iavf")
	if got := w.says(c, "False", "Missing"); !strings.Contains(got.message, "has the driver iavf now, it had vfio-pci") {
		t.Errorf("bound elsewhere: %q", got.message)
	}
	w.bind(address, "vfio-pci")
	w.says(c, "True", "Available")
	w.finish(p, s)
	w.must(w.prepare(next))
	w.unprepare(next)
}

// cdiSpec reads the CDI spec of a claim that the driver has written.
func (w *world) cdiSpec(claimUID string) (spec cdispec.Spec) {
	w.t.Helper()
	files, err := filepath.Glob(w.dir + "/cdi/*-nic_" + claimUID + ".json")
	if err != nil || len(files) != 1 {
		w.t.Fatalf("CDI specs of claim %s: %v, %v", claimUID, files, err)
	}
	text, err := os.ReadFile(files[0])
	w.must(err)
	w.must(json.Unmarshal(text, &spec))
	return spec
}
