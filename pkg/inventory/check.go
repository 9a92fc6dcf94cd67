package inventory

import (
	"io/fs"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Reason returns why the link with this index must stay on the host now, with
// the same texts as Scan, or "" if it can be moved. It is for a device that was
// offered before, so it ignores the filter, which only decides what is offered.
// What Include names is excepted from the same rules as there. links are all
// links of the host.
func (o Options) Reason(links []netdev.Link, sys fs.ReadLinkFS, index int) string {
	o.Filter = nil
	probes := make([]*probe, len(links))
	for i, l := range links {
		probes[i] = newProbe(l, sys)
	}
	s := newSurvey(probes, o)
	p := s.byIndex[index]
	if p == nil { // not in the list, so its upper devices and its routes are unknown
		return "it has just appeared on the host and was not checked"
	}
	d := Device{Link: p.link}
	if o.Include != nil { // it needs them
		d.Attributes, d.Bandwidth = attributesOf(p), bandwidth(p)
	}
	why, _ := s.decide(&d)
	return why
}
