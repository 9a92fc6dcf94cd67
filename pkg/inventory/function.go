package inventory

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Function is a PCI function that is a network device without a link: it is bound
// to a VFIO driver, or is an RDMA device without a network interface.
type Function struct {
	Address string `json:"address"`              // 0000:af:01.2
	Driver  string `json:"driver"`               // of the host's kernel
	Group   string `json:"iommuGroup,omitempty"` // its number in /dev/vfio; only of a VFIO driver
	NoIOMMU bool   `json:"noIOMMU,omitempty"`    // the group is one of VFIO's unsafe mode
}

// VFIO reports whether a process may get the function, as a virtual machine or DPDK.
func (f Function) VFIO() bool { return slices.Contains(vfioDrivers, f.Driver) }

// vfioDrivers hand a function to a process: vfio-pci, and drivers like it that can
// also migrate a device.
var vfioDrivers = []string{"vfio-pci", "mlx5_vfio_pci", "pds_vfio_pci", "virtio_vfio_pci"}

// networkClass is how the class of a network controller begins.
const networkClass = "0x02"

// HasLink reports whether the device has an interface.
func (d Device) HasLink() bool { return d.Function.Address == "" }

// String names the device for users: by its interface, or by its function.
func (d Device) String() string {
	if d.HasLink() {
		return "interface " + d.Link.Name
	}
	return "device " + d.Name + " (no interface, driver " + d.Function.Driver + ")"
}

// Check returns an error if a device without an interface is not what it was: its
// function was removed, or bound to another driver.
func (d Device) Check(sys fs.ReadLinkFS) error {
	p := functionAt(d.Function.Address, sys)
	now := p.describe()
	switch {
	case d.HasLink() || now == d.Function:
		return nil
	case !p.has(""):
		return fmt.Errorf("PCI function %s is gone", d.Function.Address)
	case now.Driver == "":
		return fmt.Errorf("PCI function %s has no driver now, it had %s", d.Function.Address, d.Function.Driver)
	case now.Driver != d.Function.Driver:
		return fmt.Errorf("PCI function %s has the driver %s now, it had %s", d.Function.Address, now.Driver, d.Function.Driver)
	}
	return fmt.Errorf("PCI function %s is in the IOMMU group %q now, it was in %q", d.Function.Address, now.Group, d.Function.Group)
}

// FunctionReason returns why a device without an interface that was offered cannot
// be given to a pod now, or "". Like Reason it ignores the filter. links are all
// links of the host.
func (o Options) FunctionReason(links []netdev.Link, sys fs.ReadLinkFS, d Device) string {
	if err := d.Check(sys); err != nil {
		return err.Error()
	}
	o.Filter = nil
	probes := []*probe{functionAt(d.Function.Address, sys).probe}
	for _, l := range links {
		probes = append(probes, newProbe(l, sys))
	}
	s := newSurvey(probes, o)
	why, _ := s.decide(&d)
	return why
}

// functionsWithoutLink returns the PCI functions that are network devices without
// a link. A function has a directory net for links in any network namespace, so
// that of a link in a pod is none of them.
func functionsWithoutLink(sys fs.ReadLinkFS) (all []*probe) {
	var found []string
	for _, driver := range vfioDrivers {
		for _, name := range (&probe{sys: sys}).list(path.Join("bus/pci/drivers", driver)) {
			if pciAddress.MatchString(name) && strings.HasPrefix(functionAt(name, sys).pciFile("class"), networkClass) {
				found = append(found, name)
			}
		}
	}
	for _, name := range (&probe{sys: sys}).list("class/infiniband") {
		at, _ := sys.ReadLink(path.Join("class/infiniband", name)) // …/0000:3b:00.0/infiniband/mlx5_0
		if parent := path.Base(path.Dir(path.Dir(at))); pciAddress.MatchString(parent) {
			found = append(found, parent)
		}
	}
	slices.Sort(found)
	for _, address := range slices.Compact(found) {
		if p := functionAt(address, sys); !p.has("net") {
			all = append(all, p.probe)
		}
	}
	return all
}

// pciFunction is the probe of a function, with a link or without.
type pciFunction struct{ *probe }

// functionAt returns a function, without its link.
func functionAt(address string, sys fs.ReadLinkFS) pciFunction {
	return pciFunction{&probe{sys: sys, bus: "pci", parent: address, function: address}}
}

// hasLink reports whether the probe is of a link.
func (p *probe) hasLink() bool { return p.link.Index != 0 }

// describe returns the function of the probe as it is now.
func (p pciFunction) describe() Function {
	f := Function{Address: p.function, Driver: base(p.readLink(p.path("driver")))}
	if f.VFIO() {
		f.Group = base(p.readLink(p.path("iommu_group")))
		f.NoIOMMU = p.readFile(path.Join("kernel/iommu_groups", f.Group, "name")) == "vfio-noiommu"
	}
	return f
}

// path returns where a file of the function is.
func (p pciFunction) path(name string) string { return path.Join("bus/pci/devices", p.function, name) }

// has reports whether the function has a file, or is there at all.
func (p pciFunction) has(name string) bool {
	_, err := fs.Stat(p.sys, p.path(name))
	return err == nil
}

// vfioDir is where the kernel makes the character devices of VFIO.
const vfioDir = "/dev/vfio"

// rdmaDevice returns the name of the function's first RDMA device, or "".
func (p pciFunction) rdmaDevice() string {
	for _, name := range p.parentDir("infiniband") {
		return name
	}
	return ""
}

// nodes returns the character devices by which a program uses a function
// without a link: those of its IOMMU group, or those of its RDMA devices.
func (p pciFunction) nodes() (nodes []string) {
	if f := p.describe(); f.VFIO() {
		if f.NoIOMMU {
			f.Group = "noiommu-" + f.Group
		}
		return []string{path.Join(vfioDir, "vfio"), path.Join(vfioDir, f.Group)}
	}
	for _, class := range []string{"infiniband_verbs", "infiniband_mad"} {
		for _, name := range p.parentDir(class) {
			nodes = append(nodes, path.Join(nodeDir, name))
		}
	}
	if len(nodes) > 0 && len(p.list("class/misc/rdma_cm")) > 0 {
		nodes = append(nodes, path.Join(nodeDir, "rdma_cm"))
	}
	return nodes
}

// groupMates returns the other functions of an IOMMU group that keep it from being
// given to a pod, each with its driver. Whoever has a group can use all functions in
// it that are bound to VFIO, and the kernel gives away no group in which a driver of
// its own is at work. Bridges and functions without a driver do no harm.
func (s *survey) groupMates(d *Device) (mates []string) {
	if d.Function.Group == "" {
		return nil
	}
	p := s.probeOf(d)
	for _, name := range p.list(path.Join("kernel/iommu_groups", d.Function.Group, "devices")) {
		other := functionAt(name, p.sys)
		driver := base(other.readLink(other.path("driver")))
		bridge := strings.HasPrefix(other.pciFile("class"), "0x06")
		if name != d.Function.Address && !bridge && driver != "" && driver != "pci-stub" {
			mates = append(mates, fmt.Sprintf("%s (%s)", name, driver))
		}
	}
	return mates
}
