package inventory

import (
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// functionBuses are the buses whose devices are PCI functions or are backed by
// one.
var functionBuses = []struct {
	bus   string
	names bool // there is one device per function, so the link is named after the function
}{
	{"pci", true},
	{"virtio", true},     // ls -l /sys/bus/virtio/devices
	{"auxiliary", false}, // scalable functions (mlx5_core.sf.4): many per function
}

var pciAddress = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$`)

// probe is a link together with the places in sysfs that describe it.
type probe struct {
	link     netdev.Link
	sys      fs.ReadLinkFS
	netDir   string // the link's directory in sysfs; empty if sysfs has none, or has another link of that name
	bus      string // of the parent device; empty for virtual links
	parent   string // name of the parent device on its bus
	function string // address of the PCI function that is the parent, or that backs it

	port *rdmaPort // once rdma was called

	// newSurvey sets what follows.
	physical  string // address of the PCI function that a virtual one belongs to
	vfs       int    // how many virtual functions the function has
	totalVFs  int    // how many it can have; 0 unless it is the link's own
	relations relations
}

// newProbe finds the PCI function of a link. Links without a parent are virtual;
// for them it does not read sysfs, because there may be a thousand.
func newProbe(l netdev.Link, sys fs.ReadLinkFS) *probe {
	p := &probe{link: l, sys: sys, bus: l.ParentBus, parent: l.Parent}
	if p.parent == "" {
		return p
	}
	p.netDir = path.Join("class/net", l.Name)
	if p.netFile("ifindex") != strconv.Itoa(l.Index) {
		p.netDir = "" // this sysfs was mounted in another network namespace and shows the links of that one
	}
	p.function = p.findFunction()
	return p
}

// readFunction reads what all need of the PCI function.
func (p *probe) readFunction() {
	if p.function == "" {
		return
	}
	p.physical = base(p.readLink(path.Join("bus/pci/devices", p.function, "physfn")))
	p.vfs = p.pciNumber("sriov_numvfs", 0)
	if ownsFunction(p) {
		p.totalVFs = p.pciNumber("sriov_totalvfs", 0)
	}
}

// ownsFunction reports whether the PCI function is the link's own: neither that of
// which it represents a part, nor that of its lower link.
func ownsFunction(p *probe) bool {
	return p.function != "" && p.link.Lower == 0 && namesFunction(p.bus) && !representor.MatchString(p.link.PortName)
}

// isPF reports whether the link is that of a function that can have virtual ones.
func isPF(p *probe) bool { return p.totalVFs > 0 }

// isVF reports whether the link is that of a virtual function.
func isVF(p *probe) bool { return p.physical != "" && ownsFunction(p) }

// parentPath returns the path of a file of the parent device.
func (p *probe) parentPath(name string) string {
	return path.Join("bus", p.bus, "devices", p.parent, name)
}

// findFunction returns the PCI function nearest to the parent on its path in
// /sys/devices, as 0000:00:03.0 in …/pci0000:00/0000:00:03.0/virtio2.
func (p *probe) findFunction() string {
	for _, b := range functionBuses {
		if b.bus != p.bus {
			continue
		}
		parts := strings.Split(p.readLink(path.Join("bus", p.bus, "devices", p.parent)), "/")
		for i := len(parts) - 1; i >= 0; i-- {
			if pciAddress.MatchString(parts[i]) {
				return parts[i]
			}
		}
	}
	if p.bus == "pci" && pciAddress.MatchString(p.parent) {
		return p.parent // the kernel named the parent; sysfs need not show it
	}
	return ""
}

// namesFunction reports whether links on this bus are named after their PCI
// function.
func namesFunction(bus string) bool {
	for _, b := range functionBuses {
		if b.bus == bus {
			return b.names
		}
	}
	return false
}

// pciFile returns the trimmed content of a file of the PCI function, or "" if
// there is none.
func (p *probe) pciFile(name string) string {
	return p.readFile(path.Join("bus/pci/devices", p.function, name))
}

// pciNumber returns the decimal number in a file of the PCI function, or other
// if there is none.
func (p *probe) pciNumber(name string, other int) int {
	n, err := strconv.Atoi(p.pciFile(name))
	if err != nil {
		return other
	}
	return n
}

// netFile returns the trimmed content of a file of the link itself, or "" if
// there is none or its driver does not implement it (EOPNOTSUPP).
func (p *probe) netFile(name string) string {
	if p.netDir == "" {
		return ""
	}
	return p.readFile(path.Join(p.netDir, name))
}

func (p *probe) readFile(name string) string {
	data, err := fs.ReadFile(p.sys, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func (p *probe) readLink(name string) string {
	target, err := p.sys.ReadLink(name)
	if err != nil {
		return ""
	}
	return target
}

// base is path.Base, but returns "" for the empty path.
func base(name string) string {
	if name == "" {
		return ""
	}
	return path.Base(name)
}
