package netdev

import (
	"errors"
	"slices"
)

// A link's hardware settings (ethtool(8), dcb(8), `ip link set vf`) move with it
// into the pod, and stay as the pod left them. They are recorded on the host
// before the attach, and compared and restored there after the detach: some can
// be set only after others, or while the link is up, so twice if need be.
var hardwareProperties = []property{{
	name: "hardware settings", inPod: fromConfig, after: "restored; what the driver refuses is named in the claim and in an event",
	phase: first, side: sideHost, again: true,
	read: func(r *reader, s *State) error {
		s.Ethtool = r.hardware(r.link)
		return nil
	},
	steps: func(l Link, _, want State) (steps []step) {
		for _, s := range hardwareSettings {
			if i := slices.IndexFunc(want.Ethtool, func(a Attr) bool { return a.Type == s.key }); i >= 0 {
				steps = append(steps, step{message: message{what: s.name}, do: func(n *NetNS) outcome {
					return n.setHardware(l, s, want.Ethtool[i].Value)
				}})
			}
		}
		return steps
	},
}}

// hardware returns the link's hardware settings. What the link does not have, or
// its driver does not report, is omitted, and will not be set.
func (n *NetNS) hardware(l Link) []Attr {
	var all []Attr
	for _, s := range hardwareSettings {
		if s.device && l.Parent == "" {
			continue
		}
		if value, err := s.read(n.conn, l); err == nil {
			all = append(all, Attr{s.key, value})
		}
	}
	return all
}

// setHardware sets what differs of a setting.
func (n *NetNS) setHardware(l Link, s hardwareSetting, want []byte) outcome {
	changes, err := n.conn.compare(l, s, want)
	done := outcome{changed: len(changes) > 0 || err != nil}
	for _, c := range changes {
		err := n.conn.change(l, c)
		if err != nil && !slices.ContainsFunc(c.ignore, func(e error) bool { return errors.Is(err, e) }) {
			done.refused = append(done.refused, failure{c.what, err})
		}
	}
	if err == nil && len(changes) > 0 && len(done.refused) == 0 && !s.live {
		err = n.conn.checkSet(l, s, want)
	}
	if err != nil {
		done.refused = append(done.refused, failure{s.name, err})
	}
	return done
}
