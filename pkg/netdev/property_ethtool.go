package netdev

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// What a config sets of the hardware settings is set in the pod, and goes on the
// host by hardwareProperties. Some can be set only while the link is down, others
// only while it is up: each is tried in both.
var ethtoolProperties = []property{{
	name:  "hardware settings",
	phase: first, side: sidePod, again: true,
	want: func(want *State, _ State, c nic.Config) []string {
		want.PodEthtool = c.Ethtool
		return nil
	},
	check: func(l Link, want State, c nic.Config, add fault) {
		for _, p := range podSettings {
			asked := p.asked(c.Ethtool)
			if len(asked) == 0 {
				continue
			}
			if i := slices.IndexFunc(want.Ethtool, func(a Attr) bool { return a.Type == p.key }); i >= 0 {
				p.check(l, c.Ethtool, want.Ethtool[i].Value, add)
				continue
			}
			for _, a := range asked {
				add(a.field, a.value, "the interface has no such setting")
			}
		}
	},
	steps: func(l Link, _, want State) (steps []step) {
		for _, s := range hardwareSettings {
			i := slices.IndexFunc(podSettings, func(p podSetting) bool { return p.key == s.key })
			if i < 0 || len(podSettings[i].asked(want.PodEthtool)) == 0 {
				continue
			}
			steps = append(steps, step{message: message{what: s.name}, do: func(n *NetNS) outcome {
				return n.setInPod(l, s, podSettings[i], want.PodEthtool)
			}})
		}
		return steps
	},
}}

// podSetting is a hardware setting that a config can set.
type podSetting struct {
	key uint16 // of its hardwareSetting
	// asked returns the fields of the config that are set.
	asked func(nic.Ethtool) []ethtoolField
	// names returns the driver's names that the next ones need; nil: they need none.
	names func(*conn, Link) ([]string, error)
	// check adds each field that a link with this value cannot have.
	check func(l Link, e nic.Ethtool, value []byte, add fault)
	// lay returns the value with what the config sets.
	lay func(e nic.Ethtool, names []string, value []byte) []byte
	// unmet adds each field that the value does not have.
	unmet func(e nic.Ethtool, names []string, value []byte, add fault)
}

// ethtoolField is a field of the config, and its value.
type ethtoolField struct {
	field string
	value any
}

// podSettings are all of them. TestPodSettings checks that they have all fields.
var podSettings = []podSetting{
	privateFlagsInPod,
	numbersInPod(unix.ETHTOOL_GCHANNELS),
	numbersInPod(unix.ETHTOOL_GRINGPARAM),
	numbersInPod(unix.ETHTOOL_GCOALESCE),
	numbersInPod(unix.ETHTOOL_GPAUSEPARAM),
	featuresInPod,
	linkSettingsInPod,
}

// setInPod gives a link what the config sets of a setting, and reads it back.
func (n *NetNS) setInPod(l Link, s hardwareSetting, p podSetting, e nic.Ethtool) outcome {
	var names []string
	have, err := s.read(n.conn, l)
	if err == nil && p.names != nil {
		names, err = p.names(n.conn, l)
	}
	if err != nil {
		return outcome{changed: true, err: fmt.Errorf("%s: get %s: %w", p.asked(e)[0].field, s.name, err)}
	}
	var missing []ethtoolField
	p.unmet(e, names, have, func(field string, value any, _ string, _ ...any) {
		missing = append(missing, ethtoolField{field, value})
	})
	changes, err := s.diff(have, p.lay(e, names, have))
	for _, c := range changes {
		err = join(err, n.conn.change(l, c))
	}
	done := outcome{changed: len(changes) > 0 || len(missing) > 0 || err != nil}
	if err == nil {
		have, err = s.read(n.conn, l)
	}
	var errs []error
	if err != nil {
		for _, m := range missing {
			errs = append(errs, fmt.Errorf("%s: \"%v\": set %s: %w", m.field, m.value, s.name, err))
		}
		if done.err = join(errs...); done.err == nil {
			done.err = fmt.Errorf("%s: set %s: %w", p.asked(e)[0].field, s.name, err)
		}
		return done
	}
	p.unmet(e, names, have, func(field string, value any, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: \"%v\": %w: "+format, append([]any{field, value, errNoEffect}, args...)...))
	})
	done.err = join(errs...)
	return done
}

// withNames returns the link with the names that checks of a config need. One that
// does not report them has none.
func (n *NetNS) withNames(l Link, s State) Link {
	l.FeatureNames, _ = n.conn.featureNames(l.Name)
	if slices.ContainsFunc(s.Ethtool, func(a Attr) bool { return a.Type == unix.ETHTOOL_GPFLAGS }) {
		l.PrivateFlagNames, _ = n.conn.strings(l.Name, privateFlagNames)
	}
	return l
}
