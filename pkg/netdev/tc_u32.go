package netdev

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Filters of kind u32 are in hash tables. The kernel makes a root table for each
// preference, and numbers it; others are made and numbered by somebody. A listing
// shows all tables of the preference that the qdisc has, also those of its other
// places: with one at ingress and one at egress, both are shown at both.

// Of linux/pkt_cls.h.
const (
	u32Hash    = 2          // TCA_U32_HASH
	u32Divisor = 4          // TCA_U32_DIVISOR
	u32Root    = 0xFFF00000 // TC_U32_ROOT, which stands for the root table in a request
	u32Table   = 0xFFF00000 // TC_U32_HTID, the table in a handle
)

// isTable reports whether the filter is a hash table.
func (o tcObject) isTable() bool { return o.Kind == kindU32 && find(o.options(), u32Divisor) != nil }

// u32Place is where filters of one preference are; or, with a table, that.
type u32Place struct {
	parent, info, chain, table uint32
	block                      bool
}

func (o tcObject) place() u32Place {
	return u32Place{parent: o.Parent, info: o.Info, chain: u32(find(o.Attrs, unix.TCA_CHAIN)), block: o.Block}
}

// tables returns what shares the numbers of tables with the place: a qdisc or a block.
func (p u32Place) tables(table uint32) u32Place {
	if !p.block {
		p.parent &= tcMajor
	}
	return u32Place{parent: p.parent, block: p.block, table: table & u32Table}
}

// u32Roots returns the number of the root table of each place of these filters.
func (c *conn) u32Roots(index int, filters []tcObject) (map[u32Place]uint32, error) {
	roots := map[u32Place]uint32{}
	for _, f := range filters {
		at := f.place()
		if _, known := roots[at]; known || f.Kind != kindU32 {
			continue
		}
		m := tcObject{Type: unix.RTM_NEWTFILTER, Handle: u32Root, Parent: f.Parent, Block: f.Block, Info: f.Info, Kind: f.Kind}.message(index)
		m.typ, m.flags = unix.RTM_GETTFILTER, 0
		m.body = append(m.body, attr(unix.TCA_CHAIN, nl.Uint32Attr(at.chain)))
		b, err := c.get(m)
		if err != nil {
			return nil, fmt.Errorf("get the root table of %s: %w", f, err)
		}
		root, _, err := decodeTC(unix.RTM_NEWTFILTER, b)
		if err != nil {
			return nil, err
		}
		roots[at] = root.Handle
	}
	return roots, nil
}

// rooted returns the filters without those of other places, and without the root
// tables: what is in one names it as the root.
func rooted(filters []tcObject, roots map[u32Place]uint32) (out []tcObject) {
	isRoot := map[u32Place]bool{}
	for at, table := range roots {
		isRoot[at.tables(table)] = true
	}
	owner := map[u32Place]u32Place{} // of the other tables: where they are listed first
	for _, f := range filters {
		at := f.place()
		table := at.tables(f.Handle)
		switch {
		case f.Kind != kindU32 || f.Handle == 0:
			out = append(out, f)
		case isRoot[table]:
			if root := roots[at]; f.Handle != root && f.Handle&u32Table == root&u32Table {
				out = append(out, f.inRoot())
			}
		default:
			if _, known := owner[table]; !known {
				owner[table] = at
			}
			if owner[table] == at {
				out = append(out, f)
			}
		}
	}
	return out
}

// inRoot returns a filter of the root table without the table's number.
func (o tcObject) inRoot() tcObject {
	options := o.options()
	for i, a := range options {
		if a.is(u32Hash) {
			options[i].Value = u32Bytes(u32Root)
		}
	}
	o.Handle &^= u32Table
	return o.withOptions(options)
}
