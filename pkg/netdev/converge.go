package netdev

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// apply gives a link of n all properties of a state, phase by phase. It returns
// what was refused and is no error. On the host it goes on after an error, as
// what can be restored is to be restored.
func (n *NetNS) apply(l Link, tag string, want State, at side) ([]failure, error) {
	var refused []failure
	var errs []error
	add := func(o outcome) {
		refused = append(refused, o.refused...)
		errs = append(errs, o.err)
	}
	var again []step
	for _, p := range properties {
		if p.adapt != nil && at == sideHost {
			add(p.adapt(n, l, &want))
		}
	}
	for _, p := range properties {
		if p.phase == first && p.on(at) {
			steps := p.steps(l, State{}, want)
			if n.run(steps).changed && p.again {
				again = append(again, steps...)
			}
		}
	}
	add(n.converge(l, tag, want, at))
	add(n.run(append(again, stepsOf(last, at, l, State{}, want)...)))
	return refused, join(errs...)
}

// rounds is how often converge sets what can be set at any time.
const rounds = 2

// converge makes a link of n as wanted: first what can be set at any time, in one
// batch that ends with its admin state, then what needs it up. In the pod the
// kernel's own routes are left as the addresses make them, except those that are
// wanted; on the host they are compared like all others, because someone may
// have changed them.
func (n *NetNS) converge(l Link, tag string, want State, at side) outcome {
	have, err := n.readAt(l, tag, want, at)
	if err != nil {
		return outcome{err: err}
	}
	var done outcome
	// A rename makes the kernel change the addresses' labels, so a second round
	// may have more to do.
	for range rounds {
		todo := stepsOf(settings, at, l, have, want)
		if len(todo) == 0 {
			done.err = nil
			break
		}
		done = n.run(todo) // what was refused is tried again, and reported once
		if done.err != nil && at == sidePod {
			return done
		}
		if l, err = n.conn.linkByIndex(l.Index); err == nil {
			have, err = n.readAt(l, tag, want, at)
		}
		if err != nil {
			return outcome{refused: done.refused, err: join(done.err, err)}
		}
	}
	late := n.run(stepsOf(linkUp, at, l, have, want))
	return outcome{refused: append(done.refused, late.refused...), err: join(done.err, late.err)}
}

// readAt is read, without what the kernel adds by itself in a pod.
func (n *NetNS) readAt(l Link, tag string, want State, at side) (State, error) {
	if at == sideHost {
		return n.read(l, tag, want, both)
	}
	s, err := n.read(l, tag, want, both, sidePod)
	return s.withoutKernels(want), err
}

// withoutKernels returns the state without what the kernel added by itself and
// that is not wanted: routes, and link-local addresses, which a kernel before 5.18
// does not mark.
func (s State) withoutKernels(want State) State {
	s.Routes = slices.DeleteFunc(slices.Clone(s.Routes), func(r Route) bool {
		return r.Protocol == unix.RTPROT_KERNEL && !slices.ContainsFunc(want.Routes, r.equal)
	})
	s.Addresses = slices.DeleteFunc(slices.Clone(s.Addresses), func(a Address) bool {
		return a.linkLocal6() && !want.has(a.Prefix.Addr())
	})
	return s
}

// checkIn returns an error that names the wanted settings which got, read in a
// pod, does not have.
func (s State) checkIn(got State) error {
	var errs []error
	s.Routes = slices.DeleteFunc(slices.Clone(s.Routes), func(r Route) bool { return r.Optional })
	s.Neighbors = slices.DeleteFunc(slices.Clone(s.Neighbors), func(n Neighbor) bool { return n.Optional })
	for _, when := range []phase{settings, linkUp} {
		for _, st := range stepsOf(when, sidePod, Link{Index: 1}, got, s) {
			if !st.optional && st.typ != unix.RTM_DELROUTE && st.typ != unix.RTM_DELNEIGH { // optional ones may be there too
				errs = append(errs, fmt.Errorf("not as wanted afterwards: %s", st.what))
			}
		}
	}
	return join(errs...)
}
