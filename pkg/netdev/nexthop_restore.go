package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// While a link is in a pod its next hop objects do not exist, and the host may
// give their ids to objects of other links.

var errIDTaken = errors.New("the host has another next hop with this id")

// restorable returns the state with only those next hop objects that are still to
// be made on the link with this index, and without the routes whose objects cannot
// be restored, which it reports. It asks the kernel only if there are any.
func (c *conn) restorable(index int, want State) (State, []failure, error) {
	if len(want.NextHopObjects) == 0 {
		return want, nil, nil
	}
	now, err := c.nextHops()
	if err != nil {
		return want, nil, err
	}
	want, refused := want.missing(index, now)
	return want, refused, nil
}

// missing is restorable, given all next hop objects of the host.
func (s State) missing(index int, now map[uint32]nextHopObject) (State, []failure) {
	var refused []failure
	own, failed := map[uint32]bool{}, map[uint32]error{}
	recorded := s.NextHopObjects
	s.NextHopObjects = nil
	for _, w := range recorded { // groups are last
		ids, _ := w.members()
		own[w.ID] = ids == nil
		w.Link = index
		if ids != nil {
			w.Link = 0
		}
		n, there := now[w.ID]
		w.Reduced = there && ids != nil && n.equal(w.reduced(own))
		i := slices.IndexFunc(ids, func(id uint32) bool { return failed[id] != nil })
		switch {
		case i >= 0:
			failed[w.ID] = fmt.Errorf("its next hop id %d was not restored", ids[i])
		case there && n.Link == w.Link && n.equal(w): // exists already
		case there && !w.Reduced:
			failed[w.ID] = errIDTaken
		default:
			s.NextHopObjects = append(s.NextHopObjects, w)
		}
		if err := failed[w.ID]; err != nil {
			refused = append(refused, failure{w.add(), err})
		}
	}
	var routes []Route
	for _, r := range s.Routes {
		if failed[r.NextHopID] != nil {
			refused = append(refused, failure{"add route " + r.String(), fmt.Errorf("next hop id %d was not restored", r.NextHopID)})
			continue
		}
		routes = append(routes, r)
	}
	s.Routes = routes
	return s, refused
}

// reduced returns a group without these members, as the kernel leaves it when their
// link leaves the namespace.
func (h nextHopObject) reduced(without map[uint32]bool) nextHopObject {
	h.Attrs = slices.Clone(h.Attrs)
	for i, a := range h.Attrs {
		if a.Type != unix.NHA_GROUP {
			continue
		}
		var rest [][]byte
		for b := a.Value; len(b) >= sizeofMember; b = b[sizeofMember:] {
			if !without[u32(b)] {
				rest = append(rest, b[:sizeofMember])
			}
		}
		h.Attrs[i].Value = bytes.Join(rest, nil)
	}
	return h
}
