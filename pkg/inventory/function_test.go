package inventory

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourceapi "k8s.io/api/resource/v1"

	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// bind binds a function to a driver, in an IOMMU group unless that is empty.
func (m *machine) bind(where, driver, group string) {
	dir, address := path.Join("devices", where), path.Base(where)
	m.link(path.Join(dir, "driver"), path.Join("bus/pci/drivers", driver))
	m.link(path.Join("bus/pci/drivers", driver, address), dir)
	if group != "" {
		m.link(path.Join(dir, "iommu_group"), path.Join("kernel/iommu_groups", group))
		m.link(path.Join("kernel/iommu_groups", group, "devices", address), dir)
	}
}

// unbind takes a function from its driver.
func (m *machine) unbind(where, driver string) {
	delete(m.sys, path.Join("devices", where, "driver"))
	delete(m.sys, path.Join("bus/pci/drivers", driver, path.Base(where)))
}

const root = "pci0000:ae/"

// hypervisor has a NIC with virtual functions of which virtual machines use some,
// and an RDMA device with a network interface and one without.
func hypervisor() *machine {
	m := newMachine(loopback())
	ethernet := map[string]string{"class": "0x020000", "vendor": "0x8086", "numa_node": "1"}
	for address, group := range map[string]string{
		"0000:af:01.0": "20", "0000:af:01.1": "21", "0000:af:01.2": "21", "0000:af:01.3": "22", "0000:b0:00.0": "23",
		"0000:b1:00.0": "24", "0000:b2:00.0": "25", "0000:b3:00.0": "26", "0000:b4:00.0": "",
	} {
		m.device("pci", root+address, ethernet)
		m.bind(root+address, "vfio-pci", group)
	}
	m.link("devices/"+root+"0000:af:01.0/physfn", "devices/"+root+"0000:af:00.0")
	m.device("pci", root+"0000:af:01.4", map[string]string{"class": "0x020000"}) // without a driver, in a group with another
	m.bind(root+"0000:af:01.4", "", "22")
	m.unbind(root+"0000:af:01.4", "")
	m.device("pci", root+"0000:b0:00.1", map[string]string{"class": "0x0c0330"})
	m.bind(root+"0000:b0:00.1", "xhci_hcd", "23")
	m.device("pci", root+"0000:ae:01.0", map[string]string{"class": "0x060400"})
	m.bind(root+"0000:ae:01.0", "pcieport", "22")
	m.file("kernel/iommu_groups/24/name", "vfio-noiommu\n")
	m.file("devices/"+root+"0000:b2:00.0/sriov_numvfs", "2\n")
	m.file("devices/"+root+"0000:b3:00.0/class", "0x030000\n") // a GPU
	m.device("pci", root+"0000:c0:00.0", ethernet)
	m.bind(root+"0000:c0:00.0", "mlx5_core", "30")
	m.add(hardware(2, "enp192s0", "0000:c0:00.0"), root+"0000:c0:00.0", nil)
	m.device("pci", root+"0000:c1:00.0", map[string]string{"class": "0x020700", "vendor": "0x15b3"})
	m.bind(root+"0000:c1:00.0", "mlx5_core", "31")
	for name, address := range map[string]string{"mlx5_0": "0000:c0:00.0", "mlx5_1": "0000:c1:00.0"} {
		m.link("class/infiniband/"+name, "devices/"+root+address+"/infiniband/"+name)
		m.file("devices/"+root+address+"/infiniband/"+name+"/node_type", "1: CA\n")
	}
	for class, names := range map[string][]string{"infiniband_verbs": {"uverbs1"}, "infiniband_mad": {"issm0", "umad0"}} {
		for _, name := range names {
			m.file("devices/"+root+"0000:c1:00.0/"+class+"/"+name+"/ibdev", "mlx5_1\n")
		}
	}
	m.file("class/misc/rdma_cm/dev", "10:58\n")
	m.link("class/infiniband/rxe0", "devices/virtual/infiniband/rxe0")
	return m
}

