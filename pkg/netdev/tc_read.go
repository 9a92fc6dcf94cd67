package netdev

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// defaultWithFilters are the qdiscs that net.core.default_qdisc can name and that
// can have filters.
var defaultWithFilters = map[string]bool{"fq_codel": true, "sfq": true, "cake": true}

// trafficControl returns all that somebody made of a link's traffic control, each
// object after those that it needs, and what of it cannot be made again.
func (c *conn) trafficControl(index int) (all []tcObject, losses []loss, err error) {
	qdiscs, err := c.tcDump(unix.RTM_NEWQDISC, index, 0)
	if err != nil {
		return nil, nil, err
	}
	var parents []uint32 // what can have filters
	for _, q := range qdiscs {
		switch {
		case q.made() && q.Kind == kindClsact:
			parents = append(parents, tcAtIngress, tcAtEgress)
		case q.made():
			parents = append(parents, q.Handle)
		case q.Parent == tcRoot && defaultWithFilters[q.Kind]:
			parents = append(parents, 0)
		}
	}
	qdiscs = slices.DeleteFunc(qdiscs, func(q tcObject) bool { return !q.made() })
	var classes []tcObject
	if slices.ContainsFunc(qdiscs, func(q tcObject) bool { return classKinds[q.Kind] }) {
		classes, err = c.classes(index)
	}
	for _, o := range classes {
		parents = append(parents, o.Handle)
	}
	if err != nil || len(parents) == 0 {
		return nil, nil, err
	}
	filters, err := c.filters(index, parents)
	if err != nil {
		return nil, nil, err
	}
	if n := len(qdiscs) + len(classes) + len(filters); n > maxTCObjects {
		return nil, []loss{{nic.LossQdiscs, fmt.Sprintf("traffic control (%d objects, more than %d)", n, maxTCObjects)}}, nil
	}
	k := tcCleaner{from: uint32(index), to: uint32(index)}
	all = ordered(k.all(slices.Concat(qdiscs, classes)))
	for _, f := range k.all(filters) {
		if f.Block || f.Parent == 0 || slices.ContainsFunc(all, func(o tcObject) bool { return o.Handle&tcMajor == f.Parent&tcMajor }) {
			all = append(all, f)
		}
	}
	return all, k.losses, nil
}

// classes returns the classes that somebody made. Others are those that a qdisc has
// by itself, as the bands of prio.
func (c *conn) classes(index int) ([]tcObject, error) {
	all, err := c.tcDump(unix.RTM_NEWTCLASS, index, 0)
	all = slices.DeleteFunc(all, func(o tcObject) bool { return !classKinds[o.Kind] || o.Handle&^tcMajor == 0 }) // hfsc shows itself as class
	for i := range all {
		if all[i].Parent == tcRoot {
			all[i].Parent = all[i].Handle & tcMajor
		}
	}
	return all, err
}

// filters returns the chains and then the filters of these parents: chains that
// have a template, or no filter, and so were not made by a filter.
func (c *conn) filters(index int, parents []uint32) ([]tcObject, error) {
	var chains, filters []tcObject
	for _, parent := range parents {
		fs, err := c.tcDump(unix.RTM_NEWTFILTER, index, parent)
		if err != nil {
			return nil, err
		}
		cs, err := c.tcDump(unix.RTM_NEWCHAIN, index, parent)
		if err != nil {
			return nil, err
		}
		for _, o := range cs {
			if !o.Block {
				o.Parent = parent // instead of the qdisc
			}
			number := o.place().chain
			if o.Kind != "" || number != 0 && !slices.ContainsFunc(fs, func(f tcObject) bool { return f.place().chain == number }) {
				chains = addNew(chains, o)
			}
		}
		for _, f := range fs {
			filters = addNew(filters, f)
		}
	}
	roots, err := c.u32Roots(index, filters)
	if err != nil {
		return nil, err
	}
	filters = slices.DeleteFunc(rooted(filters, roots), func(f tcObject) bool {
		return f.Handle == 0 && find(f.Attrs, unix.TCA_OPTIONS) == nil // shows only that there are some
	})
	tables, others := split(filters, tcObject.isTable) // to which other filters link
	return slices.Concat(chains, tables, others), nil
}

func addNew(all []tcObject, o tcObject) []tcObject {
	if o.Block && slices.ContainsFunc(all, o.equal) { // at several places
		return all
	}
	return append(all, o)
}

func split[T any](all []T, first func(T) bool) (yes, no []T) {
	for _, t := range all {
		if first(t) {
			yes = append(yes, t)
		} else {
			no = append(no, t)
		}
	}
	return yes, no
}

func (o tcObject) options() []Attr {
	all, _ := rawAttrs(find(o.Attrs, unix.TCA_OPTIONS))
	return all
}

// withOptions returns a copy with these options.
func (o tcObject) withOptions(options []Attr) tcObject {
	o.Attrs = slices.Clone(o.Attrs)
	for i, a := range o.Attrs {
		if a.is(unix.TCA_OPTIONS) {
			o.Attrs[i].Value = encode(options)
		}
	}
	return o
}

// ordered returns qdiscs and classes with each after its parent, and without those
// whose parents are not there.
func ordered(all []tcObject) (out []tcObject) {
	has := func(list []tcObject, typ uint16, handle uint32) bool {
		return slices.ContainsFunc(list, func(o tcObject) bool { return o.Type == typ && o.Handle == handle })
	}
	ready := func(o tcObject) bool {
		major := o.Parent & tcMajor
		switch {
		case o.Type == unix.RTM_NEWQDISC && (o.Parent == tcRoot || o.Parent == tcIngress):
			return true
		case has(all, unix.RTM_NEWTCLASS, o.Parent): // all: those that are left
			return false
		}
		return has(out, unix.RTM_NEWQDISC, major)
	}
	for {
		now, later := split(all, ready)
		if len(now) == 0 {
			return out
		}
		slices.SortStableFunc(now, func(a, b tcObject) int { return int(int64(a.Handle) - int64(b.Handle)) })
		out, all = append(out, now...), later
	}
}
