package netdev

import "slices"

// hostOnly is what serves the host's own network, so that a pod does not get it.
type hostOnly struct {
	Neigh         map[string]string `json:"neigh,omitempty"` // settings of the neighbor tables, by neighFiles
	Proxies       []proxyNeighbor   `json:"proxies,omitempty"`
	LinkAddresses []linkAddress     `json:"linkAddresses,omitempty"`
}

// What the kernel keeps for a link and removes, or replaces by the defaults of the
// namespace, when the link leaves it.
var hostOnlyProperties = []property{
	{
		name: "settings of neighbor tables (/proc/sys/net/ipv4/neigh, ipv6/neigh)", phase: last, side: sideHost,
		read: func(r *reader, s *State) (err error) {
			s.HostOnly.Neigh, err = r.neighSettings(r.link.Name)
			return err
		},
		steps: func(l Link, _, want State) []step {
			return []step{{message: message{what: "settings of the neighbor tables"}, do: func(n *NetNS) outcome {
				return n.setNeighSettings(l.Name, want.HostOnly.Neigh)
			}}}
		},
	},
	{
		name: "proxy neighbors", inPod: absent, phase: last, side: sideHost,
		read: func(r *reader, s *State) (err error) {
			s.HostOnly.Proxies, err = r.conn.proxyNeighbors(s.Index)
			return err
		},
		steps: onHost("proxy neighbors", func(n *NetNS, l Link, want State) ([]step, error) {
			have, err := n.conn.proxyNeighbors(l.Index)
			return missing(have, want.HostOnly.Proxies, proxyNeighbor.equal, func(p proxyNeighbor) step {
				m := p.message(l.Index)
				m.optional = true
				return step{message: m}
			}), err
		}),
	},
	{
		name: "permanent FDB entries (`bridge fdb … self`), multicast addresses added by hand (`ip maddress`)", inPod: absent, phase: last, side: sideHost,
		read: func(r *reader, s *State) (err error) {
			s.HostOnly.LinkAddresses, err = r.linkAddresses(r.link)
			return err
		},
		steps: onHost("FDB entries", func(n *NetNS, l Link, want State) ([]step, error) {
			have, err := n.linkAddresses(l)
			steps := missing(have, want.HostOnly.LinkAddresses, linkAddress.equal, func(a linkAddress) step { return a.step(l, true) })
			if l.Kind == "vxlan" { // the move removes no entry of its own database
				steps = append(missing(want.HostOnly.LinkAddresses, have, linkAddress.equal, func(a linkAddress) step { return a.step(l, false) }), steps...)
			}
			return steps, err
		}),
	},
}

// queueProperties move with the link into the pod, and stay as the pod, or the link's
// driver, left them. Attach reads them.
var queueProperties = []property{{
	name:  "RPS, RFS, XPS, maximum rate and byte limits of queues (/sys/class/net/IF/queues), threaded NAPI, gro_flush_timeout, napi_defer_hard_irqs",
	phase: last, side: sideHost,
	steps: func(l Link, _, want State) []step {
		return []step{{message: message{what: "settings of queues"}, do: func(n *NetNS) outcome { return n.setSysfs(l.Name, want.Queues) }}}
	},
}}

const absent = "absent"

// onHost is one step that looks how a link of the host is, and takes those steps that
// are missing.
func onHost(what string, todo func(n *NetNS, l Link, want State) ([]step, error)) func(Link, State, State) []step {
	return func(l Link, _, want State) []step {
		return []step{{message: message{what: what}, do: func(n *NetNS) outcome {
			steps, err := todo(n, l, want)
			if err != nil {
				return outcome{err: err}
			}
			return n.run(steps)
		}}}
	}
}

// missing returns the steps that add what is wanted and not there.
func missing[T any](have, want []T, equal func(T, T) bool, add func(T) step) (steps []step) {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h T) bool { return equal(w, h) }) {
			steps = append(steps, add(w))
		}
	}
	return steps
}
