package inventory

import (
	"io/fs"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Reason returns why the link with this index must stay on the host now, in
// the words of Scan; empty if it need not. It is for a device that was offered
// before: it reads no attributes, and the filter, which decides what is
// offered, has no say. links are all of the host.
func (o Options) Reason(links []netdev.Link, sys fs.ReadLinkFS, index int) string {
	o.Filter = nil
	probes := make([]*probe, len(links))
	for i, l := range links {
		probes[i] = newProbe(l, sys)
	}
	s := newSurvey(probes, o)
	p := s.byIndex[index]
	if p == nil { // its upper devices, and what goes through it, are not known
		return "it has just appeared on the host and was not checked"
	}
	return s.reason(&Device{Link: p.link})
}
