package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	rspec "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// rdma gives a function an RDMA device with its character devices.
func (w *world) rdma(address, device string) {
	w.t.Helper()
	parent := filepath.Join(w.dir, "pci/devices", address)
	w.must(os.MkdirAll(filepath.Join(parent, "infiniband", device), 0o755))
	w.must(os.MkdirAll(filepath.Join(w.dir, "class/infiniband"), 0o755))
	w.must(os.Symlink("../../bus/pci/devices/"+address+"/infiniband/"+device, filepath.Join(w.dir, "class/infiniband", device)))
	for node, files := range map[string]map[string]string{
		"infiniband_verbs/uverbs7": {"dev": "231:199", "ibdev": device}, "infiniband_mad/umad7": {"dev": "231:7", "ibdev": device, "port": "1"},
		"misc/rdma_cm": {"dev": "10:120"},
	} {
		w.must(os.MkdirAll(filepath.Join(parent, node), 0o755))
		w.must(os.MkdirAll(filepath.Join(w.dir, "class", node), 0o755))
		for file, content := range files {
			w.must(os.WriteFile(filepath.Join(w.dir, "class", node, file), []byte(content+"\n"), 0o644))
		}
	}
}

// injected returns the device nodes, with their numbers, that a container of the
// pod has when the kubelet has named its CDI devices and the runtime has looked
// them up.
func (w *world) injected(p *corev1.Pod, container int) map[string][2]int64 {
	w.t.Helper()
	info, err := w.kubelet.manager.GetResources(p, &p.Spec.Containers[container])
	w.must(err)
	var ids []string
	for _, d := range info.CDIDevices {
		ids = append(ids, d.Name)
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(w.dir+"/cdi"), cdi.WithAutoRefresh(false))
	w.must(err)
	spec := &rspec.Spec{}
	_, err = cache.InjectDevices(spec, ids...)
	w.must(err)
	got := map[string][2]int64{}
	if spec.Linux == nil {
		return got
	}
	for _, d := range spec.Linux.Devices {
		got[d.Path] = [2]int64{d.Major, d.Minor}
	}
	if rules := len(spec.Linux.Resources.Devices); rules != len(got) {
		w.t.Errorf("container %s may use %d devices, and has %d", p.Spec.Containers[container].Name, rules, len(got))
	}
	return got
}

// TestRDMANodes checks that a container which lists the claim of an RDMA device has
// its character devices, and that another container of the pod, which lists the
// claim of an interface only, has none. The machine has no such hardware: the
// driver's sysfs has a function with an RDMA device made of files. The numbers are
// those of sysfs, so that the runtime looks for no file.
func TestRDMANodes(t *testing.T) {
	t.Parallel()
	const address, device = "0000:af:00.0", "pci-0000-af-00-0"
	w := newWorld(t)
	w.stop()
	w.function(address, "mlx5_core")
	w.rdma(address, "mlx5_7")
	w.restartDriver()
	p := w.pod("p", "rdma", "nic")
	claims := p.Spec.Containers[0].Resources.Claims
	p.Spec.Containers = []corev1.Container{{Name: "c"}, {Name: "d"}, {Name: "e"}}
	p.Spec.Containers[0].Resources.Claims, p.Spec.Containers[1].Resources.Claims = claims[:1], claims[1:]
	w.allocateWith(w.newClaim("rdma"), []result{{driverName, w.node, device}}, `{}`, p)
	w.claim("nic", "h0", "net1", p)
	w.must(w.prepare(p))
	got := map[string]map[string][2]int64{"c": w.injected(p, 0), "d": w.injected(p, 1), "e": w.injected(p, 2)}
	want := map[string]map[string][2]int64{
		"c": {"/dev/infiniband/uverbs7": {231, 199}, "/dev/infiniband/umad7": {231, 7}, "/dev/infiniband/rdma_cm": {10, 120}}, "d": {}, "e": {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("device nodes (-want +got):\n%s", diff)
	}
	w.unprepare(p)
}
