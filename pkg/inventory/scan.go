package inventory

import (
	"io/fs"
	"net/netip"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Options is what a scan needs to know besides links and sysfs.
type Options struct {
	NodeAddresses []netip.Addr // by which Kubernetes knows this node: the links that carry them stay
	Filter        *Filter      // decides on top of the rules; nil for none
	Held          []Device     // promised to pods, and perhaps out of sight: what stands on a link, or is its other end
}

// Scan returns a device for each link, those that are not offered with the
// reason, sorted by name. sys is the root of sysfs.
func Scan(links []netdev.Link, sys fs.ReadLinkFS, opts Options) []Device {
	probes := make([]*probe, len(links))
	for i, l := range links {
		probes[i] = newProbe(l, sys)
	}
	names, s := deviceNames(probes), newSurvey(probes, opts)
	devices := make([]Device, len(probes))
	for i, p := range probes {
		d := Device{Name: names[i], Link: p.link, Attributes: attributesOf(p)}
		d.Skipped = s.reason(&d)
		devices[i] = d
	}
	sortDevices(devices)
	return devices
}

// survey is how the links of a host hang together.
type survey struct {
	opts    Options
	byIndex map[int]*probe
	uppers  map[int][]string // names of the links that stand on a link
	uplinks map[int]string   // links that the node's own traffic needs, each with the uplink that needs it
	beneath map[int][]int    // links that a link stands on: lower links, ports, physical function
}

func newSurvey(probes []*probe, opts Options) *survey {
	s := &survey{
		opts:    opts,
		byIndex: make(map[int]*probe, len(probes)),
		uppers:  map[int][]string{},
		uplinks: map[int]string{},
		beneath: map[int][]int{},
	}
	functions := map[string][]int{}
	for _, p := range probes {
		s.byIndex[p.link.Index] = p
		if p.function != "" {
			functions[p.function] = append(functions[p.function], p.link.Index)
		}
	}
	for _, p := range probes {
		s.connect(p, functions[p.physicalFunction()])
	}
	for _, d := range opts.Held {
		// At home it has been seen above; in a pod only the book knows what it stands on.
		if p := s.byIndex[d.Link.Index]; p == nil || p.link.Name != d.Link.Name {
			s.standsOn(d.Link)
		}
	}
	for _, p := range probes {
		if p.link.HasRoute || s.nodeAddress(p.link) != "" {
			s.markUplink(p.link.Index, p.link.Name)
		}
	}
	return s
}

// connect notes what a link stands on. physical are the links of the physical
// function that the link's virtual function belongs to.
func (s *survey) connect(p *probe, physical []int) {
	l := p.link
	if l.Master != 0 {
		s.beneath[l.Master] = append(s.beneath[l.Master], l.Index)
	}
	if l.Lower != 0 && l.Lower != l.Index && l.LowerNetNSID == -1 {
		s.beneath[l.Index] = append(s.beneath[l.Index], l.Lower)
	}
	s.beneath[l.Index] = append(s.beneath[l.Index], physical...)
	s.standsOn(l)
}

// standsOn notes a link that would be cut if its lower one went. The ends of a
// pair have each other for lower link and stand on nothing.
func (s *survey) standsOn(l netdev.Link) {
	if l.Lower != 0 && l.Lower != l.Index && l.LowerNetNSID == -1 && !isPair(l.Kind) {
		s.uppers[l.Lower] = append(s.uppers[l.Lower], l.Name)
	}
}

// markUplink marks a link and all it stands on, however deep.
func (s *survey) markUplink(index int, uplink string) {
	if _, seen := s.uplinks[index]; seen {
		return
	}
	s.uplinks[index] = uplink
	for _, lower := range s.beneath[index] {
		s.markUplink(lower, uplink)
	}
}

// nodeAddress returns the address of the node that a link carries, if any.
func (s *survey) nodeAddress(l netdev.Link) string {
	for _, prefix := range l.Addresses {
		for _, addr := range s.opts.NodeAddresses {
			if prefix.Addr().Unmap() == addr.Unmap().WithZone("") {
				return addr.String()
			}
		}
	}
	return ""
}

// heldPair says whether the other end of a pair is a device of ours: it may be
// in a pod, and is then no sign of a CNI.
func (s *survey) heldPair(l netdev.Link) bool {
	for _, d := range s.opts.Held {
		if d.Link.Kind == l.Kind && d.Link.Lower == l.Index && d.Link.LowerNetNSID == -1 {
			return true
		}
	}
	return false
}
