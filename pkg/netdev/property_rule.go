package netdev

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dra-netdev/dra-netdev/pkg/netdev/nic"
)

// The policy rules for a link. They are a namespace's and not the link's: on the
// host they stay when the link leaves, and what is added in the pod is removed
// when it leaves that.
var ruleProperties = []property{{
	name: ruleName, inPod: ruleInPod, after: ruleAfter, side: sideHost,
	read: func(r *reader, s *State) error {
		all, err := r.conn.lookups()
		for _, r := range all {
			if r.concerns(*s) {
				s.Rules = append(s.Rules, r.policyRule)
			}
		}
		return err
	},
	want:  wantRules,
	check: checkSourceRouting,
	steps: func(Link, State, State) []step { return nil },
}, {
	name: ruleName, inPod: ruleInPod, after: ruleAfter, side: sidePod, phase: last,
	steps: func(_ Link, _, want State) []step {
		if len(want.Rules) == 0 {
			return nil
		}
		return []step{{do: func(n *NetNS) outcome { return n.addRules(want.Rules) }}}
	},
}}

const (
	ruleName  = "policy rules"
	ruleInPod = "the config's; else, as on the host, those that select only by the interface (`iif`, `oif`) or by its addresses and subnets (`from`, " +
		"`to`) and look up a table in which it has a route; others that look up such a table are named in `data.omitted`"
	ruleAfter = "they stay there meanwhile"

	firstPriority = 30000    // of the config's rules
	thisInterface = "IFNAME" // in iif and oif, as in sysctls
)

// concerns reports whether a rule of the host looks up a table of the link's, or
// selects by the link.
func (r policyRule) concerns(s State) bool {
	if r.Table == unix.RT_TABLE_LOCAL || r.Priority == 0 {
		return false
	}
	return r.selects(s) || r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_DEFAULT && s.fills(r)
}

// selects reports whether the rule selects only traffic of the link: by its name, or
// by one of its addresses or subnets.
func (r policyRule) selects(s State) bool {
	if r.Invert {
		return false
	}
	within := func(p netip.Prefix) bool {
		return p.IsValid() && slices.ContainsFunc(s.Addresses, func(a Address) bool {
			on := a.subnet()
			return a.Prefix.Addr() == p.Addr() && p.IsSingleIP() || on.Contains(p.Addr()) && p.Bits() >= on.Bits()
		})
	}
	return r.IIF == s.Name || r.OIF == s.Name || within(r.Source) || within(r.Destination)
}

// fills reports whether the link has a route in the rule's table. That main has one
// is certain enough.
func (s State) fills(r policyRule) bool {
	return r.Table == unix.RT_TABLE_MAIN || slices.ContainsFunc(s.Routes, func(o Route) bool {
		return o.Table == r.Table && family(o.Destination.Addr()) == int(r.Family)
	})
}

// wantRules takes the config's rules, or keeps those of the host that select
// nothing but traffic of the link.
func wantRules(want *State, original State, c nic.Config) (omitted []string) {
	table := sourceTable(original, c)
	want.Rules = rulesOf(c.Rules, *want)
	if table != 0 {
		ours := want.sourceRules(table)
		want.Rules = append(want.Rules, ours...)
		omitted = want.noDefault(ours, table)
	}
	if c.Rules == nil && table == 0 {
		for _, r := range original.Rules {
			kept, why := r.inPod(original, *want)
			if why != "" {
				omitted = append(omitted, fmt.Sprintf("rule %s: %s", r, why))
				continue
			}
			want.Rules = append(want.Rules, kept)
		}
	}
	for _, r := range want.Rules {
		if !want.fills(r) {
			omitted = append(omitted, fmt.Sprintf("rule %s: is set, but the interface has no route in table %d", r, r.Table))
		}
	}
	return omitted
}

// inPod returns a rule of the host as it is in the pod, or why it is not there.
func (r policyRule) inPod(original, want State) (kept policyRule, why string) {
	for _, name := range []*string{&r.IIF, &r.OIF} {
		switch *name {
		case "", "lo":
		case original.Name:
			*name = want.Name
		default:
			return r, "selects by another interface"
		}
	}
	switch {
	case want.VRF != nil:
		return r, "the VRF has a rule of its own"
	case !r.selects(want):
		return r, "does not select only by the interface or its addresses in the pod"
	case !want.fills(r):
		return r, "the interface has no route in its table in the pod"
	}
	r.Optional = true
	return r, ""
}

