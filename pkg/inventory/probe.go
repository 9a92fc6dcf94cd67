package inventory

import (
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// functionBuses are the buses whose devices stand on a PCI function of their
// own or share one.
var functionBuses = []struct {
	bus   string
	names bool // one device per function, so the function names the link
}{
	{"pci", true},
	{"virtio", true},     // ls -l /sys/bus/virtio/devices
	{"auxiliary", false}, // scalable functions (mlx5_core.sf.4): many per function
}

var pciAddress = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$`)

// probe is a link together with where sysfs describes it.
type probe struct {
	link     netdev.Link
	sys      fs.ReadLinkFS
	netDir   string // the link's directory; empty where sysfs shows none or another link of that name
	bus      string // of the parent device; empty for virtual links
	parent   string // name of the parent device on its bus
	function string // address of the PCI function that is the parent, or that it stands on
}

// newProbe finds the parent of a link. Links with a kind and without a parent
// are virtual; sysfs is not asked about them, there may be a thousand.
func newProbe(l netdev.Link, sys fs.ReadLinkFS) *probe {
	p := &probe{link: l, sys: sys, bus: l.ParentBus, parent: l.Parent}
	if p.parent == "" && l.Kind != "" {
		return p
	}
	p.netDir = path.Join("class/net", l.Name)
	if p.netFile("ifindex") != strconv.Itoa(l.Index) {
		p.netDir = "" // sysfs of another network namespace: it shows the links of whoever mounted it
	}
	if p.parent == "" && p.netDir != "" { // kernels before 5.14 have no IFLA_PARENT_DEV_NAME
		p.parent = base(p.readLink(path.Join(p.netDir, "device")))
		p.bus = base(p.readLink(path.Join(p.netDir, "device/subsystem")))
	}
	p.function = p.findFunction()
	return p
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
		return p.parent // known from the kernel, whatever sysfs shows
	}
	return ""
}

func namesFunction(bus string) bool {
	for _, b := range functionBuses {
		if b.bus == bus {
			return b.names
		}
	}
	return false
}

// physicalFunction returns the PCI function that a virtual function belongs
// to, and nothing for any other.
func (p *probe) physicalFunction() string {
	if p.function == "" {
		return ""
	}
	return base(p.readLink(path.Join("bus/pci/devices", p.function, "physfn")))
}

// pciFile returns the content of a file of the PCI function, trimmed; empty if
// there is none.
func (p *probe) pciFile(name string) string {
	return p.readFile(path.Join("bus/pci/devices", p.function, name))
}

// pciNumber is pciFile for a decimal number, other if there is none.
func (p *probe) pciNumber(name string, other int) int {
	n, err := strconv.Atoi(p.pciFile(name))
	if err != nil {
		return other
	}
	return n
}

// netFile returns the content of a file of the link itself, trimmed; empty if
// there is none, or if its driver does not answer (EOPNOTSUPP).
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

// base is path.Base, but empty for the empty path.
func base(name string) string {
	if name == "" {
		return ""
	}
	return path.Base(name)
}
