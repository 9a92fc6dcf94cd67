package inventory

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev"
)

// VFCounts are how many virtual functions the physical ones are to have. It is the
// value of a flag that can be repeated, each time SELECTOR=COUNT; the first selector
// that matches a physical function counts.
type VFCounts []vfCount

type vfCount struct {
	text     string
	selector *Filter
	count    int
}

// Set adds SELECTOR=COUNT. The selector is as for NewFilter.
func (c *VFCounts) Set(text string) error {
	at := strings.LastIndex(text, "=") // a selector may have some
	if at < 0 {
		return fmt.Errorf("%q: must be SELECTOR=COUNT", text)
	}
	count, err := strconv.ParseUint(strings.TrimSpace(text[at+1:]), 10, 16)
	if err != nil {
		return fmt.Errorf("%q: the count %q must be a number from 0 to 65535", text, text[at+1:])
	}
	selector, err := NewFilter(text[:at])
	if err == nil && selector == nil {
		err = fmt.Errorf("%q: no selector", text)
	}
	if err != nil {
		return err
	}
	*c = append(*c, vfCount{text, selector, int(count)})
	return nil
}

// String returns what was set.
func (c *VFCounts) String() string {
	var all []string
	for _, count := range *c {
		all = append(all, count.text)
	}
	return strings.Join(all, ", ")
}

// Type is what a flag's value is called in its help.
func (c *VFCounts) Type() string { return "SELECTOR=COUNT" }

// VFChange is a physical function that does not have as many virtual functions as it
// is to have.
type VFChange struct {
	Link       netdev.Link
	Have, Want int
	InUse      string // why the number cannot be changed; empty: it can
}

// String names the physical function and both numbers.
func (c VFChange) String() string {
	return fmt.Sprintf("%s (%s) has %d virtual functions, want %d", c.Link.Name, c.Link.Parent, c.Have, c.Want)
}

// Plan returns what is to be changed. It is an error that a physical function cannot
// have as many.
func (c VFCounts) Plan(links []netdev.Link, sys fs.ReadLinkFS, opts Options) (changes []VFChange, err error) {
	if len(c) == 0 {
		return nil, nil
	}
	probes := make([]*probe, len(links))
	for i, l := range links {
		probes[i] = newProbe(l, sys)
	}
	s := newSurvey(probes, opts)
	for _, p := range probes {
		if p.bus != "pci" || !isPF(p) || p.netFile("dev_port") > "0" { // of several ports the first
			continue
		}
		d := Device{Link: p.link, Attributes: attributesOf(p)}
		i := slices.IndexFunc(c, func(c vfCount) bool { return c.selector.matches(&d) })
		if i < 0 {
			continue
		}
		if c[i].count > p.totalVFs {
			return nil, fmt.Errorf("%q: %s (%s) can have %d virtual functions at most, not %d", c[i].text, p.link.Name, p.function, p.totalVFs, c[i].count)
		}
		change := VFChange{Link: p.link, Have: p.vfs, Want: c[i].count}
		if change.Have != change.Want {
			change.InUse = some(usedFunctions(s, p))
			changes = append(changes, change)
		}
	}
	return changes, nil
}

// usedFunctions returns those of a physical function and its virtual ones that
// somebody uses, each with how.
func usedFunctions(s *survey, p *probe) (used []string) {
	held := map[string]bool{}
	for _, d := range s.opts.Held {
		held[d.function()] = true
	}
	if held[p.function] {
		used = append(used, p.function+" (allocated)")
	}
	used = append(used, s.usedElsewhere(p)...)
	for _, vf := range s.virtualFunctions(p, p.function) {
		if held[vf] {
			used = append(used, vf+" (allocated)")
		}
		for _, index := range s.functions[vf] {
			if how := usedOnHost(s, s.byIndex[index].link); how != "" {
				used = append(used, fmt.Sprintf("%s (%s)", vf, how))
			}
		}
	}
	return used
}

// usedOnHost returns how the host uses a link, or "".
func usedOnHost(s *survey, l netdev.Link) string {
	_, uplink := s.uplinks[l.Index]
	_, receives := receivers(l)
	switch {
	case uplink, l.HasRoute, l.PolicyTable != 0:
		return l.Name + ": has a default route"
	case len(l.Addresses) > 0:
		return l.Name + ": has addresses"
	case l.Master != 0:
		return l.Name + ": is a port"
	case len(s.uppers[l.Index]) > 0:
		return l.Name + ": has upper interfaces"
	case receives:
		return l.Name + ": receives for others"
	}
	return ""
}
