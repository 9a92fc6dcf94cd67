package inventory

import (
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// Options are the inputs of a scan besides links and sysfs.
type Options struct {
	NodeAddresses []netip.Addr // of the Node object; links that have one of them are not offered
	Filter        *Filter      // the operator's filter, applied after the rules; nil for none
	Include       *Filter      // the operator's exceptions from the rules that have any; nil for none
	Multus        string       // resource name by which Multus finds PCI devices; empty for none
	Held          []Device     // devices with an allocation record: in a pod they are not among links, but may be a link's upper device or peer
}

// Scan returns a device for each link, and for each PCI function that is a
// network device without one, sorted by name; those that are not offered have a
// reason in Skipped. sys is the root of sysfs.
func Scan(links []netdev.Link, sys fs.ReadLinkFS, opts Options) []Device {
	probes := make([]*probe, len(links))
	for i, l := range links {
		probes[i] = newProbe(l, sys)
	}
	probes = append(probes, functionsWithoutLink(sys)...)
	names, s := deviceNames(probes), newSurvey(probes, opts)
	devices := make([]Device, len(probes))
	for at, i := range sortedBy(names) { // a device is large, and is not moved again
		p, d := probes[i], &devices[at]
		*d = Device{Name: names[i], Link: p.link, Attributes: attributesOf(p), PF: pfOf(p), Bandwidth: bandwidth(p), RDMA: p.rdmaDevice(), Nodes: p.rdmaNodes()}
		if !p.hasLink() {
			f := pciFunction{p}
			d.Function, d.RDMA, d.Nodes = f.describe(), f.rdmaDevice(), f.nodes()
		}
		addMultus(p, opts.Multus, d.Attributes)
		d.Skipped, d.Included = s.decide(d)
	}
	return devices
}

// sortedBy returns the indices of names, in the names' order.
func sortedBy(names []string) []int {
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	return order
}

// survey holds the relations between the links of a host.
type survey struct {
	opts    Options
	byIndex map[int]*probe
	uppers  map[int][]string // names of a link's upper links
	ports   map[int][]string // names of its ports
	uplinks map[int]string   // links that the node's own traffic uses, each with the name of the uplink that uses it
	lowers  map[int][]int    // the links that a link needs: its lower link, its ports, its physical function's links

	functions   map[string][]int    // the links of a PCI function
	withoutLink map[string]*probe   // the functions that are devices without a link
	vfs         map[string][]string // the virtual functions of a function, as far as they were asked for
}

func newSurvey(probes []*probe, opts Options) *survey {
	s := &survey{
		opts:    opts,
		byIndex: make(map[int]*probe, len(probes)),
		uppers:  map[int][]string{},
		ports:   map[int][]string{},
		uplinks: map[int]string{},
		lowers:  map[int][]int{},

		functions: map[string][]int{}, withoutLink: map[string]*probe{}, vfs: map[string][]string{},
	}
	all := probes
	for _, p := range all {
		p.readFunction()
		if !p.hasLink() {
			s.withoutLink[p.function] = p
		}
	}
	probes = slices.DeleteFunc(slices.Clone(probes), func(p *probe) bool { return !p.hasLink() })
	for _, p := range probes {
		s.byIndex[p.link.Index] = p
		if p.function != "" {
			s.functions[p.function] = append(s.functions[p.function], p.link.Index)
		}
	}
	for _, p := range probes {
		s.connect(p, s.functions[p.physical])
	}
	for _, p := range all {
		p.relations = s.relate(p)
	}
	for _, d := range opts.Held {
		// On the host it is among the links above; in a pod only its record has its lower link.
		if p := s.byIndex[d.Link.Index]; p == nil || p.link.Name != d.Link.Name {
			s.addUpper(d.Link)
		}
	}
	for _, p := range probes {
		if p.link.Uplink || s.mayBeUplink(p.link) || s.nodeAddress(p.link) != "" {
			s.markUplink(p.link.Index, p.link.Name)
		}
	}
	return s
}

// probeOf returns the probe of a device.
func (s *survey) probeOf(d *Device) *probe {
	if d.HasLink() {
		return s.byIndex[d.Link.Index]
	}
	return s.withoutLink[d.Function.Address]
}

// connect records which links a link needs. physical are the links of the
// physical function that the link's virtual function belongs to.
func (s *survey) connect(p *probe, physical []int) {
	l := p.link
	if l.Master != 0 {
		s.lowers[l.Master] = append(s.lowers[l.Master], l.Index)
		s.ports[l.Master] = append(s.ports[l.Master], l.Name)
	}
	if l.Lower != 0 && l.Lower != l.Index && l.LowerNetNSID == -1 {
		s.lowers[l.Index] = append(s.lowers[l.Index], l.Lower)
	}
	s.lowers[l.Index] = append(s.lowers[l.Index], physical...)
	s.addUpper(l)
}

// addUpper records a link as the upper link of its lower one, which cannot be
// moved without it. The two ends of a pair are each other's lower link, but not
// in this sense.
func (s *survey) addUpper(l netdev.Link) {
	if l.Lower != 0 && l.Lower != l.Index && l.LowerNetNSID == -1 && !isPair(l.Kind) {
		s.uppers[l.Lower] = append(s.uppers[l.Lower], l.Name)
	}
}

// markUplink marks a link and, recursively, all links that it needs.
func (s *survey) markUplink(index int, uplink string) {
	if _, seen := s.uplinks[index]; seen {
		return
	}
	s.uplinks[index] = uplink
	for _, lower := range s.lowers[index] {
		s.markUplink(lower, uplink)
	}
}

// mayBeUplink reports whether a link with a default route that is not the best
// one may be the node's own, because no address is known to find that by.
func (s *survey) mayBeUplink(l netdev.Link) bool {
	return l.HasRoute && len(s.opts.NodeAddresses) == 0
}

// nodeAddress returns the address of the node that a link has, or "".
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

// heldPair reports whether the peer of a link is a device with an allocation
// record. Such a peer may be in a pod without being the pod's own interface.
func (s *survey) heldPair(l netdev.Link) bool {
	for _, d := range s.opts.Held {
		if d.Link.Kind == l.Kind && d.Link.Lower == l.Index && d.Link.LowerNetNSID == -1 {
			return true
		}
	}
	return false
}
