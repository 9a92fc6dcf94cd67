package inventory

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// usedElsewhere returns the virtual functions of a link's PCI function that
// somebody uses, each with its driver: a virtual machine (vfio-pci), or another
// network namespace that has its link. sysfs shows neither of them (net/ lists
// only links of its own namespace), but a function without a driver is in
// nobody's use.
func (s *survey) usedElsewhere(p *probe) []string {
	if p.function == "" {
		return nil
	}
	var used []string
	for _, vf := range s.virtualFunctions(p, p.function) {
		driver := base(p.readLink(path.Join("bus/pci/devices", vf, "driver")))
		if vf != "" && driver != "" && len(s.functions[vf]) == 0 {
			used = append(used, fmt.Sprintf("%s (%s)", vf, driver))
		}
	}
	return used
}

// receivers describes for whom a link receives besides the host's own
// namespace. Its upper devices there are in the survey.
func receivers(l netdev.Link) (what string, out bool) {
	var addresses []string
	for _, a := range l.Unicast {
		addresses = append(addresses, a.String())
	}
	switch {
	case len(addresses) > 0:
		return "hardware address " + some(addresses), true
	case l.Promiscuity > 0:
		return fmt.Sprintf("promiscuity %d", l.Promiscuity), true
	}
	return "", false
}

// bmcVendors are the makers of BMCs (server management controllers) whose USB
// device is a network interface of the host, by idVendor, which is not unique to
// BMCs. The driver alone does not tell: phones and adapters have it too.
var bmcVendors = map[string]string{
	"03f0": "HP",
	"046b": "American Megatrends",
	"04b3": "IBM",
	"0525": "Netchip",          // what Linux' USB gadgets have by default
	"1d6b": "Linux Foundation", // gadgets of OpenBMC
	"413c": "Dell",
}

// usbEthernet are the drivers of USB devices that are an Ethernet link to a
// computer and not an adapter.
var usbEthernet = []string{"cdc_eem", "cdc_ether", "cdc_ncm", "cdc_subset", "rndis_host"}

// bmcVendor returns the maker of the BMC that a link leads to.
func (p *probe) bmcVendor() (vendor string, found bool) {
	if p.bus != "usb" || !slices.Contains(usbEthernet, base(p.readLink(path.Join("bus/usb/devices", p.parent, "driver")))) {
		return "", false
	}
	device, _, _ := strings.Cut(p.parent, ":") // 1-1.2 of its interface 1-1.2:1.0
	vendor, found = bmcVendors[p.readFile(path.Join("bus/usb/devices", device, "idVendor"))]
	return vendor, found
}

func bmcDoc() string {
	return fmt.Sprintf("a USB device with the driver %s, of %s", strings.Join(usbEthernet, ", "), strings.Join(slices.Sorted(maps.Values(bmcVendors)), ", "))
}
