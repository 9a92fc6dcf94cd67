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

// deviceNames returns a device name for each probe. Hardware is named after its
// PCI function and port, which stay the same when the link is renamed or moved;
// any other link after its own name. Links that would get the same name, such
// as the ports of a function whose driver does not number them, are named after
// their own names too.
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
		if count[names[i]] > 1 && p.hasLink() {
			names[i] = linkLabel(p.link.Name)
		}
	}
	return names
}

// functionName returns "pci-0000-3b-00-0" for the first port of that PCI
// function, with "-port-N" for the others and for the representors of its
// virtual functions. It is empty for a link that does not itself belong to a
// function: one without a function, or one that has a lower link.
func functionName(p *probe) string {
	if p.function == "" || p.link.Lower != 0 || !namesFunction(p.bus) {
		return ""
	}
	name := "pci-" + strings.NewReplacer(":", "-", ".", "-").Replace(p.function)
	if port := p.link.PortName; representor.MatchString(port) {
		return name + "-port-" + port
	}
	if port, err := strconv.ParseUint(p.netFile("dev_port"), 0, 16); err == nil && port > 0 {
		return name + "-port-" + strconv.FormatUint(port, 10)
	}
	return name
}

// linkLabel returns a DNS label for a link's name: the name itself if it is one,
// else "net-" and its bytes in base32. Different names get different labels, and
// no label looks like that of a PCI function.
func linkLabel(name string) string {
	if dnsLabel.MatchString(name) && !strings.HasPrefix(name, "net-") && !strings.HasPrefix(name, "pci-") {
		return name
	}
	return "net-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(name)))
}
