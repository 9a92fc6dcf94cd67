package netdev

import (
	"fmt"
	"slices"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The permanent neighbors.
var neighborProperties = []property{{
	name: "permanent neighbors", inPod: "as on the host; the config's replace those of the same address",
	phase: linkUp,
	read: func(r *reader, s *State) (err error) {
		s.Neighbors, err = r.conn.neighbors(s.Index)
		return err
	},
	want:  wantNeighbors,
	check: checkNeighbors,
	adapt: func(_ *NetNS, _ Link, want *State) outcome {
		want.Neighbors = slices.Clone(want.Neighbors)
		for i := range want.Neighbors {
			want.Neighbors[i].Optional = true
		}
		return outcome{}
	},
	steps: func(l Link, have, want State) []step {
		return listSteps(l, have.Neighbors, want.Neighbors, Neighbor.equal, Neighbor.message)
	},
}}

// wantNeighbors keeps the host's permanent neighbors, and replaces them by the
// config's.
func wantNeighbors(want *State, original State, c nic.Config) []string {
	want.Neighbors = nil
	for _, n := range original.Neighbors {
		if !slices.ContainsFunc(c.Neighbors, func(u nic.Neighbor) bool { return u.Destination == n.Address }) {
			n.Optional = true
			want.Neighbors = append(want.Neighbors, n)
		}
	}
	for _, u := range c.Neighbors {
		want.Neighbors = append(want.Neighbors, Neighbor{Address: u.Destination, MAC: u.HardwareAddr})
	}
	return nil
}

func checkNeighbors(l Link, want State, c nic.Config, add fault) {
	for i, n := range c.Neighbors {
		field := fmt.Sprintf("neighbors[%d]", i)
		if len(n.HardwareAddr) != len(l.MAC) {
			add(field+".hardwareAddr", n.HardwareAddr, "must have %d bytes as the interface's own, has %d", len(l.MAC), len(n.HardwareAddr))
		}
		if why := want.no6(n.Destination); why != "" {
			add(field+".destination", n.Destination, "%s", why)
		}
	}
}
