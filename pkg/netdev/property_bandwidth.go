package netdev

import (
	"fmt"
	"strings"
	"sync"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// A config's limits are set before the link is up, so no traffic passes without
// them. They end when the link leaves the pod.
var bandwidthProperties = []property{{
	name: "limits of bandwidth", inPod: "the config's, else none", after: "none, as before",
	side: sidePod,
	read: func(r *reader, s *State) (err error) {
		if r.want.Bandwidth != (bandwidth{}) {
			s.Bandwidth, err = r.bandwidth(r.link.Index)
		}
		return err
	},
	want: func(want *State, _ State, c nic.Config) []string {
		const bits = 8
		want.Bandwidth = bandwidth{c.Interface.Bandwidth.Ingress.Bits() / bits, c.Interface.Bandwidth.Egress.Bits() / bits}
		return nil
	},
	check: checkBandwidth,
	steps: func(l Link, have, want State) []step {
		if have.Bandwidth == want.Bandwidth {
			return nil
		}
		what := fmt.Sprintf("limit ingress to %d and egress to %d bytes per second", want.Bandwidth.Ingress, want.Bandwidth.Egress)
		return []step{{message: message{what: what}, do: func(n *NetNS) outcome {
			err := n.limit(l.Index, want.Bandwidth, want.MTU)
			if err != nil {
				err = fmt.Errorf("interface.bandwidth: %w", err)
			}
			return outcome{changed: true, err: err}
		}}}
	},
}}

// checkBandwidth refuses limits that this kernel does not have, and those that a BPF
// program of the host would evade, which is with the link in the pod: tcx programs at
// ingress come before the filter, and XDP programs can send and redirect packets
// before any queue.
func checkBandwidth(_ Link, want State, c nic.Config, add fault) {
	for _, limit := range []struct {
		field   string
		rate    nic.BitRate
		try     func() error
		evading []string // attach points
	}{
		{"ingress", c.Interface.Bandwidth.Ingress, tryIngress(), []string{"tcx/ingress", "xdp"}},
		{"egress", c.Interface.Bandwidth.Egress, tryEgress(), []string{"xdp"}},
	} {
		if limit.rate == "" {
			continue
		}
		field := "interface.bandwidth." + limit.field
		if err := limit.try(); err != nil {
			add(field, limit.rate, "the node's kernel cannot limit it: %w", err)
		}
		for _, p := range want.Programs {
			for _, point := range limit.evading {
				if strings.HasPrefix(p.Point, point) && !want.NoPrograms {
					add(field, limit.rate, "the host's %s program %d could evade it: set interface.disableEbpfPrograms", p.Point, p.ID)
				}
			}
		}
	}
}

// tried are the limits that this kernel was seen to have.
var tried sync.Map

func tryIngress() func() error { return tryLimit(bandwidth{Ingress: 1e6}) }
func tryEgress() func() error  { return tryLimit(bandwidth{Egress: 1e6}) }

// tryLimit sets a limit in a namespace of its own, which also loads the kernel's
// modules.
func tryLimit(b bandwidth) func() error {
	return func() error {
		if _, ok := tried.Load(b); ok {
			return nil
		}
		var failed error
		err := inScratch(func(n *NetNS) {
			if failed = n.limit(loopbackIndex, b, minMTUIPv6); failed == nil {
				var got bandwidth
				if got, failed = n.bandwidth(loopbackIndex); failed == nil && got != b {
					failed = fmt.Errorf("it has %+v, want %+v", got, b)
				}
			}
		})
		if err = join(err, failed); err == nil {
			tried.Store(b, true)
		}
		return err
	}
}
