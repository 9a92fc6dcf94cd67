package inventory

import (
	"fmt"
	"path"
	"strconv"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// relations are what a device's attributes say of other links and functions.
type relations struct {
	pfName  string // the link of the physical function of a virtual one
	vfIndex int    // its number, -1 if it is not known
	bond    string
}

// relate finds them.
func (s *survey) relate(p *probe) (r relations) {
	r.bond, r.vfIndex = s.bondOf(p.link), -1
	if p.physical == "" {
		return r
	}
	r.pfName = s.linkOf(p.physical)
	for i, vf := range s.virtualFunctions(p, p.physical) {
		if vf == p.function {
			r.vfIndex = i
		}
	}
	return r
}

// linkOf returns the name of a PCI function's own link on the host, also while that
// is in a pod, or "". Of several ports it is the first.
func (s *survey) linkOf(function string) string {
	for _, index := range s.functions[function] {
		if p := s.byIndex[index]; ownsFunction(p) {
			return p.link.Name
		}
	}
	for _, d := range s.opts.Held {
		if d.Link.Parent == function {
			return d.Link.Name
		}
	}
	return ""
}

// virtualFunctions returns the addresses of the virtual functions of a function, by
// their numbers. They are read once, through the probe of any link.
func (s *survey) virtualFunctions(p *probe, function string) []string {
	all, known := s.vfs[function]
	if !known {
		dir := path.Join("bus/pci/devices", function)
		n, _ := strconv.Atoi(p.readFile(path.Join(dir, "sriov_numvfs")))
		for i := range n {
			all = append(all, base(p.readLink(path.Join(dir, fmt.Sprintf("virtfn%d", i)))))
		}
		s.vfs[function] = all
	}
	return all
}

// bondOf returns the name of the bond or team that a link is, is a port of, or has
// as a lower link: each may have a lower link again, as a macvlan on a VLAN.
func (s *survey) bondOf(l netdev.Link) string {
	for range s.byIndex { // no more, should they form a ring
		switch {
		case isBond(l.Kind):
			return l.Name
		case isBond(l.MasterKind):
			l = netdev.Link{Lower: l.Master, LowerNetNSID: -1}
		}
		p := s.byIndex[l.Lower]
		if p == nil || l.LowerNetNSID != -1 || isPair(l.Kind) {
			return ""
		}
		l = p.link
	}
	return ""
}

func isBond(kind string) bool { return kind == "bond" || kind == "team" }