// rulesOf returns the config's rules.
func rulesOf(config []nic.Rule, s State) []policyRule {
	var all []policyRule
	for i, u := range config {
		r := policyRule{
			Priority: cmp.Or(u.Priority, firstPriority+uint32(i)), Table: cmp.Or(u.Table, unix.RT_TABLE_MAIN), IIF: u.IIF, OIF: u.OIF, Invert: u.Invert,
			Attrs: selectorsOf(u),
		}
		for _, name := range []*string{&r.IIF, &r.OIF} {
			if *name == thisInterface {
				*name = s.Name
			}
		}
		if u.Source.IsValid() && u.Source.Bits() > 0 {
			r.Source = u.Source
		}
		if u.Destination.IsValid() && u.Destination.Bits() > 0 {
			r.Destination = u.Destination
		}
		for _, r.Family = range familiesOf(u, r, s) {
			all = append(all, r)
		}
	}
	return all
}

// familiesOf returns the families of a rule of the config: those that it names, or
// those of which its table has routes, or both.
func familiesOf(u nic.Rule, r policyRule, s State) []uint8 {
	for _, p := range []netip.Prefix{u.Source, u.Destination} {
		if p.IsValid() {
			return []uint8{uint8(family(p.Addr()))}
		}
	}
	both := []uint8{unix.AF_INET, unix.AF_INET6}
	switch u.Family {
	case "IPv4":
		return both[:1]
	case "IPv6":
		return both[1:]
	}
	filled := slices.DeleteFunc(slices.Clone(both), func(f uint8) bool {
		r.Family = f
		return !s.fills(r)
	})
	if len(filled) == 0 {
		return both
	}
	return filled
}

// selectorsOf returns the attributes of a rule of the config, which is valid, as the
// kernel returns them.
func selectorsOf(u nic.Rule) []Attr {
	var r policyRule
	add := func(typ uint16, value []byte) { r.Attrs = append(r.Attrs, Attr{typ, value}) }
	if mark, mask, err := u.FwMark.Parse(); err == nil {
		if mark != 0 {
			add(unix.FRA_FWMARK, nl.Uint32Attr(mark))
		}
		add(unix.FRA_FWMASK, nl.Uint32Attr(mask))
	}
	if n, err := u.IPProto.Parse(); err == nil {
		add(unix.FRA_IP_PROTO, nl.Uint8Attr(n))
	}
	if first, last, err := u.SourcePorts.Parse(); err == nil {
		add(unix.FRA_SPORT_RANGE, pair(first, last))
	}
	if first, last, err := u.DestinationPorts.Parse(); err == nil {
		add(unix.FRA_DPORT_RANGE, pair(first, last))
	}
	if n := u.SuppressPrefixLength; n != nil {
		add(unix.FRA_SUPPRESS_PREFIXLEN, nl.Uint32Attr(uint32(*n)))
	}
	r.sort()
	return r.Attrs
}

// addRules adds those of the rules that are missing to a pod's namespace, and checks
// that they are there then. One that is there and not ours is an error: it would be
// unknown whose it is at the end.
func (n *NetNS) addRules(want []policyRule) outcome {
	have, err := n.conn.lookups()
	if err != nil {
		return outcome{err: err}
	}
	var ms []message
	var done outcome
	for _, r := range want {
		m := r.message(true)
		switch i := slices.IndexFunc(have, r.is); {
		case i < 0:
			ms = append(ms, m)
		case have[i].protocol == ruleProtocol: // added before
		case r.Optional:
			done.refused = append(done.refused, failure{m.what, errRuleTaken})
		default:
			done.err = join(done.err, fmt.Errorf("%s: %w", m.what, errRuleTaken))
		}
	}
	refused, err := n.conn.do(ms...)
	done.refused, done.err = append(done.refused, refused...), join(done.err, err)
	if done.err != nil || len(ms) == 0 {
		return done
	}
	if have, err = n.conn.lookups(); err != nil {
		return outcome{err: err}
	}
	for _, r := range want {
		if !r.Optional && !slices.ContainsFunc(have, r.is) {
			done.err = join(done.err, fmt.Errorf("not as wanted afterwards: %s", r.message(true).what))
		}
	}
	return done
}

var errRuleTaken = fmt.Errorf("the pod's network has this rule: %w", unix.EEXIST)

// removeRules removes rules of ours from a pod's namespace, and returns what the
// kernel refused. It does not list those of the pod, which may be many. The kernel
// removes the first rule that has what the request names: a rule with more selectors
// is to be removed before one with fewer.
func (n *NetNS) removeRules(rules []policyRule) ([]failure, error) {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b policyRule) int { return b.selectors() - a.selectors() })
	var ms []message
	for _, r := range rules {
		ms = append(ms, r.message(false))
	}
	return n.conn.do(ms...)
}

// selectors returns how many selectors the rule has.
func (r policyRule) selectors() int {
	n := len(r.Attrs)
	for _, set := range []bool{r.Source.IsValid(), r.Destination.IsValid(), r.IIF != "", r.OIF != "", r.TOS != 0, r.Invert} {
		if set {
			n++
		}
	}
	return n
}
