package netdev

import "github.com/dra-netdev/dra-netdev/pkg/netdev/nic"

// A link's RDMA device moves after the link and returns before it, each by a
// request of its own (rdma.go); here is what remains to be done on the host.
//
// The link goes first because its move is the one that fails, and that of the
// device is the one that cannot be undone for its users: all that programs have
// opened of it ends. The link returns last because it has the tag, and what has
// the tag is not restored yet.
var rdmaProperties = []property{{
	name: "RDMA device, in exclusive mode (`rdma system`)", inPod: "moves with the interface, unless it has several ports", phase: last, side: sideHost,
	want: func(_ *State, original State, _ nic.Config) (omitted []string) {
		if d := original.RDMA; d != nil && d.Stays != "" {
			omitted = append(omitted, "RDMA device "+d.Name+": "+d.Stays)
		}
		return omitted
	},
	steps: func(l Link, _, want State) []step {
		if !want.RDMA.Moves() {
			return nil
		}
		return []step{{message: message{what: "RDMA device"}, do: func(n *NetNS) outcome { return n.restoreRDMA(l, *want.RDMA) }}}
	},
}}
