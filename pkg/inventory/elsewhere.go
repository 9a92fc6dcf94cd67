package inventory

import (
	"fmt"
	"io/fs"
	"path"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// functionElsewhere returns the PCI address of a virtual function of the link's
// physical function that somebody uses where the host does not see it: it has a
// driver, but no link here. sysfs shows a function's link in the namespace of the
// link only. Whoever gets the physical function could change such a virtual
// function.
func (s *survey) functionElsewhere(l netdev.Link) string {
	p := s.byIndex[l.Index]
	if p == nil || p.function == "" || p.netDir == "" {
		return ""
	}
	dir := path.Join("bus/pci/devices", p.function)
	for n := range p.pciNumber("sriov_numvfs", 0) {
		vf := base(p.readLink(path.Join(dir, fmt.Sprintf("virtfn%d", n))))
		if vf == "" {
			continue
		}
		driver := base(p.readLink(path.Join("bus/pci/devices", vf, "driver")))
		links, _ := fs.ReadDir(p.sys, path.Join("bus/pci/devices", vf, "net"))
		if driver != "" && len(links) == 0 {
			return vf
		}
	}
	return ""
}

// usbDriver returns the driver of a link's USB function; empty if it has none.
func (s *survey) usbDriver(l netdev.Link) string {
	p := s.byIndex[l.Index]
	if p == nil || p.bus != "usb" {
		return ""
	}
	return base(p.readLink(path.Join("bus/usb/devices", p.parent, "driver")))
}
