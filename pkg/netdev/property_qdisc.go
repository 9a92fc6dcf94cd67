package netdev

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The kernel destroys a link's qdiscs, with all on them, when the link leaves its
// namespace, so a pod gets neither the host's nor leaves its own on the host. They
// are made again last: some need the host's channels.
var qdiscProperties = []property{{
	name: "qdiscs, classes, filters and their actions (`tc`)", inPod: "the kernel's default qdisc",
	after: "restored with their handles; what cannot be made again from what the kernel reports is refused, see `interface.allowLoss`",
	phase: last, side: sideHost,
	read: func(r *reader, s *State) error {
		all, losses, err := r.conn.trafficControl(r.link.Index)
		s.TC = all
		s.Losses = append(s.Losses, losses...)
		return err
	},
	want: func(want *State, _ State, _ nic.Config) []string {
		want.TC = nil
		return nil
	},
	steps: func(l Link, _, want State) []step {
		if len(want.TC) == 0 {
			return nil
		}
		return []step{{message: message{what: "restore traffic control"}, do: func(n *NetNS) outcome {
			refused, err := n.restoreTC(l.Index, want)
			if err != nil {
				refused = append(refused, failure{"restore traffic control", err})
			}
			return outcome{changed: true, refused: refused}
		}}}
	},
}}

var errNotAsBefore = errors.New("not as before")

// restoreTC makes the link's traffic control as recorded, and returns what is not.
// A tree of qdiscs that differs is made anew as a whole.
func (n *NetNS) restoreTC(index int, want State) ([]failure, error) {
	wanted := slices.Clone(want.TC)
	if k := (tcCleaner{from: uint32(want.Index), to: uint32(index)}); k.from != k.to {
		for i, o := range wanted {
			if o.Type == unix.RTM_NEWTFILTER {
				wanted[i], _ = k.filter(o)
			}
		}
	}
	have, _, err := n.conn.trafficControl(index)
	if err != nil || len(lacking(wanted, have)) == 0 {
		return nil, err
	}
	refused, err := n.conn.do(deleteTrees(index, have, wanted)...)
	if err != nil {
		return refused, err
	}
	// The filters of a shared block are there again, with the qdisc, if another link has it too.
	qdiscs, filters := split(wanted, func(o tcObject) bool { return o.Type == unix.RTM_NEWQDISC || o.Type == unix.RTM_NEWTCLASS })
	for _, these := range [][]tcObject{qdiscs, filters, nil} {
		if have, _, err = n.conn.trafficControl(index); err != nil {
			return refused, err
		}
		refused = append(refused, n.addTC(index, lacking(these, have))...)
	}
	for _, o := range lacking(wanted, have) {
		what := o.message(index).what
		if !slices.ContainsFunc(refused, func(f failure) bool { return f.what == what }) {
			refused = append(refused, failure{what, errNotAsBefore})
		}
	}
	return refused, nil
}

// addTC makes these objects and returns what failed.
func (n *NetNS) addTC(index int, objects []tcObject) (refused []failure) {
	var ms []message
	for _, o := range objects {
		withProgram, done, err := o.openProgram()
		if err != nil {
			refused = append(refused, failure{"add " + o.String(), err})
			continue
		}
		defer done()
		ms = append(ms, withProgram.message(index))
	}
	more, err := n.conn.do(ms...)
	if err != nil {
		more = append(more, failure{"restore traffic control", err})
	}
	return append(refused, more...)
}

// lacking returns the objects that the list does not have.
func lacking(all, list []tcObject) []tcObject {
	return slices.DeleteFunc(slices.Clone(all), func(o tcObject) bool { return slices.ContainsFunc(list, o.equal) })
}

// deleteTrees deletes the trees that the link has and that are to be others.
func deleteTrees(index int, have, want []tcObject) (ms []message) {
	for parent, inTree := range map[uint32]func(tcObject) bool{
		tcRoot:    func(o tcObject) bool { return !o.Block && !o.atIngress() },
		tcIngress: func(o tcObject) bool { return !o.Block && o.atIngress() },
	} {
		there := slices.IndexFunc(have, func(o tcObject) bool { return o.Type == unix.RTM_NEWQDISC && o.Parent == parent })
		wanted := slices.ContainsFunc(want, inTree)
		differs := slices.ContainsFunc(lacking(want, have), inTree) || slices.ContainsFunc(lacking(have, want), inTree)
		if there >= 0 && wanted && differs {
			ms = append(ms, have[there].deletion(index))
		}
	}
	return ms
}

// atIngress reports whether the object is an ingress or clsact qdisc or on one.
func (o tcObject) atIngress() bool {
	const major = tcIngress & tcMajor
	return o.Parent == tcIngress || o.Parent != tcRoot && (o.Parent&tcMajor == major || o.Handle&tcMajor == major && o.Type == unix.RTM_NEWQDISC)
}
