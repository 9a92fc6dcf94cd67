package inventory

import (
	"encoding/base32"
	"regexp"
	"strconv"
	"strings"
)

var (
	dnsLabel    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	representor = regexp.MustCompile(`^(c\d{1,2})?pf\d{1,2}([vs]f\d{1,5})?$`)
)

// deviceNames names one device per probe. Hardware is named by its PCI
// function and port, which hold while the link is renamed or away; any other
// link by its own name. Links that would still get one name, as the ports of a
// function whose driver does not number them, go by their own names too.
func deviceNames(probes []*probe) []string {
	names, count := make([]string, len(probes)), make(map[string]int, len(probes))
	for i, p := range probes {
		names[i] = functionName(p)
		if names[i] == "" {
			names[i] = linkLabel(p.link.Name)
		}
		count[names[i]]++
	}
	for i, p := range probes {
		if count[names[i]] > 1 {
			names[i] = linkLabel(p.link.Name)
		}
	}
	return names
}

// functionName returns "pci-0000-3b-00-0" for the first port of that PCI
// function, with "-port-N" for the others and for the representors of its
// virtual functions. It is empty for a link that is not the function's own:
// one without a function, or one that stands on another link.
func functionName(p *probe) string {
	if p.function == "" || p.link.Lower != 0 || !namesFunction(p.bus) {
		return ""
	}
	name := "pci-" + strings.NewReplacer(":", "-", ".", "-").Replace(p.function)
	if port := p.netFile("phys_port_name"); representor.MatchString(port) {
		return name + "-port-" + port
	}
	if port, err := strconv.ParseUint(p.netFile("dev_port"), 0, 16); err == nil && port > 0 {
		return name + "-port-" + strconv.FormatUint(port, 10)
	}
	return name
}

// linkLabel makes a DNS label of a link's name: the name itself where it is
// one, else its bytes in base32. No two names get one label, and no label is
// that of a PCI function.
func linkLabel(name string) string {
	if dnsLabel.MatchString(name) && !strings.HasPrefix(name, "net-") && !strings.HasPrefix(name, "pci-") {
		return name
	}
	return "net-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(name)))
}
