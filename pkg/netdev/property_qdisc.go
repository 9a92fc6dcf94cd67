package netdev

import "github.com/dra-netdev/dra-netdev/pkg/netdev/nic"

// The kernel destroys a link's qdiscs, with all on them, when the link leaves its
// namespace. In the pod, and then on the host, it gives the link its default one.
var qdiscProperties = []property{{
	name: "qdiscs", inPod: "the kernel's default", after: "the kernel's default; an interface that has others is refused unless `interface.allowLoss` names `qdiscs`",
	phase: last, side: sideHost,
	read: func(r *reader, s *State) error {
		all, err := r.conn.qdiscs(r.link.Index)
		for _, q := range all {
			if q.made() {
				s.lost(nic.LossQdiscs, "%s", q)
			}
		}
		return err
	},
	steps: func(Link, State, State) []step { return nil },
}}
