package netdev

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// BPF programs on a link (XDP and tcx) move with it into the pod and, as the pod
// left them, back to the host, where they would see and change the host's traffic.
// They are detached before the settings are restored, in whose way they can be,
// and attached after them: a driver may refuse one with the pod's MTU or channels.
var programProperties = []property{
	{
		name:  "XDP and tcx programs",
		inPod: "as on the host; with `disableEbpfPrograms` none",
		after: "the host's; a pod's are detached. One that the pod detached and that nobody has open no longer exists, and is named in " +
			"the claim",
		phase: first, side: sideHost,
		read: func(r *reader, s *State) (err error) {
			s.Programs, err = r.programs(r.link)
			return err
		},
		want: func(want *State, _ State, c nic.Config) []string {
			want.NoPrograms = c.Interface.DisableEBPFPrograms != nil && *c.Interface.DisableEBPFPrograms
			return nil
		},
		steps: programSteps(func(n *NetNS, l Link, want []program) []failure {
			return n.changePrograms(l, want, n.detachProgram, func(Link, program) error { return nil })
		}),
	},
	{
		name: "XDP and tcx programs", phase: last, side: sideHost,
		steps: programSteps(func(n *NetNS, l Link, want []program) []failure {
			return n.changePrograms(l, want, n.detachProgram, func(l Link, p program) error { return n.attachProgram(l, p, before(want, p)) })
		}),
	},
}

// programSteps has no steps if the programs on the link are not known.
func programSteps(change func(n *NetNS, l Link, want []program) []failure) func(Link, State, State) []step {
	return func(l Link, _, want State) []step {
		if want.Programs == nil {
			return nil
		}
		return []step{{message: message{what: "set BPF programs"}, do: func(n *NetNS) outcome {
			return outcome{refused: change(n, l, want.Programs)}
		}}}
	}
}

// programs returns the programs on the link, by attach point, or nil if the kernel
// does not report them: this process may not be allowed to ask.
func (n *NetNS) programs(l Link) (all []program, err error) {
	known := false
	err = n.Within(func() { all, known = programsHere(l) })
	if !known {
		return nil, err
	}
	return all, err
}

// programsHere is programs in the thread's namespace.
func programsHere(l Link) (all []program, known bool) {
	all, known = append([]program{}, l.XDP...), true
	for name, h := range attachPoints {
		if h.tcx != 0 {
			more, err := tcx(name, h.tcx, l.Index)
			all, known = append(all, more...), known && err == nil
		}
	}
	slices.SortStableFunc(all, func(a, b program) int { return strings.Compare(a.Point, b.Point) })
	return all, known
}

// before returns the id of the program that is to run just before p at the same
// attach point, or 0.
func before(all []program, p program) uint32 {
	if i := slices.IndexFunc(all, p.same); i > 0 && all[i-1].Point == p.Point {
		return all[i-1].ID
	}
	return 0
}

// changePrograms detaches the programs that are not wanted, attaches those that
// are missing, and returns what failed.
func (n *NetNS) changePrograms(l Link, want []program, detach, attach func(Link, program) error) []failure {
	l, err := n.conn.linkByIndex(l.Index)
	var have []program
	if err == nil {
		have, err = n.programs(l)
	}
	if err == nil && have == nil {
		err = errors.New("the kernel does not report attached programs")
	}
	if err != nil {
		return []failure{{"list BPF programs", err}}
	}
	var refused []failure
	change := func(what string, these, but []program, f func(Link, program) error) {
		for _, p := range these {
			if slices.ContainsFunc(but, p.same) {
				continue
			}
			if err := f(l, p); err != nil {
				refused = append(refused, failure{fmt.Sprintf("%s %s program %d", what, p.Point, p.ID), err})
			}
		}
	}
	change("detach", have, want, detach)
	change("attach", want, have, attach)
	return refused
}