// TestFunctions checks which functions without an interface are devices, and why
// some are not offered.
func TestFunctions(t *testing.T) {
	m := hypervisor()
	want := map[string]string{
		"lo": "it is a loopback", "pci-0000-c0-00-0": "", "pci-0000-c1-00-0": "",
		"pci-0000-af-01-0": "", "pci-0000-af-01-3": "",
		"pci-0000-af-01-1": "its IOMMU group also has 0000:af:01.2 (vfio-pci)",
		"pci-0000-af-01-2": "its IOMMU group also has 0000:af:01.1 (vfio-pci)",
		"pci-0000-b0-00-0": "its IOMMU group also has 0000:b0:00.1 (xhci_hcd)",
		"pci-0000-b1-00-0": "no IOMMU keeps it from the node's memory",
		"pci-0000-b2-00-0": "it has 2 virtual functions",
		"pci-0000-b4-00-0": "it is in no IOMMU group",
	}
	got := map[string]string{}
	for _, d := range m.scan() {
		if got[d.Name] = d.Skipped; d.HasLink() != (d.Link.Name != "") {
			t.Errorf("device %s has a link %q and HasLink %v", d.Name, d.Link.Name, d.HasLink())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	m.opts.Include = mustFilter(t, "true")
	for _, d := range m.scan() {
		if unsafe := d.Name == "pci-0000-b1-00-0"; d.Name != "lo" && unsafe != (d.Included != "") || unsafe && d.Skipped != "" {
			t.Errorf("--include=true: device %s is not offered because of %q, and included although %q", d.Name, d.Skipped, d.Included)
		}
	}
}

// TestFunctionAttributes checks that a device without an interface has every
// attribute that all devices have, and those of its function.
func TestFunctionAttributes(t *testing.T) {
	devices := map[string]Device{}
	for _, d := range hypervisor().scan() {
		devices[d.Name] = d
	}
	lo, vf := devices["lo"], devices["pci-0000-af-01-0"]
	for name := range lo.Attributes {
		if _, there := vf.Attributes[name]; !there {
			t.Errorf("no attribute %s", name)
		}
	}
	for name, want := range map[string]string{
		v1alpha1.AttributeIfName: "", v1alpha1.AttributeMAC: "", v1alpha1.AttributeType: "", v1alpha1.AttributeIPv4: "",
		v1alpha1.AttributePCIVendor: "0x8086", "resource.kubernetes.io/pciBusID": "0000:af:01.0",
	} {
		if a := vf.Attributes[resourceapi.QualifiedName(name)]; a.StringValue == nil || *a.StringValue != want {
			t.Errorf("attribute %s is %v, want %q", name, a, want)
		}
	}
	if a := vf.Attributes[v1alpha1.AttributeIsSRIOVVF]; a.BoolValue == nil || !*a.BoolValue {
		t.Errorf("isSriovVf is %v", a)
	}
	if diff := cmp.Diff(Function{Address: "0000:af:01.0", Driver: "vfio-pci", Group: "20"}, vf.Function); diff != "" {
		t.Errorf("function (-want +got):\n%s", diff)
	}
}

// TestFunctionNodes checks which character devices a container gets.
func TestFunctionNodes(t *testing.T) {
	want := map[string][]string{
		"pci-0000-af-01-0": {"/dev/vfio/vfio", "/dev/vfio/20"},
		"pci-0000-b1-00-0": {"/dev/vfio/vfio", "/dev/vfio/noiommu-24"},
		"pci-0000-c1-00-0": {"/dev/infiniband/uverbs1", "/dev/infiniband/issm0", "/dev/infiniband/umad0", "/dev/infiniband/rdma_cm"},
	}
	devices := hypervisor().scan()
	for name, nodes := range want {
		if diff := cmp.Diff(nodes, find(devices, name).Nodes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if rdma := find(devices, "pci-0000-c1-00-0").RDMA; rdma != "mlx5_1" {
		t.Errorf("RDMA device %q, want mlx5_1", rdma)
	}
}

// TestFunctionInPod checks that the function of an interface in a pod is no device
// of its own: its directory net stays, and is empty.
func TestFunctionInPod(t *testing.T) {
	m := hypervisor()
	m.links = m.links[:1]
	for name := range m.sys {
		if strings.Contains(name, "0000:c0:00.0/net/") {
			delete(m.sys, name)
		}
	}
	m.file("devices/"+root+"0000:c0:00.0/net/.keep", "") // a directory
	for _, d := range m.scan() {
		if d.Name == "pci-0000-c0-00-0" {
			t.Errorf("device %s is there without its interface", d.Name)
		}
	}
}

// TestCheck checks what becomes of a device when its function changes.
func TestCheck(t *testing.T) {
	const where = root + "0000:af:01.0"
	tests := map[string]struct {
		change func(*machine)
		want   string
	}{
		"nothing":        {func(*machine) {}, ""},
		"no driver":      {func(m *machine) { m.unbind(where, "vfio-pci") }, "PCI function 0000:af:01.0 has no driver now, it had vfio-pci"},
		"another driver": {func(m *machine) { m.unbind(where, "vfio-pci"); m.bind(where, "iavf", "") }, "PCI function 0000:af:01.0 has the driver iavf now, it had vfio-pci"},
		"gone": {func(m *machine) {
			for name := range m.sys {
				if strings.Contains(name, "0000:af:01.0") {
					delete(m.sys, name)
				}
			}
		}, "PCI function 0000:af:01.0 is gone"},
		"another group": {func(m *machine) { m.bind(where, "vfio-pci", "99") }, `PCI function 0000:af:01.0 is in the IOMMU group "99" now, it was in "20"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := hypervisor()
			d := find(m.scan(), "pci-0000-af-01-0")
			tt.change(m)
			got := ""
			if err := d.Check(m.sys); err != nil {
				got = err.Error()
			}
			if got != tt.want || m.opts.FunctionReason(m.links, m.sys, d) != tt.want {
				t.Errorf("got %q and %q, want %q", got, m.opts.FunctionReason(m.links, m.sys, d), tt.want)
			}
		})
	}
	m := hypervisor()
	d := find(m.scan(), "pci-0000-af-01-0")
	m.bind(root+"0000:b0:00.1", "xhci_hcd", "20")
	if got, want := m.opts.FunctionReason(m.links, m.sys, d), "its IOMMU group also has 0000:b0:00.1 (xhci_hcd)"; got != want {
		t.Errorf("group not viable any more: got %q, want %q", got, want)
	}
	m.opts.Filter = mustFilter(t, "false")
	if got := m.opts.FunctionReason(m.links, hypervisor().sys, d); got != "" {
		t.Errorf("filter: got %q, want none", got)
	}
	if err := (Device{Link: netdev.Link{Name: "eth1"}}).Check(m.sys); err != nil {
		t.Errorf("a device with an interface: %v", err)
	}
}

func find(devices []Device, name string) Device {
	for _, d := range devices {
		if d.Name == name {
			return d
		}
	}
	return Device{}
}
