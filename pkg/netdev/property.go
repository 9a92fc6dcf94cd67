package netdev

import (
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// property is one property of a link. Whatever Read, Desired, Attach and Detach
// do with a link's state, they do row by row. A new property is a file with a
// row, a field of State, and a field of the config if a claim can set it.
type property struct {
	name  string // for docs/configuration.md, as the next two
	inPod string // its value in the pod; empty: as on the host
	after string // its value on the host after the detach; empty: restored
	phase phase
	side  side
	// read reads it into the state; nil if it comes with the link. A row of
	// sideHost is read for the original state only, one of sidePod in the pod only.
	read func(*reader, *State) error
	// want applies the config to want, and returns in words what of the original
	// state stays out of the pod. nil keeps the original value.
	want func(want *State, original State, c nic.Config) (omitted []string)
	// check adds each reason why the link cannot have state want, which config c
	// asks for, in a pod: what the kernel would refuse only there. nil: anything
	// goes.
	check func(l Link, want State, c nic.Config, add fault)
	// adapt fits a state that is about to be restored to what the host allows
	// now, and returns what it takes out of it. nil keeps all.
	adapt func(n *NetNS, l Link, want *State) outcome
	// steps returns what turns have into want. It is pure; have is empty in the
	// phases first and last, whose steps look for themselves.
	steps func(l Link, have, want State) []step
	// again means that the steps are repeated in the phase last if they had
	// anything to change in the phase first.
	again bool
}

// phase is when a property is set.
type phase uint8

const (
	settings phase = iota // at any time
	linkUp                // while the link is up
	first                 // before the settings, in whose way it can be. Refusals are not reported: it is set in last too
	last                  // after all others
)

// side is where a property is set, and where a link is.
type side uint8

const (
	both side = iota
	sideHost
	sidePod
)

func (p property) on(at side) bool { return p.side == both || p.side == at }

// properties are all of them, in the order in which they are set in a phase.
var properties = slices.Concat(
	nameProperties,
	vfProperties,
	linkProperties, preservedProperties, sizeProperties,
	ipProperties, sysctlProperties,
	vrfProperties,
	addressProperties,
	altNameProperties,
	bandwidthProperties,
	upProperties,
	lateAddressProperties,
	routeProperties,
	ruleProperties,
	neighborProperties,
	programProperties,
	hardwareProperties, ethtoolProperties,
	qdiscProperties,
	hostOnlyProperties, queueProperties,
	rdmaProperties,
)

// step is one request to the kernel: a message, which is sent together with
// those before and after it, or do.
type step struct {
	message
	do func(*NetNS) outcome
}

// outcome is what came of steps.
type outcome struct {
	changed bool      // there was anything to change
	refused []failure // what failed and is reported, but is no error
	err     error
}

func messages(ms ...message) []step {
	steps := make([]step, 0, len(ms))
	for _, m := range ms {
		steps = append(steps, step{message: m})
	}
	return steps
}

// stepsOf returns the steps of a phase that turn have into want.
func stepsOf(when phase, at side, l Link, have, want State) []step {
	var all []step
	for _, p := range properties {
		if p.phase == when && p.on(at) {
			all = append(all, p.steps(l, have, want)...)
		}
	}
	return all
}

// run takes the steps in their order. One that fails does not stop the others.
func (n *NetNS) run(steps []step) outcome {
	var all outcome
	var errs []error
	add := func(o outcome) {
		all.changed = all.changed || o.changed
		all.refused = append(all.refused, o.refused...)
		errs = append(errs, o.err)
	}
	for len(steps) > 0 {
		if steps[0].do != nil {
			add(steps[0].do(n))
			steps = steps[1:]
			continue
		}
		var batch []message
		for len(steps) > 0 && steps[0].do == nil {
			batch, steps = append(batch, steps[0].message), steps[1:]
		}
		refused, err := n.conn.do(batch...)
		add(outcome{changed: true, refused: refused, err: err})
	}
	all.err = join(errs...)
	return all
}

// listSteps removes what is not wanted and then adds what is missing.
func listSteps[T any](l Link, have, want []T, equal func(T, T) bool, request func(T, int, bool) message) []step {
	in := func(list []T, t T) bool { return slices.ContainsFunc(list, func(o T) bool { return equal(t, o) }) }
	var ms []message
	for _, t := range have {
		if !in(want, t) {
			ms = append(ms, request(t, l.Index, false))
		}
	}
	for _, t := range want {
		if !in(have, t) {
			ms = append(ms, request(t, l.Index, true))
		}
	}
	return messages(ms...)
}
